/**
 * Budgets on a real opencode with a model that has a price: with a subagent, through a restart of the daemon, and while
 * no daemon runs.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { JudgedWorld, lines, touches } from '../support/judged-world.js';
import { waitFor } from '../support/wait.js';

/** Each step reports ten input tokens, which cost one dollar. */
const PAID = { paid: { name: 'paid', cost: { input: 100_000, output: 0 } } };
const FOREVER = '[[calls forever read {"filePath":"a%n.txt"}]]';

let world: JudgedWorld;
beforeAll(async () => {
  world = await JudgedWorld.make({ models: PAID });
  await world.serve();
  await world.warmUp(world.directory);
});
afterAll(() => world?.end());

test('what a day has cost outlives the daemon, and ends the run that spends the rest of it', async () => {
  const begin = (title: string, text: string) => world.begin({ title, text, model: 'paid' });
  const limits = { budget: { day: { cost: 8 } } };

  const first = await world.daemon(limits);
  const parent = await begin('parent', '[[task {{bash true}} @]]');
  const ended = await first.saw('session.ended', { sessionID: parent.id }, 60_000);
  // Two steps of its own, and two of its subagent.
  expect(ended).toMatchObject({ outcome: 'completed', steps: 2, costUsd: 4 });
  await first.stop();

  const meanwhile = await begin('while no daemon ran', '[[bash true]]');
  await world.finished(meanwhile);

  const second = await world.daemon(limits);
  await second.saw('health.summary', { costTodayUsd: 6 }, 60_000);
  const spender = await begin('spender', FOREVER);
  const stuck = await second.saw('session.stuck', { sessionID: spender.id }, 60_000);
  expect(stuck).toMatchObject({ reason: 'budget', kind: 'day', unit: 'cost', value: 8, limit: 8 });
  await second.saw('session.aborted', { sessionID: spender.id, reason: 'budget' });
  expect(second.events('budget.warning')).toMatchObject([{ budget: 'day', value: 7 }]);
  await waitFor(() => lines(second, 'session.ended', spender).length > 0, { what: 'its end' });
  expect(lines(second, 'session.ended', spender)).toMatchObject([
    { outcome: 'aborted', reason: 'budget' },
  ]);
  const asked = world.requests(spender);

  // A new run may begin: whether it is over budget shows with its first step.
  const next = await begin('next', FOREVER);
  await second.saw('session.aborted', { sessionID: next.id, reason: 'budget' }, 60_000);
  expect(second.events('budget.exceeded')).toHaveLength(1);
  // The provider shows it: the step under way when the budget was spent is the last one.
  expect(world.requests(spender)).toBe(asked);
  for (const each of [parent, meanwhile]) expect(touches(second, each)).toEqual([]);
});
