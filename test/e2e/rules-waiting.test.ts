/** Nobody is there to answer, and runs that may never end (`waiting`, `stall.maxRunTime`), on a real opencode. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ASK_BASH, expectEnded, JudgedWorld, lines, touches } from '../support/judged-world.js';

let world: JudgedWorld;

beforeAll(async () => {
  world = await JudgedWorld.make();
  await world.serve();
  await world.warmUp(world.directory, world.other);
});
afterAll(() => world?.end());

/** One that asks for a permission, and one with a question, in another directory. */
async function ask(about: string) {
  const { other } = world;
  const permission = await world.begin({
    title: `permission ${about}`,
    text: '[[bash touch must-not-be]]',
    permission: ASK_BASH,
  });
  const question = await world.begin({
    title: `question ${about}`,
    text: '[[question]]',
    directory: other,
  });
  return { permission, question };
}

test('what nobody answers is rejected with a word, and the run goes on to its end', async () => {
  const watchdog = await world.daemon({
    waiting: { maxDuration: world.time(2), action: 'reject' },
  });
  const { permission, question } = await ask('rejected');
  for (const [each, on] of [
    [permission, 'permission'],
    [question, 'question'],
  ] as const) {
    const { id: sessionID, title } = each;
    await watchdog.saw('session.answered', { sessionID, by: 'watchdog', on });
    await world.finished(each);
    await watchdog.saw('session.health', { sessionID, health: 'idle' });
    expect(await world.answer(each), title).toContain('All done.');
    expect(lines(watchdog, 'session.waiting', each), title).toHaveLength(1);
    expect(lines(watchdog, 'session.answered', each), title).toHaveLength(1);
    expect(lines(watchdog, 'session.stuck', each), title).toMatchObject([{ reason: 'waiting' }]);
    expect(lines(watchdog, 'session.aborting', each), title).toEqual([]);
    expect(world.hungUp(each), title).toBe(0);
    // The model was told, and answered to it.
    expect(world.provider.count(`(${title})`), title).toBe(2);
  }
  expect(watchdog.events('error')).toEqual([]);
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
  const { permission, question } = await ask('aborted');
  for (const each of [permission, question]) {
    await expectEnded(watchdog, each, 'waiting');
    await world.idle(each);
  }
  // opencode lists what the aborted run had asked for ever (1.18.33): the session's next run waits for nobody.
  for (const each of [permission, question]) {
    await world.opencode.promptAsync(each.id, each.directory, `[[hang]] (${each.title} again)`);
  }
  for (const { id: sessionID } of [permission, question]) {
    await watchdog.saw('session.aborted', { sessionID, reason: 'silence' });
  }

  // The limit for runs ends what is lively, and nothing before it.
  await world.finished(short);
  await expectEnded(watchdog, endless, 'run_time');
  expect(world.provider.about('(endless)')).toMatchObject([{ aborted: true }]);
  expect(world.provider.open('(endless)')).toBe(0);
  expect(touches(watchdog, short)).toEqual([]);
});
