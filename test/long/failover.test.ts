/** Failover on a real opencode: two providers, one of which is out for a while and comes back. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FIRST_REST_MS } from '../../src/watchdog/group/failover.js';
import type { TestDaemon } from '../support/daemon.js';
import { type FakeProvider, startFakeProvider } from '../support/fake-provider.js';
import { continuation, type Judged, JudgedWorld, lines } from '../support/judged-world.js';
import { waitFor } from '../support/wait.js';

/**
 * The observed clock leaves out time in which a busy machine stalls. So its times may come this much later than the
 * wall clock's, ms.
 */
const LATER_MS = 5_000;

let spare: FakeProvider;
let world: JudgedWorld;
beforeAll(async () => {
  spare = await startFakeProvider();
  world = await JudgedWorld.make({ providers: { spare } });
});
afterAll(async () => {
  await world?.end();
  await spare?.stop();
});

/** The model on which it is continued. If it is not continued, the log says why. */
async function goesOn(watchdog: TestDaemon, session: Judged): Promise<unknown> {
  const { event, model, msg } = await continuation(watchdog, session);
  expect(event, msg).toBe('session.continued');
  return model;
}

test('while one of two providers is out, all sessions go on with the other, and one run at a time finds out that it is back', async () => {
  const main = world.provider;
  const watchdog = await world.daemon({
    retry: { maxAttempts: 1 },
    pileup: { minSessions: 99 },
    recover: {
      afterAbort: 'continue',
      models: ['fake/m1', 'spare/m2'],
      prompt: 'Please continue.',
    },
  });
  await world.warmUp(world.directory);
  /** A session whose own model fails, so that its continuation chooses from the chain. */
  const failsElsewhere = (title: string) =>
    world.begin({ title, text: '[[only m2]]', model: 'spare/m1' });

  main.override = 'down';
  const first = await world.begin({ title: 'first', text: '[[ok]]' });
  expect(await goesOn(watchdog, first)).toBe('spare/m2');
  const outSince = Date.now();
  // The second need not learn again what the first has learnt: the provider that is out is not even asked.
  const second = await failsElsewhere('second');
  expect(await goesOn(watchdog, second)).toBe('spare/m2');
  // A key that one provider refuses is refused by the others too.
  const refused = await world.begin({ title: 'refused', text: '[[401]]', model: 'spare/m1' });
  await watchdog.saw('session.failed', { sessionID: refused.id });
  for (const each of [first, second]) await world.finished(each);
  expect(main.about('(second)')).toEqual([]);

  main.override = null;
  main.setDefault(`[[stream ${world.count(60)} 100]]`);
  const rested = FIRST_REST_MS + LATER_MS;
  await waitFor(() => Date.now() - outSince > rested, {
    what: 'the breaker to have rested',
    timeout: 2 * rested,
    interval: 1_000,
  });
  const pair = [await failsElsewhere('third'), await failsElsewhere('fourth')];
  const went = await Promise.all(pair.map((each) => goesOn(watchdog, each)));
  expect(went.sort()).toEqual(['fake/m1', 'spare/m2']);
  for (const each of pair) await world.finished(each);

  main.setDefault('[[ok]]');
  for (const title of ['fifth', 'sixth']) {
    const later = await failsElsewhere(title);
    expect(await goesOn(watchdog, later), title).toBe('fake/m1');
    await world.finished(later);
  }
  expect(lines(watchdog, 'session.continued', refused)).toEqual([]);
  expect(watchdog.events('session.continue_failed')).toEqual([]);
});
