/**
 * The daemon on OpenCode 2: healthy patterns are left alone, stuck ones are ended, and an upgrade of the running server
 * is noticed.
 */
import { expect, it, onTestFinished } from 'vitest';
import { startFakeOpencode } from '../support/fake-opencode.js';
import { type Fake2Options, startFakeOpencode2 } from '../support/fake-opencode-2.js';
import { type RunOptions, TestRun } from './daemon-support.js';

async function start(options: RunOptions = {}, of: Fake2Options = {}) {
  const server = await startFakeOpencode2({ heartbeatMs: 200, ...of });
  onTestFinished(() => server.stop());
  const run = new TestRun(server as never, { password: 'pw', ...options });
  onTestFinished(async () => void (await run.stop()));
  expect(await run.saw('server.healthy')).toMatchObject({ version: '2.0.26', api: 2 });
  await run.saw('stream.connected', { path: '/api/event' });
  return { server, run };
}
const interrupts = (server: { requests: Array<{ path: string }> }) =>
  server.requests.filter(({ path }) => path.endsWith('/interrupt')).length;

it('ends a run whose provider refuses too often, and says so', async () => {
  const { server, run } = await start({ config: { retry: { maxAttempts: 3 } } });
  const session = server.addSession();
  server.begin(session);
  for (const attempt of [2, 3, 4]) server.retry(session, 'msg_a', attempt, 60_000);
  const stuck = await run.saw('session.stuck', { sessionID: session.id });
  expect(stuck).toMatchObject({ reason: 'attempts', value: 3, directory: '/p' });
  await run.saw('session.aborted', { sessionID: session.id });
  expect(server.active.size).toBe(0);
});

it('ends a wait for a time that is too far away (Retry-After, 15 min)', async () => {
  const { server, run } = await start({ config: { retry: { maxWait: 60_000 } } });
  const session = server.addSession();
  server.begin(session);
  server.retry(session, 'msg_a', 2, 15 * 60_000);
  expect(await run.saw('session.stuck')).toMatchObject({ reason: 'wait' });
  await run.saw('session.aborted');
});

it('ends a run that hangs after its prompt was delivered', async () => {
  const { server, run } = await start({ config: { stall: { maxSilence: 600 } } });
  const session = server.addSession();
  server.begin(session);
  // An assistant message without content: the provider does not answer.
  server.step(session, 'msg_a');
  expect(await run.saw('session.stuck')).toMatchObject({ reason: 'silence' });
  await run.saw('session.aborted');
});

it('leaves alone what is silent by design: a long tool argument, a compaction, a person', async () => {
  const { server, run } = await start({ config: { stall: { maxSilence: 300 } } });
  const writing = server.addSession();
  server.begin(writing);
  server.step(writing, 'msg_a');
  const call = { assistantMessageID: 'msg_a', id: 'call_a', name: 'write' };
  server.emit(writing, 'session.tool.input.started', call);
  const compacting = server.addSession();
  server.begin(compacting);
  server.step(compacting, 'msg_b');
  server.emit(compacting, 'session.compaction.started', { reason: 'auto' });
  const waiting = server.addSession();
  server.begin(waiting);
  server.ask(waiting, 'permission');
  await run.saw('session.waiting', { sessionID: waiting.id });
  const last = server.addSession();
  server.begin(last);
  server.step(last, 'msg_c');
  // This one is stuck. By then the others have been silent for longer.
  await run.saw('session.stuck', { sessionID: last.id });
  const stuck = run.lines.filter(({ event }) => event === 'session.stuck');
  expect(stuck.map(({ sessionID }) => sessionID)).toEqual([last.id]);
});

it('aborts a loop of the same step, and no healthy run', async () => {
  const { server, run } = await start({ config: { loop: { maxRepeats: 3 } } });
  const healthy = server.addSession();
  server.begin(healthy);
  for (const n of [1, 2, 3, 4]) server.tool(healthy, `msg_h${n}`, 'read', { n }, `text ${n}`);
  server.step(healthy, 'msg_h5');
  server.stepEnded(healthy, 'msg_h5', 'stop');
  server.end(healthy, 'succeeded');
  const looping = server.addSession();
  server.begin(looping);
  for (const n of [1, 2, 3]) server.tool(looping, `msg_l${n}`, 'read', { a: 1 }, 'the same');
  const stuck = await run.saw('session.stuck');
  expect(stuck).toMatchObject({ sessionID: looping.id, reason: 'loop', kind: 'repeat' });
  await run.saw('session.aborted', { sessionID: looping.id });
  expect(interrupts(server)).toBe(1);
});

