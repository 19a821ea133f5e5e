/** Recovery after an abort, if it is configured: on a real opencode the aborted runs are continued, and no others. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  continuation,
  expectEnded,
  type Judged,
  JudgedWorld,
  lines,
} from '../support/judged-world.js';

let world: JudgedWorld;

beforeAll(async () => {
  world = await JudgedWorld.make();
});
afterAll(() => world?.end());

/** The models that the session's requests went to, in order and each once. */
const models = (world: JudgedWorld, { title }: Judged) => [
  ...new Set(world.provider.about(`(${title})`).map(({ model }) => model)),
];

test('an aborted run is continued on the fallback model, and finishes there', async () => {
  await world.serve();
  const { directory, other, provider, opencode } = world;
  await world.warmUp(directory, other);
  // `recover.prompt` has no marker, so this default applies to it: the one model is down for it too.
  provider.setDefault('[[only m2]]');
  const watchdog = await world.daemon({
    retry: { maxAttempts: 2 },
    stall: { maxSilence: world.time(5) },
    pileup: { minSessions: 99 },
    recover: { afterAbort: 'continue', models: ['fake/m2'], prompt: 'Please continue.' },
  });
  // A person aborts it before the limits do.
  const stopped = await world.begin({
    title: 'stopped by a person',
    text: `[[stream ${world.count(600)} 100]]`,
    directory: other,
  });
  await world.asked(stopped);
  await opencode.abort(stopped.id, stopped.directory);
  // `[[hang]]`, not a stream: a run that writes may fail because of its own deletion, if that is quick, and end before
  // anybody can end it.
  const ghost = await world.begin({ title: 'ghost', text: '[[hang]]' });
  await world.asked(ghost);
  await opencode.remove(ghost.id, ghost.directory);
  const down = await world.begin({ title: 'm1 is down', text: '[[only m2]]' });
  const hung = await world.begin({ title: 'm1 hangs', text: '[[hang]]', directory: other });
  const hopeless = await world.begin({ title: 'm1 costs', text: '[[usage-exhausted]]' });
  const parent = await world.begin({ title: 'parent', text: '[[task {{hang}} @]] [[ok]]' });

  for (const [each, reason] of [
    [down, 'attempts'],
    [hung, 'silence'],
    [hopeless, 'hopeless'],
  ] as const) {
    await expectEnded(watchdog, each, reason);
    const continued = await continuation(watchdog, each);
    expect(continued, each.title).toMatchObject({
      event: 'session.continued',
      model: 'fake/m2',
      count: 1,
      directory: each.directory,
    });
    await world.finished(each);
    expect(await world.answer(each)).toContain('All done.');
    expect(models(world, each), each.title).toEqual(['m1', 'm2']);
    expect(provider.about(`(${each.title})`).at(-1)?.prompts).toContain('Please continue.');
  }
  // The parent of a subagent continues by itself. A person's abort and a deletion are intended.
  const child = await world.child(parent);
  await expectEnded(watchdog, child, 'silence');
  await expectEnded(watchdog, ghost, 'ghost');
  await world.finished(parent);
  for (const each of [child, parent, stopped, ghost]) {
    expect(lines(watchdog, 'session.continued', each), each.title).toEqual([]);
  }
  expect(models(world, parent)).toEqual(['m1']);
  expect(watchdog.events('session.continue_failed')).toEqual([]);
  expect(watchdog.events('session.continued')).toHaveLength(3);
  expect(await opencode.statusAll([directory, other])).toEqual({});
});
