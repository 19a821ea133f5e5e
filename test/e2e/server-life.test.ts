/** The server is kept alive, on a real opencode: killed, stopped, frozen, and taken over by the next daemon. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { api } from '../support/opencode.js';
import { isAlive, keepStopped } from '../support/processes.js';
import { measureSlowness, stretched } from '../support/slowness.js';
import { waitFor } from '../support/wait.js';
import { createWorld, type World } from '../support/world.js';

let world: World;

beforeAll(async () => {
  await measureSlowness();
  world = await createWorld();
});
afterAll(() => world?.end());

/**
 * A healthy answer in this many chunks, a tenth of a second apart. There are more on a slow machine, where it must
 * outlast the same things.
 */
const stream = (chunks: number) => `[[stream ${stretched(chunks)} 100]]`;

test('a killed server is brought back, a stopped one is let run, one that stays frozen is replaced, and the next daemon takes it over', async () => {
  const { url, daemon, directory, provider, home } = world;
  const watchdog = await daemon({
    probe: { interval: '1s', timeout: `${stretched(2_000)}ms`, maxFailures: 2 },
  });
  const first = await watchdog.saw('server.healthy', {}, 120_000);
  process.kill(first.pid!, 'SIGKILL');
  const exited = await watchdog.saw('server.exited');
  expect(exited).toMatchObject({ pid: first.pid, signal: 'SIGKILL' });
  const second = await watchdog.saw('server.restarted', { reason: 'exited' }, 120_000);
  expect((await api(url).health()).healthy).toBe(true);

  const session = await api(url).createSession({ directory });
  const lively = stream(60);
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

  // Now the daemon is killed.
  watchdog.child.kill('SIGKILL');
  await watchdog.stop();
  const next = await daemon();
  const adopted = await next.saw('server.healthy');
  expect(adopted.pid).toBe(third.pid);
  expect(next.events('server.restarting')).toEqual([]);
  expect(isAlive(third.pid!)).toBe(true);
  expect(await next.stop()).toBe(0);
  await waitFor(() => home.processes().length === 0, { what: 'nothing left of the server' });
});
