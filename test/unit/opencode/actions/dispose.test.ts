/** A dispose is believed when the status shows it, and not sent where it would cut somebody unknown. */
import { expect, test } from 'vitest';
import { disposeDirectory } from '../../../../src/opencode/actions/dispose.js';
import { OpencodeError } from '../../../../src/opencode/http/errors.js';
import type { ServerApi } from '../../../../src/opencode/server-api.js';
import { FakeClock } from '../../../support/fake-clock.js';

class Server {
  running = ['bad'];
  disposed = 0;
  works = true;
  error: OpencodeError | undefined;
  statusScope: 'directory' | 'server' = 'directory';
  /** The directories of sessions, as the server tells them. */
  directories: Record<string, string> = {};
  /** The answer for a session without a directory. */
  unreadable: Error | null = null;
  readonly askedWithin: (number | undefined)[] = [];

  async statuses() {
    return new Map(this.running.map((id) => [id, { type: 'busy' as const }]));
  }
  async session(id: string, _directory?: string, _stop?: AbortSignal, withinMs?: number) {
    this.askedWithin.push(withinMs);
    const directory = this.directories[id];
    if (directory !== undefined) return { id, directory };
    if (this.unreadable !== null) throw this.unreadable;
    return null;
  }
  async dispose() {
    this.disposed += 1;
    if (this.error) throw this.error;
    if (this.works) this.running = [];
  }
}

async function dispose(server: Server, known = ['bad']) {
  const clock = new FakeClock(1_000);
  const ending = disposeDirectory(server as unknown as ServerApi, clock, {
    directory: '/a',
    sessions: ['bad'],
    known,
    verifyTimeoutMs: 15_000,
    stop: new AbortController().signal,
  });
  await clock.advance(20_000);
  return ending;
}

test('it is done when the session is seen idle', async () => {
  expect(await dispose(new Server())).toEqual({ outcome: 'done', tookMs: 100 });
});

test('it has failed when the session still runs after verifyTimeout, whatever was answered', async () => {
  const server = new Server();
  server.works = false;
  expect(await dispose(server)).toEqual({
    outcome: 'failed',
    error: 'bad still runs, 15000 ms after the dispose was answered',
  });
});

test('a server without this route is not waited for', async () => {
  const server = new Server();
  server.error = new OpencodeError({
    kind: 'not_opencode',
    request: 'POST http://h/instance/dispose',
    outcome: 'answered 200 text/html',
  });
  expect(await dispose(server)).toMatchObject({
    outcome: 'failed',
    error: expect.stringContaining('text/html'),
  });
});

test('nothing is sent where the session has ended already', async () => {
  const server = new Server();
  server.running = [];
  expect(await dispose(server)).toEqual({ outcome: 'withdrawn', seen: 'idle' });
  expect(server.disposed).toBe(0);
});

test('nothing is sent where a run is there that nobody knew of', async () => {
  const server = new Server();
  server.running = ['bad', 'new'];
  expect(await dispose(server)).toEqual({ outcome: 'withdrawn', seen: 'others' });
  expect(server.disposed).toBe(0);
});

test('a list of the whole server does not hold it back for runs of other directories', async () => {
  const server = new Server();
  server.running = ['bad', 'elsewhere'];
  server.statusScope = 'server';
  server.directories = { elsewhere: '/b' };
  expect(await dispose(server)).toMatchObject({ outcome: 'done' });
});

test('a list of the whole server holds it back for a run that began there meanwhile', async () => {
  const server = new Server();
  server.running = ['bad', 'new'];
  server.statusScope = 'server';
  server.directories = { new: '/a' };
  expect(await dispose(server)).toEqual({ outcome: 'withdrawn', seen: 'others' });
  expect(server.disposed).toBe(0);
});

test.each([
  ['cannot be read', new Error('answered 500')],
  ['is not there any more', null],
])('it fails, and is not sent, where a session that %s may run there', async (_, answer) => {
  const server = new Server();
  server.running = ['bad', 'lost'];
  server.statusScope = 'server';
  server.unreadable = answer;
  expect(await dispose(server)).toEqual({
    outcome: 'failed',
    error: 'the directory of lost could not be read',
  });
  expect(server.disposed).toBe(0);
  expect(server.askedWithin).toEqual([2_000]);
});
