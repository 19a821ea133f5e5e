/** Nobody is there to answer: a request is rejected with a message (`waiting.action: reject`), on a real opencode. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { askPerson, JudgedWorld, lines } from '../support/judged-world.js';

let world: JudgedWorld;

beforeAll(async () => {
  world = await JudgedWorld.make();
  await world.serve();
  await world.warmUp(world.directory, world.other);
});
afterAll(() => world?.end());

test('what nobody answers is rejected with a word, and the run goes on to its end', async () => {
  const watchdog = await world.daemon({
    waiting: { maxDuration: world.time(2), action: 'reject' },
  });
  const { permission, question } = await askPerson(world, 'rejected');
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
    // The model was told, and answered.
    expect(world.provider.count(`(${title})`), title).toBe(2);
  }
  expect(watchdog.events('error')).toEqual([]);
});
