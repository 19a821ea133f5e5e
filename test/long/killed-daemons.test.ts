/** A daemon that is killed at many different moments, on a real opencode. */
import { expect, test } from 'vitest';
import { api } from '../support/opencode.js';
import { pause, waitFor } from '../support/wait.js';
import { serversOf, testWorld } from '../support/world.js';

const TIMES = 20;

test(`a daemon that is killed ${TIMES} times at all kinds of moments leaves one server, which each next one adopts`, async () => {
  const it = await testWorld();
  const { provider, url, directory } = it;
  const config = { retry: { maxAttempts: 3 }, pileup: { minSessions: 50 } };
  let watchdog = await it.daemon(config);
  const { pid } = await watchdog.saw('server.healthy', {}, 120_000);
  const opencode = api(url);
  const healthy = await opencode.createSession({ directory });
  await opencode.promptAsync(healthy.id, directory, '[[stream 500 100]]');
  const touched: string[] = [];
  for (let round = 0; round < TIMES; round++) {
    // A stuck session in each round, so that many daemons die in the middle of an abort.
    const stuck = await opencode.createSession({ directory });
    await opencode.promptAsync(stuck.id, directory, `[[429]] ${round}`);
    // This pause does not wait for anything. It sets the moment of the kill, which this test varies, in the same way
    // each time.
    const moment = (round * 397) % 900;
    await pause(moment);
    watchdog.child.kill('SIGKILL');
    await watchdog.stop();
    touched.push(
      ...watchdog.events('session.aborting', { sessionID: healthy.id }).map(({ msg }) => msg),
      ...watchdog.events('server.restarting').map(({ msg }) => `${msg} (killed at ${moment} ms)`),
    );
    expect(serversOf(it)).toEqual([pid]);
    watchdog = await it.daemon(config);
  }
  expect((await watchdog.saw('server.healthy')).pid).toBe(pid);
  expect(touched).toEqual([]);
  // The last daemon finishes what the dead ones left: no stuck session remains, and the healthy one keeps streaming.
  await waitFor(async () => Object.keys(await opencode.status(directory)).length <= 1, {
    what: 'every stuck session to be ended',
    timeout: 90_000,
  });
  await watchdog.saw('session.health', { sessionID: healthy.id, health: 'idle' }, 90_000);
  expect(provider.about('[[stream 500 100]]')).toMatchObject([{ aborted: false, open: false }]);
  expect(await watchdog.stop()).toBe(0);
  await waitFor(() => serversOf(it).length === 0, { what: 'no server left' });
});
