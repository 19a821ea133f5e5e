/** The HTTP client with a server that answers well, badly, too much, too late, or not at all. */
import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { SystemClock } from '../../src/lib/clock.js';
import type { ApiClientOptions } from '../../src/opencode/api-client.js';
import { OpencodeError } from '../../src/opencode/http/errors.js';
import { OpencodeClient } from '../../src/opencode/v1/client.js';
import { type FakeOpencode, startFakeOpencode } from '../support/fake-opencode.js';

const clock = new SystemClock();
const ends: Array<() => Promise<unknown>> = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function fake(options: Parameters<typeof startFakeOpencode>[0] = {}): Promise<FakeOpencode> {
  const server = await startFakeOpencode(options);
  ends.push(() => server.stop());
  return server;
}

function client(url: string, options: Partial<ApiClientOptions> = {}): OpencodeClient {
  const made = new OpencodeClient({ url, clock, timeoutMs: 120_000, ...options });
  ends.push(() => made.close());
  return made;
}

/** A server with a single answer for everything. */
async function answering(answer: (res: ServerResponse, path: string) => void): Promise<string> {
  const server: Server = createServer((req, res) => answer(res, req.url ?? ''));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  ends.push(async () => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const json = (res: ServerResponse, body: unknown, status = 200) =>
  res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));

async function failure(work: Promise<unknown>): Promise<OpencodeError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(OpencodeError);
  return error as OpencodeError;
}

describe('a request', () => {
  it('shares its signal with any number of others, without a word of Node on stderr', async () => {
    const warnings: Error[] = [];
    const heard = (warning: Error) => warnings.push(warning);
    process.on('warning', heard);
    ends.push(async () => process.off('warning', heard));
    const { url } = await fake();
    const { signal } = new AbortController();
    const asking = client(url);
    await Promise.all(Array.from({ length: 20 }, () => asking.statuses('/p', signal)));
    // A warning is emitted in the tick after its cause.
    await new Promise((resolve) => setImmediate(resolve));
    expect(warnings).toEqual([]);
  });

  it('says that nobody listens', async () => {
    const server = await startFakeOpencode();
    const { url } = server;
    await server.stop();
    const error = await failure(client(url).statuses('/p'));
    expect(error.kind).toBe('refused');
    expect(error.message).toContain(`GET ${url}/session/status could not connect`);
  });

  it('gives up after its timeout, also in the middle of an answer', async () => {
    const silent = await answering(() => {});
    expect((await failure(client(silent, { timeoutMs: 50 }).statuses('/p'))).kind).toBe('timeout');
    const half = await answering((res) => {
      res.writeHead(200, { 'content-type': 'application/json' }).write('{');
    });
    const error = await failure(client(half, { timeoutMs: 50 }).statuses('/p'));
    expect(error).toMatchObject({ kind: 'timeout' });
    expect(error.message).toContain('within 50 ms');
  });

  it('can be given up by its signal', async () => {
    const silent = await answering(() => {});
    const control = new AbortController();
    const asking = failure(client(silent).statuses('/p', control.signal));
    control.abort();
    expect((await asking).kind).toBe('aborted');
    expect((await failure(client(silent).statuses('/p', AbortSignal.abort()))).kind).toBe(
      'aborted',
    );
  });

  it('takes a web page for no opencode, and so JSON of another shape', async () => {
    const page = await answering((res) => {
      res.writeHead(200, { 'content-type': 'text/html' }).end('<html>');
    });
    expect((await failure(client(page).statuses('/p'))).kind).toBe('not_opencode');
    const other = await answering((res) => json(res, [1, 2]));
    expect((await failure(client(other).statuses('/p'))).kind).toBe('not_opencode');
    const broken = await answering((res) => {
      res.writeHead(200, { 'content-type': 'application/json' }).end('{"a":');
    });
    expect((await failure(client(broken).statuses('/p'))).kind).toBe('not_opencode');
  });

  it('stops reading an answer that is too large', async () => {
    let sent = 0;
    const endless = await answering((res) => {
      res.writeHead(200, { 'content-type': 'application/json' });
      const block = Buffer.alloc(1024 * 1024, 0x20);
      const more = () => {
        for (; !res.destroyed && sent < 300; sent += 1) {
          if (!res.write(block)) return void res.once('drain', more);
        }
      };
      more();
    });
    const error = await failure(client(endless).permissions('/p'));
    expect(error.kind).toBe('too_large');
    expect(sent).toBeLessThan(100);
  });

  it('repeats what the server said of an error, in bounds and without a secret', async () => {
    const url = await answering((res) =>
      json(res, { message: `no hunter2 ${'x'.repeat(900)}` }, 500),
    );
    const error = await failure(client(url, { password: 'hunter2' }).statuses('/p'));
    expect(error).toMatchObject({ kind: 'http', statusCode: 500 });
    expect(error.message).not.toContain('hunter2');
    expect(error.message.length).toBeLessThan(400);
  });

  it('never shows credentials that stand in the URL, and does not send them', async () => {
    const server = await fake();
    const url = server.url.replace('//', '//me:hunter2@');
    const made = client(url);
    expect(made.url).toBe(server.url);
    server.fault('GET /session/status', { status: 500 });
    expect((await failure(made.statuses('/p'))).message).not.toMatch(/hunter2|me:/);
  });

  it('is authorised by user name and password', async () => {
    const server = await fake({ password: 'pass wörd', username: 'someone' });
    expect((await failure(client(server.url).statuses('/p'))).kind).toBe('unauthorized');
    const known = client(server.url, { username: 'someone', password: 'pass wörd' });
    expect(await known.statuses('/p')).toEqual(new Map());
  });
});

