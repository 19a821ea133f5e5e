/** The main job on a real opencode: what is stuck is aborted, a pile-up restarts the server, the log says why. */
import { afterEach, expect, test } from 'vitest';
import { api, startOpencode } from '../support/opencode.js';
import { isAlive, keepStopped } from '../support/processes.js';
import { measureSlowness, stretched } from '../support/slowness.js';
import { waitFor } from '../support/wait.js';
import { createWorld, type World } from '../support/world.js';

const worlds: World[] = [];
afterEach(async () => {
  for (const each of worlds.splice(0)) await each.end();
});

/** A healthy answer in so many chunks, a tenth of a second each: more on a slow machine, where it must outlast the same. */
const stream = (chunks: number) => `[[stream ${stretched(chunks)} 100]]`;

async function world(): Promise<World> {
  await measureSlowness();
  const created = await createWorld();
  worlds.push(created);
  return created;
}

test('one stuck of two sessions is aborted, and the other streams on to its end', async () => {
  const { provider, url, directory, daemon } = await world();
  const watchdog = await daemon({ retry: { maxAttempts: 2 } });
  await watchdog.saw('server.healthy', {}, 120_000);
  const opencode = api(url);
  const stuck = await opencode.createSession({ directory, title: 'stuck' });
  const healthy = await opencode.createSession({ directory, title: 'healthy' });
  const lively = stream(150);
  await opencode.promptAsync(healthy.id, directory, lively);
  await opencode.promptAsync(stuck.id, directory, '[[429]]');

  const decided = await watchdog.saw('session.stuck', { sessionID: stuck.id });
  expect(decided).toMatchObject({
    reason: 'attempts',
    attempt: 2,
    limit: 2,
    directory,
    title: 'stuck',
  });
  await watchdog.saw('session.aborted', { sessionID: stuck.id });
  expect(await opencode.status(directory)).not.toHaveProperty(stuck.id);

  // The provider is the witness: it is asked no more for the stuck one, and to the end for the other.
  const asked = provider.count('[[429]]');
  await watchdog.saw('session.health', { sessionID: healthy.id, health: 'idle' });
  expect(provider.count('[[429]]')).toBe(asked);
  const answer = provider.about(lively);
  expect(answer).toMatchObject([{ aborted: false, open: false }]);
  expect(watchdog.events('session.aborting', { sessionID: healthy.id })).toEqual([]);
  expect(watchdog.events('server.restarting')).toEqual([]);
});

test('three sessions retrying in two directories lead to a restart that names what it cut', async () => {
  const { url, directory, home, daemon } = await world();
  const watchdog = await daemon({
    retry: { maxAttempts: 99, maxDuration: '10m' },
    pileup: { minSessions: 3, minDuration: '2s' },
  });
  const first = await watchdog.saw('server.healthy', {}, 120_000);
  const opencode = api(url);
  const other = await home.project('other');
  const stuck: string[] = [];
  for (const [where, index] of [directory, directory, other].map((d, i) => [d, i] as const)) {
    const session = await opencode.createSession({ directory: where, title: `piled ${index}` });
    await opencode.promptAsync(session.id, where, `[[503]] ${index}`);
    stuck.push(session.id);
  }
  const restarting = await watchdog.saw('server.restarting');
  expect(restarting).toMatchObject({ reason: 'pileup', pid: first.pid });
  expect([...(restarting.interrupted as string[])].sort()).toEqual([...stuck].sort());
  const restarted = await watchdog.saw('server.restarted', {}, 120_000);
  expect(restarted).toMatchObject({ reason: 'pileup', oldPid: first.pid });
  expect(restarted.pid).not.toBe(first.pid);
  expect(isAlive(first.pid!)).toBe(false);
  expect(await opencode.statusAll([directory, other])).toEqual({});
  for (const sessionID of stuck) {
    expect(watchdog.events('session.interrupted', { sessionID })).toMatchObject([
      { restartReason: 'pileup', health: 'retrying' },
    ]);
  }
  expect(watchdog.events('session.aborting')).toEqual([]);
});

test('a pile-up beside a healthy run is answered by aborts, not by a restart', async () => {
  const { provider, url, directory, daemon } = await world();
  const watchdog = await daemon({
    retry: { maxAttempts: 99, maxDuration: '10m' },
    pileup: { minSessions: 3, minDuration: '2s' },
  });
  await watchdog.saw('server.healthy', {}, 120_000);
  const opencode = api(url);
  const healthy = await opencode.createSession({ directory });
  const lively = stream(120);
  await opencode.promptAsync(healthy.id, directory, lively);
  const stuck: string[] = [];
  for (let index = 0; index < 3; index++) {
    const session = await opencode.createSession({ directory });
    await opencode.promptAsync(session.id, directory, `[[503]] ${index}`);
    stuck.push(session.id);
  }
  for (const sessionID of stuck) {
    await watchdog.saw('session.aborted', { sessionID, reason: 'pileup' });
  }
  await watchdog.saw('session.health', { sessionID: healthy.id, health: 'idle' });
  expect(provider.about(lively)).toMatchObject([{ aborted: false, open: false }]);
  expect(watchdog.events('server.restarting')).toEqual([]);
});

