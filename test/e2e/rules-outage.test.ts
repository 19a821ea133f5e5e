/**
 * A pile-up restarts the server once. An outage of the provider is not the server's fault: it is reported once, and
 * answered with aborts. On a real opencode.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { TestDaemon } from '../support/daemon.js';
import { JudgedWorld } from '../support/judged-world.js';
import { isAlive } from '../support/processes.js';

let world: JudgedWorld;
let watchdog: TestDaemon;

beforeAll(async () => {
  world = await JudgedWorld.make();
  watchdog = await world.daemon({
    retry: { maxAttempts: 99, maxDuration: '10m' },
    pileup: { minSessions: 3, minDuration: '3s', rest: '10m' },
  });
  await world.warmUp(world.directory, world.other);
});
afterAll(() => world?.end());

test('a pile-up that a restart did not heal is an outage, said once, until the provider is back', async () => {
  const { directory, other, opencode, provider } = world;
  provider.override = 'down';
  const round = (name: string) =>
    Promise.all(
      [directory, other, directory].map((where, index) =>
        world.begin({ title: `${name} ${index}`, text: '[[ok]]', directory: where }),
      ),
    );

  // The first pile-up may be the server's fault, so the server is restarted.
  const { pid } = watchdog.events('server.healthy')[0]!;
  const first = await round('first');
  const restarting = await watchdog.saw('server.restarting');
  expect(restarting).toMatchObject({ reason: 'pileup', pid });
  expect([...(restarting.interrupted as string[])].sort()).toEqual(
    first.map(({ id }) => id).sort(),
  );
  const restarted = await watchdog.saw('server.restarted', { reason: 'pileup' }, 120_000);
  expect(restarted.oldPid).toBe(pid);
  expect(restarted.pid).not.toBe(pid);
  expect(isAlive(pid!)).toBe(false);
  for (const { id: sessionID } of first) {
    await watchdog.saw('session.interrupted', { sessionID });
    expect(watchdog.events('session.interrupted', { sessionID })).toMatchObject([
      { restartReason: 'pileup', health: 'retrying' },
    ]);
  }
  expect(watchdog.events('session.aborting')).toEqual([]);

  // The same again at once: now the provider is to blame.
  const second = await round('second');
  const outage = await watchdog.saw('provider.outage');
  expect(outage).toMatchObject({
    provider: 'fake',
    model: 'm1',
    message: expect.stringContaining('Service Unavailable'),
  });
  expect(outage.sessions).toBeGreaterThanOrEqual(4);
  for (const { id } of second) {
    await watchdog.saw('session.aborted', { sessionID: id, reason: 'pileup' });
  }
  const third = await round('third');
  for (const { id } of third) await watchdog.saw('session.aborted', { sessionID: id });
  expect(watchdog.events('provider.outage')).toHaveLength(1);
  expect(watchdog.events('server.restarting')).toHaveLength(1);
  expect(await opencode.statusAll([directory, other])).toEqual({});

  provider.override = null;
  await world.finished(await world.begin({ title: 'healed', text: '[[ok]]' }));
  const back = await watchdog.saw('provider.back');
  expect(back).toMatchObject({ provider: 'fake', model: 'm1' });
  expect(back.outageMs).toBeGreaterThan(0);
  expect(watchdog.events('provider.outage')).toHaveLength(1);
  expect(watchdog.events('provider.back')).toHaveLength(1);
  expect(watchdog.events('server.restarting')).toHaveLength(1);
});
