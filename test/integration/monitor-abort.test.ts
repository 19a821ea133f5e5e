/** Aborting a session: the abort goes to the session's own directory, and is believed only when the status shows it. */
import { afterEach, describe, expect, it } from 'vitest';
import { SystemClock } from '../../src/lib/clock.js';
import { type AbortRequest, abortSession } from '../../src/opencode/actions/abort.js';
import { OpencodeClient } from '../../src/opencode/v1/client.js';
import {
  type FakeOpencode,
  type FakeSession,
  startFakeOpencode,
} from '../support/fake-opencode.js';

const clock = new SystemClock();
const ends: Array<() => Promise<unknown>> = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const RETRY = { type: 'retry', attempt: 4, message: 'Rate limit reached', next: 0 };
const ABORT = 'POST /session/:id/abort';

async function start(session: Partial<FakeSession> = {}) {
  const server = await startFakeOpencode();
  const client = new OpencodeClient({ url: server.url, clock });
  ends.push(
    () => server.stop(),
    () => client.close(),
  );
  const { id } = server.addSession({ directory: '/other', status: RETRY, ...session });
  const abort = (more: Partial<AbortRequest> = {}) =>
    abortSession(client, clock, {
      sessionID: id,
      directory: '/other',
      verifyTimeoutMs: 400,
      ...more,
    });
  return { server, id, client, abort };
}

const aborts = (server: FakeOpencode) => server.requests.filter(({ route }) => route === ABORT);

describe('an abort', () => {
  it('is done when the status of its own directory shows it', async () => {
    const { server, abort } = await start();
    let sent = 0;
    const end = await abort({ onSent: () => sent++ });
    expect(end).toMatchObject({ outcome: 'done', directory: '/other' });
    expect(sent).toBe(1);
    expect(aborts(server).map(({ query }) => query)).toEqual([{ directory: '/other' }]);
  });

  it('is proven by its answer false where no status can be had (1.0.0), and by nothing else there', async () => {
    const { server, abort } = await start();
    server.fault('GET /session/status', { status: 400, body: { error: [] } });
    expect(await abort()).toMatchObject({ outcome: 'failed' });
    server.fault(ABORT, { status: 200, body: false });
    expect(await abort()).toEqual({ outcome: 'withdrawn', seen: 'idle' });
  });

  it('is not proven by its answer where the status says otherwise', async () => {
    const { server, abort } = await start();
    server.fault(ABORT, { status: 200, body: false });
    expect(await abort()).toMatchObject({ outcome: 'failed' });
  });

  it('finds the directory where it is not known', async () => {
    const { abort } = await start();
    expect(await abort({ directory: undefined })).toMatchObject({
      outcome: 'done',
      directory: '/other',
    });
  });

  it('asks again for a directory that could not be read, and takes it for idle in no other', async () => {
    const { server, abort } = await start({ status: { type: 'busy' } });
    server.fault('GET /session/:id', { status: 500, times: 1 });
    expect(await abort({ directory: undefined })).toMatchObject({
      outcome: 'done',
      directory: '/other',
    });
  });

  it('fails where its directory cannot be read, also where no status can', async () => {
    const { server, abort } = await start({ status: { type: 'busy' } });
    server.fault('GET /session/:id', { status: 500 });
    expect(await abort({ directory: undefined })).toEqual({
      outcome: 'failed',
      error: 'its directory could not be read',
    });
    server.fault('GET /session/status', { status: 500, times: 1 });
    expect(await abort({ directory: undefined })).toMatchObject({
      outcome: 'failed',
      error: expect.stringContaining('and its status could not be read'),
    });
    expect(aborts(server)).toEqual([]);
  });

  it('goes to its own directory where it was told a wrong one', async () => {
    const { server, abort } = await start();
    expect(await abort({ directory: '/wrong' })).toMatchObject({
      outcome: 'done',
      directory: '/other',
    });
    expect(aborts(server).map(({ query }) => query)).toEqual([{ directory: '/other' }]);
  });

  it('ends a ghost, whose session is 404', async () => {
    const { abort } = await start({ deleted: true, status: { type: 'busy' } });
    expect(await abort()).toMatchObject({ outcome: 'done' });
  });

  it('that answers true and does nothing has failed, with what was seen', async () => {
    const { server, abort } = await start({ abort: 'lies' });
    const end = await abort();
    expect(end.outcome).toBe('failed');
    expect(end).toHaveProperty(
      'error',
      expect.stringMatching(/^still retry, attempt 4, \d+ ms after the abort was answered$/),
    );
    expect(aborts(server)).toHaveLength(1);
  });

  it('that is not answered has failed as long as the session runs, and worked when it stops', async () => {
    const { server, id, abort } = await start({ abort: 'hangs' });
    expect(await abort()).toMatchObject({
      outcome: 'failed',
      error: expect.stringContaining('was sent and not answered'),
    });
    const again = abort({
      onSent: () => setTimeout(() => server.setStatus(id, { type: 'idle' }), 60),
    });
    expect(await again).toMatchObject({ outcome: 'done' });
  });

  it('is tried once more where the connection broke', async () => {
    const { server, abort } = await start();
    server.fault(ABORT, { cut: true, times: 1 });
    expect(await abort()).toMatchObject({ outcome: 'done' });
    expect(aborts(server)).toHaveLength(2);
  });

  it('fails soon, and says why, where nobody listens', async () => {
    const { server, abort } = await start();
    await server.stop();
    ends.shift();
    const started = clock.now();
    const end = await abort({ verifyTimeoutMs: 5_000 });
    expect(end).toMatchObject({
      outcome: 'failed',
      error: expect.stringContaining('could not connect'),
    });
    expect(clock.now() - started).toBeLessThan(2_000);
  });

  it('is sent although the look before it failed', async () => {
    const { server, abort } = await start();
    server.fault('GET /session/status', { status: 500, times: 1 });
    expect(await abort()).toMatchObject({ outcome: 'done' });
  });
});