test('a killed server is brought back, a stopped one is let run, and one that stays frozen is replaced', async () => {
  const { url, daemon, directory, provider } = await world();
  const watchdog = await daemon({
    probe: { interval: '1s', timeout: '1s', maxFailures: 2 },
  });
  const first = await watchdog.saw('server.healthy', {}, 120_000);
  process.kill(first.pid!, 'SIGKILL');
  const exited = await watchdog.saw('server.exited');
  expect(exited).toMatchObject({ pid: first.pid, signal: 'SIGKILL' });
  const second = await watchdog.saw('server.restarted', { reason: 'exited' }, 120_000);
  expect((await api(url).health()).healthy).toBe(true);

  const session = await api(url).createSession({ directory });
  const lively = stream(100);
  await api(url).promptAsync(session.id, directory, lively);
  await waitFor(() => provider.about(lively).length > 0, { what: 'a run' });
  process.kill(second.pid!, 'SIGSTOP');
  await watchdog.saw('server.suspended', { pid: second.pid! });
  await watchdog.saw('server.continued', { pid: second.pid! });
  await watchdog.saw('session.health', { sessionID: session.id, health: 'idle' });
  expect(provider.about(lively)).toMatchObject([{ aborted: false, open: false }]);
  expect(watchdog.events('server.restarting')).toHaveLength(1);

  keepStopped(second.pid!);
  await watchdog.saw('server.unresponsive');
  const third = await watchdog.saw('server.restarted', { reason: 'unresponsive' }, 120_000);
  expect(third.oldPid).toBe(second.pid);
  expect(isAlive(second.pid!)).toBe(false);
  expect((await api(url).health()).healthy).toBe(true);
});

test('a second daemon adopts the server that the first one left behind', async () => {
  const { home, daemon } = await world();
  const first = await daemon();
  const { pid } = await first.saw('server.healthy', {}, 120_000);
  first.child.kill('SIGKILL');
  await first.stop();
  const second = await daemon();
  const adopted = await second.saw('server.healthy');
  expect(adopted.pid).toBe(pid);
  expect(second.events('server.restarting')).toEqual([]);
  expect(isAlive(pid!)).toBe(true);
  expect(await second.stop()).toBe(0);
  await waitFor(() => home.processes().length === 0, { what: 'nothing left of the server' });
});

test('a dry run decides and does nothing', async () => {
  const { provider, port, directory, daemon, home, env, defer } = await world();
  const server = await startOpencode({ provider, home, port, env });
  defer(() => server.stop());
  const watchdog = await daemon({ retry: { maxAttempts: 2 } }, ['--dry-run']);
  await watchdog.saw('server.healthy', {}, 120_000);
  const session = await server.api.createSession({ directory });
  await server.api.promptAsync(session.id, directory, '[[429]]');
  await watchdog.saw('session.stuck', { sessionID: session.id, reason: 'attempts' });
  await watchdog.saw('act.skipped', { act: 'abort', sessionID: session.id });
  // A later attempt is the proof that nothing was done: only a living run makes it.
  const asked = provider.count('[[429]]');
  await waitFor(() => provider.count('[[429]]') > asked, {
    what: 'one more attempt',
    timeout: 60_000,
  });
  expect(await server.api.status(directory)).toHaveProperty(session.id);
  expect(watchdog.events('session.aborted')).toEqual([]);
  expect(await watchdog.stop()).toBe(0);
  expect(isAlive(server.pid)).toBe(true);
});

test('a wrong password is said, leads to no restart, and is printed nowhere', async () => {
  const { provider, port, daemon, home, env, defer } = await world();
  const server = await startOpencode({ provider, home, port, env, password: 'right-pa55word' });
  defer(() => server.stop());
  env.OPENCODE_SERVER_PASSWORD = 'wrong-pa55word';
  const watchdog = await daemon({
    log: { level: 'debug', healthInterval: '1s' },
    probe: { interval: '200ms', timeout: '1s', maxFailures: 2 },
  });
  await watchdog.saw('server.unauthorized', { status: 401 });
  // Two summaries are many refused probes later.
  await waitFor(() => watchdog.events('health.summary').length >= 2, { what: 'two summaries' });
  expect(watchdog.events('server.unauthorized')).toHaveLength(1);
  expect(watchdog.events('server.restarting')).toEqual([]);
  expect(isAlive(server.pid)).toBe(true);
  await watchdog.stop();
  expect(watchdog.output()).not.toContain('wrong-pa55word');
  expect(watchdog.output()).not.toContain(
    Buffer.from('opencode:wrong-pa55word').toString('base64'),
  );
});