describe('a probe', () => {
  it('is ok with the version', async () => {
    const server = await fake({ version: '1.2.3' });
    expect(await client(server.url).probe()).toEqual({ kind: 'ok', version: '1.2.3' });
  });

  it('never rejects', async () => {
    const server = await fake({ password: 'x' });
    expect(await client(server.url).probe()).toMatchObject({ kind: 'unauthorized', status: 401 });
    expect(await client(server.url).probe(AbortSignal.abort())).toEqual({ kind: 'aborted' });
    const silent = await answering(() => {});
    expect(await client(silent).probe(undefined, 30)).toMatchObject({
      kind: 'failed',
      failure: 'timeout',
    });
    const page = await answering((res) =>
      res.writeHead(200, { 'content-type': 'text/html' }).end('x'),
    );
    expect(await client(page).probe()).toMatchObject({
      kind: 'unsupported',
      answered: expect.stringContaining('text/html'),
    });
    const broken = await answering((res) => json(res, {}, 500));
    expect(await client(broken).probe()).toMatchObject({
      kind: 'unsupported',
      answered: expect.stringContaining('answered 500'),
    });
  });

  it('asks a server without a health route (404) by another one, and remembers it', async () => {
    const { url, asked } = await withoutHealth(() => 404);
    const made = client(url);
    expect(await made.probe()).toEqual({ kind: 'ok' });
    expect(await made.probe()).toEqual({ kind: 'ok' });
    expect(asked).toEqual(['/global/health', '/path', '/path']);
    made.forgetVersion();
    await made.probe();
    expect(asked.at(-2)).toBe('/global/health');
  });

  it.each([500, 503])('asks for the health again after one %i of that route', async (status) => {
    let sick = true;
    const { url, asked } = await withoutHealth(() => (sick ? status : 200));
    const made = client(url);
    expect(await made.probe()).toEqual({ kind: 'ok' });
    sick = false;
    expect(await made.probe()).toEqual({ kind: 'ok', version: '1.18.33' });
    expect(asked).toEqual(['/global/health', '/path', '/global/health']);
  });
});

/** A server whose health route answers with the given status, and whose `/path` answers well. */
async function withoutHealth(status: () => number) {
  const asked: string[] = [];
  const url = await answering((res, path) => {
    asked.push(path);
    const paths = { directory: '/p', state: '/s', config: '/c', worktree: '/' };
    if (path === '/path') json(res, paths);
    else json(res, status() === 200 ? { healthy: true, version: '1.18.33' } : {}, status());
  });
  return { url, asked };
}

