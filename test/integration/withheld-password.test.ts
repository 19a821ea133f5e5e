/** The password is sent only if the guard grants it, both with requests and with the event stream. */
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import type { Authorisation } from '../../src/lib/authorise.js';
import { SystemClock } from '../../src/lib/clock.js';
import { EventConnection } from '../../src/opencode/http/event-source.js';
import { isHealthy } from '../../src/opencode/is-healthy.js';
import { RecognisingApi } from '../../src/opencode/recognising-api.js';
import { OpencodeClient } from '../../src/opencode/v1/client.js';
import { awaitHealth } from '../../src/process/server/await-health.js';
import { startFakeOpencode2 } from '../support/fake-opencode-2.js';
import { waitFor } from '../support/wait.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const clock = new SystemClock();
const WITHHELD: Authorisation = {
  kind: 'withheld',
  why: 'The password was withheld from pid 7 (nc), uid 65534.',
};

/** Answers 401 to a request without a password. */
async function server(host = '127.0.0.1') {
  const asked: IncomingMessage[] = [];
  const http = createServer((request, response) => {
    asked.push(request);
    response.statusCode = request.headers.authorization === undefined ? 401 : 200;
    if (request.url === '/global/event') response.setHeader('content-type', 'text/event-stream');
    else response.setHeader('content-type', 'application/json');
    response.end('{"healthy":true,"version":"1.2.3"}');
  }).listen(0, host);
  await once(http, 'listening');
  cleanups.push(
    () => new Promise((resolve) => http.close(resolve)),
    () => http.closeAllConnections(),
  );
  return { asked, port: (http.address() as AddressInfo).port };
}

function client(url: string, authorise?: () => Promise<Authorisation>) {
  const made = new OpencodeClient({
    url,
    password: 'hunter2',
    clock,
    ...(authorise && { authorise }),
  });
  cleanups.push(() => made.close());
  return made;
}

test('a withheld password is in no request, and the error says from whom', async () => {
  const { asked, port } = await server();
  const probe = await client(`http://localhost:${port}`, async () => WITHHELD).probe();
  expect(probe).toMatchObject({
    kind: 'unauthorized',
    status: 401,
    isWithheld: true,
    means: 'the password was withheld from pid 7 (nc), uid 65534',
  });
  expect(probe.kind === 'unauthorized' && probe.error).toContain(
    'answered 401. The password was withheld from pid 7 (nc), uid 65534.',
  );
  expect(asked.length).toBeGreaterThan(0);
  expect(asked.filter(({ headers }) => headers.authorization !== undefined)).toEqual([]);
});

test('the guard is asked for each request, and no password follows on a connection made without one', async () => {
  const { asked, port } = await server();
  const granted: Authorisation = { kind: 'granted' };
  // After a 401 the guard is asked once more, for the address, and whatever it says no password is sent.
  const answers: Authorisation[] = [WITHHELD, granted, granted, WITHHELD, granted];
  const asking = client(`http://localhost:${port}`, async () => answers.shift()!);
  expect(await asking.probe()).toMatchObject({ kind: 'unauthorized' });
  expect(await asking.probe()).toMatchObject({ kind: 'ok', version: '1.2.3' });
  expect(await asking.probe()).toMatchObject({ kind: 'unauthorized' });
  // A server that answers 401 gets one more request, always without the password.
  const withPassword = asked.filter(({ headers }) => headers.authorization !== undefined);
  expect(withPassword).toHaveLength(1);
  const others = asked.filter((each) => each !== withPassword[0]).map(({ socket }) => socket);
  // A server that was not trusted may have kept the connection open, and may have left the port to one that is trusted.
  expect(others).not.toContain(withPassword[0]?.socket);
});

test('a password that comes later follows on no connection that was made before it', async () => {
  const { asked, port } = await server();
  let password: string | undefined;
  const asking = new OpencodeClient({
    url: `http://127.0.0.1:${port}`,
    password: () => password,
    clock,
    authorise: async () => ({ kind: 'granted' }),
  });
  cleanups.push(() => asking.close());
  await asking.probe();
  password = 'hunter2';
  expect(await asking.probe()).toMatchObject({ kind: 'ok' });
  const sockets = (isWith: boolean) =>
    asked
      .filter(({ headers }) => (headers.authorization !== undefined) === isWith)
      .map(({ socket }) => socket);
  // Whoever held the port then may have kept the connection, and have left the port to the real server.
  expect(sockets(false)).not.toContain(sockets(true)[0]);
});

test('the event stream asks the guard for each connection', async () => {
  const { asked, port } = await server();
  const answers: Authorisation[] = [WITHHELD, { kind: 'granted' }];
  const asking = client(`http://localhost:${port}`, async () => answers.shift()!);
  for (const expected of [1, 2]) {
    let ended = false;
    const connection = new EventConnection({
      target: asking.streamTarget('/global/event'),
      clock,
      onData: () => {},
      onEnd: () => {
        ended = true;
      },
    });
    cleanups.push(() => connection.close());
    await waitFor(() => ended && asked.length === expected);
  }
  expect(asked.map(({ headers }) => headers.authorization !== undefined)).toEqual([false, true]);
  expect(asked[0]?.headers.host).toBe(`localhost:${port}`);
});

test('localhost is 127.0.0.1, and [::1] only where the guard says so', async () => {
  const { asked, port } = await server('::1');
  const url = `http://localhost:${port}`;
  expect(await client(url).probe()).toMatchObject({ kind: 'failed', failure: 'refused' });
  expect(asked).toEqual([]);
  const proven: Authorisation = { kind: 'granted', hostname: '::1' };
  expect(await client(url, async () => proven).probe()).toMatchObject({ kind: 'ok' });
});

test('what answers is identified where it answered, without a password', async () => {
  const { asked, port } = await server('::1');
  const there = { hostname: '::1' } as const;
  const answers: Authorisation[] = [{ ...WITHHELD, ...there }];
  const guard = async () => answers.shift() ?? ({ kind: 'granted', ...there } as const);
  expect(await client(`http://localhost:${port}`, guard).probe()).toMatchObject({
    kind: 'unauthorized',
  });
  expect(asked.map(({ url }) => url)).toContain('/api/info');
  expect(new Set(asked.map(({ headers }) => headers.host))).toEqual(new Set([`localhost:${port}`]));
  expect(asked.filter(({ headers }) => headers.authorization !== undefined)).toEqual([]);
});

test('a start ends with the health of the server, not with a 401 that came before it was proven', async () => {
  const server = await startFakeOpencode2();
  cleanups.push(() => server.stop());
  server.state = 'starting';
  let isProven = false;
  const api = new RecognisingApi({
    url: server.url,
    password: 'pw',
    clock,
    authorise: async () => (isProven ? { kind: 'granted' } : WITHHELD),
  });
  cleanups.push(() => api.close());
  const seen: unknown[] = [];
  const deps = {
    isHealthy: async (signal: AbortSignal) => {
      const answer = await isHealthy(api, signal);
      seen.push(answer);
      isProven ||= answer?.isUnproven === true;
      if (answer?.strange === 'boots') server.state = 'ready';
      return answer;
    },
  };
  const { signal } = new AbortController();
  const outcome = await awaitHealth({ deps, clock, timeoutMs: 30_000, signal });
  expect(outcome).toMatchObject({ kind: 'healthy', version: '2.0.26' });
  expect(seen).toContainEqual({ isUnproven: true });
  expect(seen).toContainEqual({ strange: 'boots' });
});
