/** The link to the status page. */
import { parseListen } from './listen.js';
import type { Config } from './schema.js';

/** The token comes after `#`: a browser sends that part to nobody, and the page takes it out of the address. */
export function pageLink(config: Pick<Config, 'status'>, token: string | undefined): string {
  const listen = parseListen(config.status.listen);
  if (listen?.kind !== 'tcp') throw new Error('only a TCP address has a link');
  const host = { '0.0.0.0': '127.0.0.1', '::': '::1' }[listen.host] ?? listen.host;
  const name = host.includes(':') ? `[${host}]` : host;
  const fragment = token === undefined ? '' : `#token=${encodeURIComponent(token)}`;
  return `http://${name}:${listen.port}/${fragment}`;
}
