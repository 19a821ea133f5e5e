/** How the commands ask the daemon over its status endpoint. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { DaemonClient, NoDaemonError } from '../../../src/commands/daemon-client.js';
import { defaultConfig } from '../../../src/config/schema.js';

let folder: string;
let server: Server;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'watchdog-client-'));
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

const echo: RequestListener = ({ method, url, headers: { host } }, response) =>
  void response.end(JSON.stringify({ method, url, host }));

async function clientOf(answer: RequestListener, where: string): Promise<DaemonClient> {
  server = createServer(answer);
  const unix = where.startsWith('unix:') ? join(folder, 'status.sock') : undefined;
  server.listen(unix === undefined ? { port: 0, host: where } : { path: unix });
  await once(server, 'listening');
  const config = defaultConfig();
  config.status.tokenFile = join(folder, 'none');
  const { port } = server.address() as AddressInfo;
  const host = where.includes(':') ? `[${where}]` : where;
  config.status.listen = unix === undefined ? `${host}:${port}` : `unix:${unix}`;
  return new DaemonClient({ config });
}

it.each(['127.0.0.1', '::1', '0.0.0.0', '::', 'localhost', 'unix:'])(
  'asks a daemon that listens on %s, by the name that it lets in',
  async (where) => {
    const client = await clientOf(echo, where);
    const body = { method: 'POST', url: '/pause', host: 'localhost' };
    expect(await client.post('/pause')).toEqual({ status: 200, body });
  },
);

it('says that no daemon answers where the answer breaks off', async () => {
  const client = await clientOf((_, response) => {
    response.writeHead(200, { 'content-length': 100 });
    response.write('{', () => response.socket?.destroy());
  }, '127.0.0.1');
  await expect(client.get('/status')).rejects.toThrow(NoDaemonError);
});
