/** The main job on a real opencode: stuck sessions are aborted, healthy ones are not, and the server lives on. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { api, type Opencode, startOpencode } from '../support/opencode.js';
import { isAlive } from '../support/processes.js';
import { measureSlowness, stretched } from '../support/slowness.js';
import { waitFor } from '../support/wait.js';
import { createWorld, testWorld, type World } from '../support/world.js';

/** A world whose server no daemon started. It serves the tests that leave the server alive. */
let running: World;
let server: Opencode;

beforeAll(async () => {
  running = await createWorld();
  const { provider, home, port, env } = running;
  server = await startOpencode({ provider, home, port, env });
});
afterAll(async () => {
  await server?.stop();
  await running?.end();
});

/**
 * A healthy answer in this many chunks, a tenth of a second apart. There are more on a slow machine, where it must
 * outlast the same things.
 */
const stream = (chunks: number) => `[[stream ${stretched(chunks)} 100]]`;

async function world(): Promise<World> {
  await measureSlowness();
  return testWorld();
}

test('one stuck of two sessions is aborted, and the other streams on to its end', async () => {
  const { provider, url, directory, daemon } = running;
  const watchdog = await daemon({ retry: { maxAttempts: 2 } });
  await watchdog.saw('server.healthy', {}, 120_000);
  const opencode = api(url);
  const stuck = await opencode.createSession({ directory, title: 'stuck' });
  const healthy = await opencode.createSession({ directory, title: 'healthy' });
  const lively = `${stream(60)} beside one`;
  await opencode.promptAsync(healthy.id, directory, lively);
  await opencode.promptAsync(stuck.id, directory, '[[429]] stuck');

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

  // The provider shows it: it gets no more requests for the stuck session, and was heard to the end for the other.
  const asked = provider.count('[[429]] stuck');
  await watchdog.saw('session.health', { sessionID: healthy.id, health: 'idle' });
  expect(provider.count('[[429]] stuck')).toBe(asked);
  const answer = provider.about(lively);
  expect(answer).toMatchObject([{ aborted: false, open: false }]);
  expect(watchdog.events('session.aborting', { sessionID: healthy.id })).toEqual([]);
  expect(watchdog.events('server.restarting')).toEqual([]);
  expect(await watchdog.stop()).toBe(0);
  expect(isAlive(server.pid)).toBe(true);
});

test('a pile-up beside a healthy run is answered by aborts, not by a restart', async () => {
  const { provider, url, directory, daemon } = running;
  const watchdog = await daemon({
    retry: { maxAttempts: 99, maxDuration: '10m' },
    pileup: { minSessions: 3, minDuration: '2s' },
  });
  await watchdog.saw('server.healthy', {}, 120_000);
  const opencode = api(url);
  const healthy = await opencode.createSession({ directory });
  const lively = `${stream(60)} beside a pile-up`;
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
  expect(await watchdog.stop()).toBe(0);
  expect(isAlive(server.pid)).toBe(true);
});

test('a dry run decides and does nothing', async () => {
  const { provider, directory, daemon } = running;
  const watchdog = await daemon({ retry: { maxAttempts: 2 } }, ['--dry-run']);
  await watchdog.saw('server.healthy', {}, 120_000);
  const session = await server.api.createSession({ directory });
  await server.api.promptAsync(session.id, directory, '[[429]] dry');
  await watchdog.saw('session.stuck', { sessionID: session.id, reason: 'attempts' });
  await watchdog.saw('act.skipped', { act: 'abort', sessionID: session.id });
  // A later attempt proves that nothing was done: only a living run makes one.
  const asked = provider.count('[[429]] dry');
  await waitFor(() => provider.count('[[429]] dry') > asked, {
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
  // By the second summary there were many refused probes.
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
