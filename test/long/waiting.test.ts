/**
 * Nobody is there to answer: the request is only reported, or the run is ended. Also runs that never end by themselves.
 * On a real opencode.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { askPerson, expectEnded, JudgedWorld, touches } from '../support/judged-world.js';

let world: JudgedWorld;

beforeAll(async () => {
  world = await JudgedWorld.make();
  await world.serve();
  await world.warmUp(world.directory, world.other);
});
afterAll(() => world?.end());

test('what nobody answers is only reported where that is wanted, once', async () => {
  const watchdog = await world.daemon({
    waiting: { maxDuration: world.time(2), action: 'report' },
    log: { healthInterval: '1s' },
  });
  const { permission, question } = await askPerson(world, 'reported');
  for (const each of [permission, question]) {
    await watchdog.saw('session.stuck', { sessionID: each.id, reason: 'waiting' });
  }
  const before = watchdog.events('health.summary').length;
  await world.finished(await world.begin({ title: 'witness', text: '[[stream 40 100]]' }));
  expect(watchdog.events('health.summary').length).toBeGreaterThan(before);
  for (const each of [permission, question]) {
    expect(touches(watchdog, each), each.title).toHaveLength(1);
    expect(await world.opencode.status(each.directory)).toHaveProperty(each.id);
    await world.opencode.abort(each.id, each.directory);
    await world.idle(each);
  }
});

test('what nobody answers is aborted where that is wanted, and excuses no later run; nor is a run endless', async () => {
  const watchdog = await world.daemon({
    waiting: { maxDuration: world.time(2), action: 'abort' },
    stall: { maxSilence: world.time(5), maxRunTime: world.time(8) },
  });
  const endless = await world.begin({ title: 'endless', text: '[[stream 100000 100]]' });
  const short = await world.begin({
    title: 'short',
    text: '[[stream 10 100]]',
    directory: world.other,
  });
  const { permission, question } = await askPerson(world, 'aborted');
  for (const each of [permission, question]) {
    await expectEnded(watchdog, each, 'waiting');
    await world.idle(each);
  }
  // opencode keeps listing the aborted run's requests for ever (1.18.33). The session's next run waits for nobody.
  for (const each of [permission, question]) {
    await world.opencode.promptAsync(each.id, each.directory, `[[hang]] (${each.title} again)`);
  }
  for (const { id: sessionID } of [permission, question]) {
    await watchdog.saw('session.aborted', { sessionID, reason: 'silence' });
  }

  // The limit for a whole run ends even a lively one, and no run before that.
  await world.finished(short);
  await expectEnded(watchdog, endless, 'run_time');
  expect(world.provider.about('(endless)')).toMatchObject([{ aborted: true }]);
  expect(world.provider.open('(endless)')).toBe(0);
  expect(touches(watchdog, short)).toEqual([]);
});
