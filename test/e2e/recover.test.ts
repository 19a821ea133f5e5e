/** Recovery, when asked for: aborted and interrupted runs are continued on a real opencode, and no others. */
import { afterEach, expect, test } from 'vitest';
import type { TestDaemon } from '../support/daemon.js';
import { ASK_BASH, expectEnded, type Judged, JudgedWorld, lines } from '../support/judged-world.js';
import { waitFor } from '../support/wait.js';

const worlds: JudgedWorld[] = [];
afterEach(async () => {
  for (const world of worlds.splice(0)) await world.end();
});
async function newWorld(): Promise<JudgedWorld> {
  const world = await JudgedWorld.make();
  worlds.push(world);
  return world;
}

/** The models that its conversation was sent to, in order and once each. */
const models = (world: JudgedWorld, { title }: Judged) => [
  ...new Set(world.provider.about(`(${title})`).map(({ model }) => model)),
];

/** How it went: a continuation that failed says why. */
const continuation = (watchdog: TestDaemon, session: Judged) =>
  waitFor(
    () =>
      [
        ...lines(watchdog, 'session.continued', session),
        ...lines(watchdog, 'session.continue_failed', session),
      ][0],
    { what: `${session.title} to be continued`, timeout: 60_000 },
  );

test('an aborted run is continued on the fallback model, and finishes there', async () => {
  const world = await newWorld();
  await world.serve();
  const { directory, other, provider, opencode } = world;
  await world.warmUp(directory, other);
  // A prompt without a marker, as `recover.prompt` is: the one model is down for it too.
  provider.setDefault('[[only m2]]');
  const watchdog = await world.daemon({
    retry: { maxAttempts: 2 },
    stall: { maxSilence: world.time(5) },
    pileup: { minSessions: 99 },
    recover: { afterAbort: 'continue', models: ['fake/m2'], prompt: 'Please continue.' },
  });
  // A person is quicker than the limits.
  const stopped = await world.begin({
    title: 'stopped by a person',
    text: `[[stream ${world.count(600)} 100]]`,
    directory: other,
  });
  await world.asked(stopped);
  await opencode.abort(stopped.id, stopped.directory);
  const ghost = await world.begin({ title: 'ghost', text: `[[stream ${world.count(600)} 100]]` });
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
  // A subagent's parent goes on by itself; a person's abort and a deletion are meant.
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

test('a healthy run that a dead server cut is continued by the next one, and nothing else is', async () => {
  const world = await newWorld();
  const { directory, other, opencode, provider } = world;
  const watchdog = await world.daemon({
    recover: { afterRestart: 'continue', prompt: 'Please continue.' },
  });
  await world.warmUp(directory, other);
  const { pid } = watchdog.events('server.healthy')[0]!;
  const stream = await world.begin({ title: 'stream', text: `[[stream ${world.count(600)} 100]]` });
  const elsewhere = await world.begin({
    title: 'elsewhere',
    text: `[[stream ${world.count(600)} 100]]`,
    directory: other,
  });
  const parent = await world.begin({
    title: 'parent',
    text: `[[task {{stream ${world.count(600)} 100}} @]]`,
  });
  const waiting = await world.begin({
    title: 'waiting',
    text: '[[bash true]]',
    permission: ASK_BASH,
  });
  const retrying = await world.begin({ title: 'retrying', text: '[[503]]', directory: other });
  await watchdog.saw('session.waiting', { sessionID: waiting.id });
  await watchdog.saw('session.health', { sessionID: retrying.id, health: 'retrying' });
  await watchdog.saw('session.health', { sessionID: parent.id, health: 'delegating' });
  const child = await world.child(parent);
  await Promise.all(
    [stream, elsewhere, child].map((each) =>
      world.asked({ ...each, title: each === child ? parent.title : each.title }),
    ),
  );

  process.kill(pid!, 'SIGKILL');
  await watchdog.saw('server.exited', { pid });
  await watchdog.saw('server.restarted', { reason: 'exited' }, 120_000);
  for (const each of [stream, elsewhere, parent]) {
    const continued = await continuation(watchdog, each);
    expect(continued, each.title).toMatchObject({
      event: 'session.continued',
      model: 'fake/m1',
      count: 1,
    });
    await world.finished(each);
    expect(await world.answer(each), each.title).toContain('All done.');
    expect(provider.about(`(${each.title})`).at(-1)?.prompts).toContain('Please continue.');
  }
  for (const each of [stream, elsewhere, parent, child, waiting, retrying]) {
    expect(lines(watchdog, 'session.interrupted', each), each.title).toHaveLength(1);
  }
  for (const each of [child, waiting, retrying]) {
    expect(lines(watchdog, 'session.continued', each), each.title).toEqual([]);
  }
  expect(watchdog.events('session.continue_failed')).toEqual([]);
  expect(await opencode.statusAll([directory, other])).toEqual({});
});