/** A run that no interrupt ends, with its own directory, and a healthy run in another. */
async function wedge(options: RunOptions = {}) {
  const { server, run } = await start({
    ...options,
    config: { stall: { maxSilence: 400 }, abort: { verifyTimeout: 200, maxTries: 2 } },
  });
  const healthy = server.addSession({ directory: '/q' });
  server.begin(healthy);
  server.ask(healthy, 'permission');
  const stuck = server.addSession({ directory: '/p' });
  stuck.stopsAfterMs = null;
  server.begin(stuck);
  server.step(stuck, 'msg_a');
  return { server, run, healthy, stuck };
}

it('evicts the directory of a run that no interrupt ends, and cuts nobody else', async () => {
  const { server, run, healthy, stuck } = await wedge();
  server.eviction = 'ends_runs';
  await run.saw('directory.disposed', { reason: 'wedged', directory: '/p' });
  await run.saw('session.ended', { sessionID: stuck.id });
  expect(run.events('session.wedged')).toMatchObject([{ sessionID: stuck.id, next: 'dispose' }]);
  expect([...server.active]).toEqual([healthy.id]);
  expect(interrupts(server)).toBe(2);
  expect(run.events('server.restarting')).toEqual([]);
});

it('restarts the server for a run that nothing ends where no directory can be evicted, once the healthy ones have ended', async () => {
  const { server, run, healthy, stuck } = await wedge({
    control: {
      restart: () => {
        server.endStreams();
        server.active.clear();
      },
    },
  });
  server.eviction = 'missing';
  await run.saw('directory.dispose_failed', { directory: '/p' });
  await run.saw('server.restart_deferred', { reason: 'wedged' });
  expect(run.control.count('restart')).toBe(0);
  server.answer(healthy, 'All done.');
  await run.saw('server.restarted', { reason: 'wedged' });
  expect(await run.saw('session.interrupted')).toMatchObject({ sessionID: stuck.id });
  expect(run.events('session.ended', { sessionID: healthy.id })).toMatchObject([
    { outcome: 'completed' },
  ]);
  expect(run.events('session.wedged').map((line) => line.next)).toEqual(['dispose', 'restart']);
});

it('takes no reject without words for the end of the server', async () => {
  const { server, run } = await start();
  const session = server.addSession();
  server.begin(session);
  await run.saw('session.health', { health: 'busy' });
  server.end(session, 'interrupted', { reason: 'shutdown' });
  await run.saw('session.ended', { sessionID: session.id });
  expect(run.lines.filter(({ event }) => event.startsWith('server.'))).toHaveLength(1);
});

it('finds by the poll what it was not told, after a stream that broke in the middle of a frame', async () => {
  const { server, run } = await start({ config: { retry: { maxAttempts: 3 } } });
  const session = server.addSession();
  await run.saw('stream.connected');
  server.breakStreams();
  await run.saw('stream.lost');
  server.begin(session);
  server.retry(session, 'msg_a', 5, 60_000);
  expect(await run.saw('session.stuck')).toMatchObject({ reason: 'attempts' });
});

it('notices that 1.x was replaced by 2.x under it, and back', async () => {
  const one = await startFakeOpencode({ password: 'pw' });
  const port = Number(new URL(one.url).port);
  const run = new TestRun(one, { password: 'pw', config: { restart: { maxRestarts: 0 } } });
  onTestFinished(async () => void (await run.stop()));
  expect(await run.saw('server.healthy')).toMatchObject({ api: 1 });
  await run.saw('stream.connected', { path: '/global/event' });
  await one.stop();
  const two = await startFakeOpencode2({ port, heartbeatMs: 200 });
  await run.saw('stream.connected', { path: '/api/event' });
  const session = two.addSession();
  two.begin(session);
  await run.saw('session.health', { sessionID: session.id, health: 'busy' });
  await two.stop();
  const again = await startFakeOpencode({ port, password: 'pw' });
  onTestFinished(() => again.stop());
  const before = run.lines.length;
  await run.saw('stream.connected', { path: '/global/event' }, before);
});