describe('an answer', () => {
  it('gives every status that is listed, also one that cannot be read, and counts those', async () => {
    const url = await answering((res) =>
      json(res, {
        ses_a: { type: 'busy' },
        ses_b: { type: 'retry', attempt: 2, message: 'm', next: clock.epoch() - 5_000 },
        ses_c: 'unparseable',
        ses_d: { type: 'dreaming' },
        ses_e: { type: 'ready' },
      }),
    );
    const made = client(url);
    const unknown: string[] = [];
    made.parseStats.onUnknownStatus = (type) => unknown.push(type);
    expect(Object.fromEntries(await made.statuses('/p'))).toEqual({
      ses_a: { type: 'busy' },
      ses_b: { type: 'retry', attempt: 2, message: 'm', nextInMs: 0 },
      ses_c: { type: 'unknown' },
      ses_d: { type: 'busy' },
    });
    expect(made.parseStats.unparseable).toBe(1);
    expect(unknown).toEqual(['dreaming']);
  });

  it('lists recent sessions of all directories, by the older route where the newer is missing', async () => {
    const server = await fake();
    server.addSession({ id: 'ses_a', directory: '/other/', title: 'T', parentID: 'ses_p' });
    const made = client(server.url);
    for (let time = 0; time < 2; time += 1) {
      expect(await made.recentSessions(10)).toMatchObject([
        { id: 'ses_a', directory: '/other', title: 'T', parentID: 'ses_p' },
      ]);
    }
    expect(server.requests.filter(({ path }) => path === '/experimental/session')).toHaveLength(1);
  });

  it.each([500, 503])(
    'of %i to the list of all sessions is an error, and pins no older route',
    async (status) => {
      let sick = true;
      const asked: string[] = [];
      const url = await answering((res, path) => {
        asked.push(path);
        if (path === '/global/health') json(res, { healthy: true, version: '1.18.33' });
        else if (sick) json(res, {}, status);
        else json(res, [{ id: 'ses_a', directory: '/p' }]);
      });
      const made = client(url);
      await made.probe();
      await expect(made.recentSessions(10)).rejects.toMatchObject({ statusCode: status });
      sick = false;
      expect(await made.recentSessions(10)).toMatchObject([{ id: 'ses_a' }]);
      expect(asked.slice(1).map((path) => path.split('?')[0])).toEqual([
        '/experimental/session',
        '/experimental/session',
      ]);
    },
  );

  it('of a session that is not there is null', async () => {
    const server = await fake();
    expect(await client(server.url).session('ses_gone')).toBeNull();
  });

  it('no in a person’s place lets the run go on', async () => {
    const server = await fake();
    const made = client(server.url);
    for (const kind of ['permission', 'question'] as const) {
      const { id } = server.addSession({ status: { type: 'busy' } });
      const pending = server.ask(kind, id);
      const listed = await made[kind === 'permission' ? 'permissions' : 'questions'](
        server.directory,
      );
      expect(listed).toEqual([{ requestID: pending.id, sessionID: id, on: kind }]);
      const [request] = listed;
      await made.rejectRequest(request!, server.directory, 'Nobody is here.');
      expect(server.pending.size).toBe(0);
      expect(server.get(id).status.type).toBe('busy');
      expect(JSON.stringify(server.requests.at(-1)?.body)).toContain('Nobody is here.');
    }
  });
});

describe('a kept connection that the server closes just as it is used', () => {
  /** Answers the first request of each connection, and cuts the connection at the second. */
  async function fickle() {
    const seen: string[] = [];
    const used = new WeakSet<object>();
    const url = await answering((res) => {
      const { socket, method } = res.req;
      seen.push(method ?? '');
      if (used.has(socket)) {
        socket.destroy();
        return;
      }
      used.add(socket);
      json(res, {});
    });
    return { api: client(url), seen };
  }

  it('costs no answer: what only asks is asked again', async () => {
    const { api, seen } = await fickle();
    for (let i = 0; i < 6; i += 1) expect(await api.statuses('/p')).toEqual(new Map());
    expect(seen.length).toBeGreaterThan(6);
    expect(new Set(seen)).toEqual(new Set(['GET']));
  });

  it('is an error for what acts: it may have been done', async () => {
    const seen: string[] = [];
    const url = await answering((res) => {
      seen.push(res.req.method ?? '');
      res.socket?.destroy();
    });
    expect((await failure(client(url).abort('ses_1'))).kind).toBe('network');
    expect(seen).toEqual(['POST']);
  });
});
