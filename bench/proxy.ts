/** A transparent HTTP proxy between the watchdog and opencode: notes when what passes, changes nothing. */

import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface ForwardingProxy {
  url: string;
  close(): Promise<void>;
}

export interface ProxyOptions {
  target: string;
  /** Bytes of an answer, as they pass. */
  onAnswer?(path: string, chunk: Buffer): void;
  /** A request, at the moment that its head arrives. */
  onRequest?(method: string, path: string): void;
}

export async function startProxy({
  target,
  onAnswer,
  onRequest,
}: ProxyOptions): Promise<ForwardingProxy> {
  const { hostname, port } = new URL(target);
  const server = createServer((incoming, outgoing) => {
    const { method = 'GET', url: path = '/', headers } = incoming;
    onRequest?.(method, path);
    const onward = request({ hostname, port, method, path, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.on('data', (chunk: Buffer) => {
        onAnswer?.(path, chunk);
        outgoing.write(chunk);
      });
      answer.on('end', () => outgoing.end());
      answer.on('error', () => outgoing.destroy());
    });
    onward.on('error', () => outgoing.destroy());
    incoming.pipe(onward);
    outgoing.on('close', () => onward.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port: own } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${own}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
