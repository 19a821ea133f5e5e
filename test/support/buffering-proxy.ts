/**
 * A reverse proxy that buffers event streams, as some proxies do by default: a stream's head passes, its body never
 * arrives.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { request } from 'undici';

export interface BufferingProxy {
  readonly url: string;
  stop(): Promise<void>;
}

/** `target`: the real server's URL. */
export async function startBufferingProxy(target: string): Promise<BufferingProxy> {
  const server = createServer((req, res) => {
    void forward(target, req, res).catch(() => res.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async stop() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

async function forward(target: string, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const { pathname } = new URL(req.url ?? '/', target);
  if (pathname === '/event' || pathname === '/global/event') {
    res.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
    return;
  }
  const { host: _host, connection: _connection, ...headers } = req.headers;
  const answer = await request(`${target}${req.url}`, {
    method: req.method as 'GET' | 'POST' | 'DELETE',
    headers: headers as Record<string, string>,
    body: req.method === 'GET' ? null : req,
  });
  res.writeHead(answer.statusCode, { 'content-type': answer.headers['content-type'] ?? '' });
  res.end(Buffer.from(await answer.body.arrayBuffer()));
}
