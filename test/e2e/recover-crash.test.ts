/**
 * Recovery after a crash, if it is configured: on a real opencode the runs that the crash cut are continued, and no
 * others.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ASK_BASH, continuation, JudgedWorld, lines } from '../support/judged-world.js';

let world: JudgedWorld;

beforeAll(async () => {
  world = await JudgedWorld.make();
});
afterAll(() => world?.end());

test('a healthy run that a dead server cut is continued by the next one, and nothing else is', async () => {
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
