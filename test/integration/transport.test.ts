/** JSON requests over undici, with a server that misbehaves in named ways. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { OpencodeError } from '../../src/opencode/http/errors.js';
import { Transport, type TransportOptions } from '../../src/opencode/http/transport.js';
import { FakeClock } from '../support/fake-clock.js';
import { type MisbehavingServer, startMisbehaving } from '../support/misbehaving-server.js';
import { waitFor } from '../support/wait.js';

let server: MisbehavingServer;
const clock = new FakeClock();
const made: Transport[] = [];
beforeEach(async () => {
  server = await startMisbehaving();
});
afterEach(async () => {
  for (const transport of made.splice(0)) await transport.close();
  await server.stop();
});

function open(options: Partial<TransportOptions> = {}): Transport {
  const transport = new Transport({ url: server.url, clock, timeoutMs: 1_000, ...options });
  made.push(transport);
  return transport;
}

const failure = (work: Promise<unknown>): Promise<OpencodeError> =>
  work.then(
    () => Promise.reject(new Error('it did not fail')),
    (error: OpencodeError) => error,
  );

describe('a request', () => {
  it.each([
    ['redirects elsewhere', { kind: 'http', statusCode: 302 }],
    ['fails with words', { kind: 'http', statusCode: 500, detail: '{"message":"no room"}' }],
    ['fails with endless words', { kind: 'http', statusCode: 500, detail: undefined }],
    ['is a web page', { kind: 'not_opencode' }],
    ['is endless JSON', { kind: 'too_large' }],
    ['breaks the connection', { kind: 'network' }],
    ['breaks in the middle of JSON', { kind: 'network' }],
    ['speaks no HTTP', { kind: 'network' }],
    ['has a header beyond all measure', { kind: 'not_opencode' }],
  ])('whose answer %s fails by its own name', async (name, expected) => {
    const error = await failure(open().json({ path: server.path(name) }));
    expect(error.name).toBe('OpencodeError');
    expect(error).toMatchObject(expected);
    // A redirect is not followed: it would take the credentials elsewhere.
    expect(server.requests.every(({ url }) => url === server.path(name))).toBe(true);
  });

  it('that is not answered ends at its deadline, by the clock that stands still while we do', async () => {
    const asking = failure(open().json({ path: server.path('is accepted and never answered') }));
    await waitFor(() => server.requests.length === 1);
    await clock.advance(1_001);
    expect(await asking).toMatchObject({ kind: 'timeout' });
  });

  it('has the credentials, and no word of gzip', async () => {
    await open({ username: 'me', password: 'pass' }).json({ path: server.path('is well') });
    const { headers } = server.requests[0]!;
    expect(headers.authorization).toBe(`Basic ${Buffer.from('me:pass').toString('base64')}`);
    expect(headers).not.toHaveProperty('accept-encoding');
  });

  it('shows no password that it learned late, where the answer repeats it', async () => {
    let password: string | undefined;
    const transport = open({ password: () => password });
    const path = server.path('fails with words');
    expect(await failure(transport.json({ path }))).toMatchObject({
      detail: '{"message":"no room"}',
    });
    password = 'no room';
    expect(await failure(transport.json({ path }))).toMatchObject({
      detail: '{"message":"[secret]"}',
    });
  });

  it('goes to 127.0.0.1 where the URL says localhost', async () => {
    const transport = open({ url: `http://localhost:${server.port}/` });
    expect(transport.url).toBe(`http://localhost:${server.port}`);
    expect(await transport.json({ path: server.path('is well') })).toEqual({ well: true });
    expect(server.requests[0]?.headers.host).toBe(`localhost:${server.port}`);
  });

  it('shows by its answer what time it is for the server', async () => {
    const transport = open();
    await transport.json({ path: server.path('is of another time') });
    expect(transport.clock.epoch()).toBe(Date.UTC(2100, 0, 1));
  });

  it('uses a kept connection for any number of others, one after the other', async () => {
    const transport = open();
    for (let n = 0; n < 20; n += 1) await transport.json({ path: server.path('is well') });
    // The second request may come before undici knows that the first has ended.
    expect(server.connections()).toBeLessThanOrEqual(2);
  });

  it('is not held up by those that hang, and is sent again only where it asks', async () => {
    const transport = open();
    const hanging = Array.from({ length: 20 }, () =>
      failure(transport.json({ path: server.path('is accepted and never answered') })),
    );
    expect(await transport.json({ path: server.path('is well') })).toEqual({ well: true });
    await transport.close();
    const kinds = new Set((await Promise.all(hanging)).map(({ kind }) => kind));
    expect(kinds).toEqual(new Set(['network']));
    const before = server.requests.length;
    const acting = open().json({ method: 'POST', path: server.path('breaks the connection') });
    expect(await failure(acting)).toMatchObject({ kind: 'network' });
    expect(server.requests.length).toBe(before + 1);
  });

  it('after the close is refused', async () => {
    const transport = open();
    await transport.close();
    const error = await failure(transport.json({ path: server.path('is well') }));
    expect(error.kind).toBe('network');
    expect(server.requests).toEqual([]);
  });
});