describe('an abort is withdrawn', () => {
  it('when the session is idle already', async () => {
    const { server, abort } = await start({ status: { type: 'idle' } });
    expect(await abort()).toEqual({ outcome: 'withdrawn', seen: 'idle' });
    expect(aborts(server)).toEqual([]);
  });

  it('when an attempt is in flight and a retry was expected', async () => {
    const { server, abort } = await start({ status: { type: 'busy' } });
    expect(await abort({ expect: 'retry' })).toEqual({ outcome: 'withdrawn', seen: 'busy' });
    expect(aborts(server)).toEqual([]);
    expect(await abort({ expect: 'active' })).toMatchObject({ outcome: 'done' });
  });

  it('by its signal as long as it is not sent, and not after', async () => {
    const { server, abort } = await start();
    const control = new AbortController();
    const hold = server.holdStatus();
    const end = abort({ signal: control.signal });
    control.abort();
    expect(await end).toEqual({ outcome: 'withdrawn', seen: 'withdrawn' });
    hold.release();
    expect(aborts(server)).toEqual([]);
    const late = new AbortController();
    expect(await abort({ signal: late.signal, onSent: () => late.abort() })).toMatchObject({
      outcome: 'done',
    });
  });
});

it('one look is all that stands between the decision and the abort on the wire', async () => {
  const { server, id, client, abort } = await start();
  server.setStatus(id, RETRY);
  // A poll comes before each decision. The first poll finds out which routes exist.
  await client.statuses(undefined);
  const before = server.requests.length;
  let asked: string[] = [];
  await abort({
    onSent: () => {
      asked = server.requests.slice(before).map(({ method, path }) => `${method} ${path}`);
    },
  });
  expect(asked).toEqual(['GET /session/status']);
});
