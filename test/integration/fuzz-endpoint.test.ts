/**
 * The status endpoint under raw nonsense on its socket: it survives, logs no failure, answers the next good request,
 * and does nothing that the sender may not ask for.
 */
import { connect, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { Secret } from '../../src/config/secret.js';
import { LIMITS } from '../../src/status/limits.js';
import type { ActResult } from '../../src/status/source.js';
import { fuzzAsync, mutateBytes, runs } from '../support/mutate.js';
import type { Random } from '../support/random.js';
import { openWorld, type StatusWorld } from '../support/status-world.js';
import { waitFor } from '../support/wait.js';

const open: StatusWorld[] = [];
afterEach(async () => {
  for (const each of open.splice(0)) await each.close();
});
async function world(options: Parameters<typeof openWorld>[0] = {}): Promise<StatusWorld> {
  const made = await openWorld(options);
  open.push(made);
  return made;
}

const METHODS = [
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'DELETE',
  'OPTIONS',
  'TRACE',
  'CONNECT',
  'PRI',
  'get',
  'P\0ST',
  '',
];
const PATHS = [
  '/',
  '/status',
  '/metrics',
  '/healthz',
  '/stream',
  '/restart',
  '/pause',
  '/resume',
  '/sessions/ses_1/abort',
  '/sessions/../../abort',
  '/sessions/%2e%2e%2f%2e%2e/abort',
  '/sessions/ses_1%00/abort',
  `/sessions/${'x'.repeat(300)}/abort`,
  '/../../../../etc/passwd',
  '/%2e%2e/%2e%2e/etc/passwd',
  '/..%2f..%2fetc%2fpasswd',
  '//evil.example/status',
  'http://evil.example/status',
  'http://localhost/restart',
  '*',
  '/%',
  '/%zz%ff%c0%80',
  '/status?x=%0d%0aSet-Cookie:a',
  '/status#x',
  '/\u00ff\u0000',
  `/${'a/'.repeat(3_000)}`,
  '',
];
/** None of these may act: each is refused for its name, its page, its site or its form. */
const POISON = [
  'Host: evil.example',
  'Host: localhost.evil.example',
  'Host: 127.0.0.1@evil.example',
  'Host: localhost\r\nHost: evil.example',
  'Host:',
  'Host: localhost\r\nOrigin: http://evil.example',
  'Host: localhost\r\nOrigin: null',
  'Host: localhost\r\nOrigin: http://localhost:1',
  'Host: localhost\r\nSec-Fetch-Site: cross-site',
  'Host: localhost\r\nSec-Fetch-Site: same-site',
  'X-No-Host: localhost',
];
const EXTRAS = [
  '',
  `X-Long: ${'y'.repeat(9_000)}`,
  Array.from({ length: 200 }, (_, n) => `X-${n}: ${n}`).join('\r\n'),
  'Content-Length: 5\r\nTransfer-Encoding: chunked',
  'Content-Length: -1',
  'Content-Length: 99999999999999999999',
  'Content-Length: 5\r\nContent-Length: 6',
  'Transfer-Encoding: chunked',
  'Transfer-Encoding: chunked, identity',
  'Expect: 100-continue',
  'Expect: the worst',
  'Upgrade: websocket\r\nConnection: Upgrade',
  'Connection: close',
  'Authorization: Bearer nonsense',
  'Authorization: Basic \u0000\u00ff',
  'Cookie: a=\u0000b',
  ' folded: x',
  'no colon',
  'Range: bytes=0-',
];
const BODIES = [
  '',
  'x',
  '{"a":1}',
  'x'.repeat(2_000),
  '5\r\nhello\r\n0\r\n\r\n',
  'ffffffff\r\nx',
  '-1\r\n\r\n',
  '\0',
];

function request(random: Random, heads: readonly string[]): Buffer {
  const version = random.pick([
    'HTTP/1.1',
    'HTTP/1.1',
    'HTTP/1.1',
    'HTTP/1.0',
    'HTTP/2.0',
    'HTTP/9',
    '',
  ]);
  const line = `${random.pick(METHODS)} ${random.pick(PATHS)} ${version}`;
  const lines = [line, random.pick(heads), random.pick(EXTRAS)].filter((each) => each !== '');
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n${random.pick(BODIES)}`, 'latin1');
}

/** Sends the bytes in pieces. Returns what comes back until the other side closes or has answered. */
function send(port: number, bytes: Buffer, random: Random): Promise<string> {
  return new Promise((resolve) => {
    let got = '';
    const socket: Socket = connect({ port, host: '127.0.0.1' });
    const over = () => {
      clearTimeout(timer);
      socket.destroy();
      resolve(got);
    };
    // We give up an incomplete request: how long the endpoint waits has a test of its own.
    const timer = setTimeout(over, 60);
    socket.setEncoding('latin1');
    socket.on('error', over).on('close', over);
    socket.on('data', (text: string) => {
      got += text;
      setImmediate(over);
    });
    socket.on('connect', () => {
      const cut = random.chance(0.3) ? random.int(bytes.length) : bytes.length;
      socket.write(bytes.subarray(0, cut));
      if (cut < bytes.length) socket.write(bytes.subarray(cut));
      if (random.chance(0.7)) socket.end();
    });
  });
}

const ANSWERS = [100, 200, 400, 401, 403, 404, 408, 413, 414, 417, 426, 431, 503];

async function survives(w: StatusWorld, heads: readonly string[], amount: number, spoil: boolean) {
  const statuses = new Map<number, number>();
  const inputs = await fuzzAsync(amount, async (random) => {
    const whole = request(random, heads);
    const bytes = spoil && random.chance(0.5) ? mutateBytes(random, whole) : whole;
    const got = await send(w.port, bytes, random);
    const status = got === '' ? 0 : Number(/^HTTP\/1\.1 (\d{3}) /.exec(got)?.[1]);
    if (got !== '') expect(ANSWERS).toContain(status);
    expect(got).not.toContain('root:');
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
  });
  expect(inputs).toBeGreaterThanOrEqual(runs(amount));
  const health = await fetch(`${w.url}/healthz`);
  expect([health.status, await health.json()]).toEqual([200, { ok: true }]);
  expect(w.source.acts).toEqual([]);
  expect(w.lines.filter(({ event }) => event === 'error')).toEqual([]);
  return statuses;
}

describe('the status endpoint', () => {
  it('without a token: raw requests that nobody may make', async () => {
    const w = await world();
    const statuses = await survives(w, POISON, 600, false);
    expect([...statuses.keys()].sort((a, b) => a - b)).toEqual(expect.arrayContaining([400, 403]));
  });

  it('with a token that is not shown: raw requests, half of them of spoiled bytes', async () => {
    const w = await world({ token: new Secret('token-of-enough-characters') });
    const statuses = await survives(
      w,
      [...POISON, 'Host: localhost', 'Host: localhost'],
      900,
      true,
    );
    expect([...statuses.keys()].sort((a, b) => a - b)).toEqual(expect.arrayContaining([400, 403]));
    const page = await fetch(`${w.url}/status`, {
      headers: { authorization: 'Bearer token-of-enough-characters' },
    });
    expect(page.status).toBe(200);
    await page.arrayBuffer();
  });

  it.each([
    ['have sent nothing', () => ''],
    ['have begun a request, every second', (n: number) => (n % 2 ? 'GET /status HT' : '')],
    ['have begun a request', () => 'GET /status HT'],
  ])('answers at once while more connections than it takes %s', async (_name, says) => {
    const w = await world();
    const silent = Array.from({ length: LIMITS.connections + 20 }, (_, n) => {
      const each = connect({ port: w.port, host: '127.0.0.1' }).on('error', () => {});
      if (says(n) !== '') each.write(says(n));
      return each;
    });
    await waitFor(() => silent.filter((each) => each.connecting).length === 0);
    for (let i = 0; i < 10; i += 1) {
      const answer = await fetch(`${w.url}/healthz`, { headers: { connection: 'close' } });
      expect([answer.status, await answer.json()]).toEqual([200, { ok: true }]);
    }
    for (const each of silent) each.destroy();
    expect(w.source.acts).toEqual([]);
  });

  it(`has ${LIMITS.acts} aborts on their way at most, also down one connection, and goes on after them`, async () => {
    const w = await world();
    const releases: (() => void)[] = [];
    w.source.abort = (id: string) => {
      w.source.acts.push(id);
      return new Promise<ActResult>((resolve) => {
        releases.push(() => resolve({ ok: true, says: 'aborted' }));
      });
    };
    const post = () =>
      fetch(`${w.url}/sessions/ses_1/abort`, { method: 'POST', headers: w.headers });
    const socket = connect({ port: w.port, host: '127.0.0.1' }).on('error', () => {});
    const one =
      'POST /sessions/ses_1/abort HTTP/1.1\r\nHost: localhost\r\n' +
      `Authorization: ${w.headers.authorization}\r\nContent-Length: 0\r\n\r\n`;
    socket.write(one.repeat(LIMITS.acts * 4));
    await waitFor(() => w.source.acts.length === LIMITS.acts);
    expect((await post()).status).toBe(429);
    expect(w.source.acts).toHaveLength(LIMITS.acts);
    for (const release of releases.splice(0)) release();
    const later = post();
    await waitFor(() => releases.length > 0);
    for (const release of releases.splice(0)) release();
    expect((await later).status).toBe(200);
    socket.destroy();
  });
});
