/** `POST /sessions/:id/abort` answers with the abort's own end, however long a slow server makes that. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, it, vi } from 'vitest';
import { Auth } from '../../../src/status/auth.js';
import { LIMITS } from '../../../src/status/limits.js';
import { createRoutes, type RouteOptions } from '../../../src/status/routes.js';
import { TestSource } from '../../support/status-world.js';

const ends: Array<() => unknown> = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

it('lifts the limit of an idle connection while the abort is verified, and only then', async () => {
  const source = new TestSource();
  const auth = new Auth({ host: undefined, loopback: true, token: undefined, trusted: true });
  const options = { source, auth, onError: () => {} };
  const server = createServer(await createRoutes(options as unknown as RouteOptions));
  server.setTimeout(LIMITS.idleMs);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  ends.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  const timeouts: unknown[] = [];
  server.on('request', ({ socket }, response) => {
    timeouts.push(socket.timeout);
    source.abort = async () => {
      timeouts.push(socket.timeout);
      return { ok: true, says: 'session ses_1 is aborted', outcome: 'done', tookMs: 40_000 };
    };
    response.on('close', () => timeouts.push(socket.timeout));
  });
  const { port } = server.address() as AddressInfo;
  const init = { method: 'POST', headers: { connection: 'close' } };
  const response = await fetch(`http://127.0.0.1:${port}/sessions/ses_1/abort`, init);
  expect([response.status, await response.json()]).toMatchObject([200, { outcome: 'done' }]);
  await vi.waitFor(() => expect(timeouts).toEqual([LIMITS.idleMs, 0, LIMITS.idleMs]));
});
