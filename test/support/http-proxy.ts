/**
 * An HTTP proxy between the watchdog and opencode. It reports what passes and when, and swallows requests on demand.
 */

import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface ForwardingProxy {
  url: string;
  close(): Promise<void>;
}

export interface ProxyOptions {
  target: string;
  /** Called with the bytes of an answer, as they pass. */
  onAnswer?(path: string, chunk: Buffer): void;
  /** Called at the moment that a request's head arrives. */
  onRequest?(method: string, path: string): void;
  /**
   * Returns true for a request that is answered with `true`, as opencode answers, but is not passed on: what it asks
   * for is not done.
   */
  swallows?(method: string, path: string): boolean;
}

/** Aborts. opencode answers them with `true` even if they do nothing. */
export const isAbort = (method: string, path: string): boolean =>
  method === 'POST' && /^\/session\/[^/]+\/abort\b/.test(path);

export async function startProxy({
  target,
  onAnswer,
  onRequest,
  swallows,
}: ProxyOptions): Promise<ForwardingProxy> {
  const { hostname, port } = new URL(target);
  const server = createServer((incoming, outgoing) => {
    const { method = 'GET', url: path = '/', headers } = incoming;
    onRequest?.(method, path);
    if (swallows?.(method, path)) {
      incoming.resume();
      outgoing.writeHead(200, { 'content-type': 'application/json' }).end('true');
      return;
    }
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
