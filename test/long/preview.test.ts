/**
 * Runs of the preview of OpenCode 2's API on a real opencode 1.18: no status of 1.x shows them, and no abort of 1.x
 * ends them. A run that hangs is interrupted. Healthy runs and a waiting question are left alone.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { JudgedWorld, touches } from '../support/judged-world.js';
import { waitFor } from '../support/wait.js';

let world: JudgedWorld;

beforeAll(async () => {
  world = await JudgedWorld.make();
  await world.serve();
  await world.warmUp(world.directory, world.other);
});
afterAll(() => world?.end());

interface Active {
  data: Record<string, unknown>;
}
const active = async () =>
  Object.keys((await world.opencode.call<Active>('GET', '/api/session/active')).data);

async function begin(title: string, text: string, directory = world.directory) {
  const { id } = await world.opencode.createSession({ directory, title });
  const prompt = { text: `${text} (${title})` };
  await world.opencode.call('POST', `/api/session/${id}/prompt`, undefined, { prompt });
  return { id, directory, title };
}

test('what hangs is interrupted by its own route, what is healthy or waits is left alone', async () => {
  // A directory's first prompt through this API may be accepted and never run (seen on 1.18.33).
  for (const directory of [world.directory, world.other]) await begin('first', '[[ok]]', directory);
  await waitFor(async () => (await active()).length === 0, { timeout: 60_000 });
  const watchdog = await world.daemon({
    stall: { maxSilence: world.time(4), maxToolTime: world.time(10) },
  });
  const hung = await begin('hung', '[[hang]]');
  const healthy = await begin('healthy', `[[stream ${world.count(120)} 100]]`, world.other);
  const asking = await begin('asking', '[[question]]');
  const old = await world.begin({ title: 'of 1.x', text: `[[stream ${world.count(100)} 100]]` });
  await watchdog.saw('session.health', { sessionID: healthy.id, health: 'busy' });
  expect(await world.opencode.status(world.directory)).not.toHaveProperty(hung.id);
  await watchdog.saw('session.waiting', { sessionID: asking.id, on: 'question' });
  expect(await watchdog.saw('session.stuck', { sessionID: hung.id }, 120_000)).toMatchObject({
    directory: world.directory,
  });
  await watchdog.saw('session.aborted', { sessionID: hung.id });
  expect(await active()).not.toContain(hung.id);
  for (const each of [healthy, old]) {
    expect(await watchdog.saw('session.ended', { sessionID: each.id }, 120_000)).toMatchObject({
      outcome: 'completed',
    });
  }
  expect(await active()).toContain(asking.id);
  for (const each of [healthy, old, asking])
    expect(touches(watchdog, each), each.title).toEqual([]);
  await world.opencode.call('POST', `/api/session/${asking.id}/interrupt`);
});
