/** The link to the status page. */
import { hostInUrl } from '../lib/server-address.js';
import { hostToAsk, parseListen } from './listen.js';
import type { Config } from './schema.js';

/** The token comes after `#`: a browser sends that part to nobody, and the page takes it out of the address. */
export function pageLink(config: Pick<Config, 'status'>, token: string | undefined): string {
  const listen = parseListen(config.status.listen);
  if (listen?.kind !== 'tcp') throw new Error('only a TCP address has a link');
  const name = hostInUrl(hostToAsk(listen));
  const fragment = token === undefined ? '' : `#token=${encodeURIComponent(token)}`;
  return `http://${name}:${listen.port}/${fragment}`;
}
