/** Nobody is there to answer, and it is only to be reported (`waiting.action: report`), on a real opencode. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ASK_BASH, JudgedWorld, touches } from '../support/judged-world.js';

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

test('what nobody answers is only reported where that is wanted, once', async () => {
  const watchdog = await world.daemon({
    waiting: { maxDuration: world.time(2), action: 'report' },
    log: { healthInterval: '1s' },
  });
  const { permission, question } = await ask('reported');
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
