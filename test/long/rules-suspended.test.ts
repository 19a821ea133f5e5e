/**
 * Time that the daemon did not observe counts against no session: the daemon is suspended for longer than every limit,
 * on a real opencode.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectEnded, JudgedWorld, touches } from '../support/judged-world.js';

let world: JudgedWorld;

beforeAll(async () => {
  world = await JudgedWorld.make();
  await world.serve();
  await world.warmUp(world.directory, world.other);
});
afterAll(() => world?.end());

test('a daemon that was suspended for longer than every limit aborts nothing that is healthy', async () => {
  const { directory, other, provider } = world;
  const watchdog = await world.daemon({
    retry: { maxAttempts: 5, maxDuration: world.time(6), maxWait: world.time(60) },
    stall: { maxSilence: world.time(5), maxToolTime: world.time(6) },
    log: { healthInterval: '1s' },
    probe: { interval: '1s', timeout: world.time(1), maxFailures: 2 },
  });
  const begin = (title: string, text: string, where = directory) =>
    world.begin({ title, text, directory: where });
  const stream = await begin('stream', `[[stream ${world.count(130)} 100]]`);
  const tool = await begin('tool', `[[bash sleep ${world.count(11)}]]`, other);
  const parent = await begin('parent', `[[task {{bash sleep ${world.count(11)}}} @]]`);
  // One recovers before the daemon is back, the other one later.
  const soon = await begin('recovers meanwhile', '[[flaky 1]]', other);
  const late = await begin('recovers afterwards', `[[flaky 1 retry-after=${world.count(10)}]]`);
  const hung = await begin('hung', '[[hang]]', other);
  for (const each of [soon, late]) {
    await watchdog.saw('session.health', { sessionID: each.id, health: 'retrying' });
  }
  for (const each of [tool, await world.child(parent)]) {
    // Wait for this: if a tool began while the daemon did not listen, only the tool's own start time would tell when.
    await watchdog.saw('session.health', { sessionID: each.id, tool: 'bash' });
  }
  await Promise.all([stream, hung].map((each) => world.asked(each)));

  process.kill(watchdog.pid, 'SIGSTOP');
  const silentFrom = watchdog.lines.length;
  try {
    // Its 8 s (on a quiet machine) set the length of the pause: longer than every limit.
    const witness = `[[stream ${world.count(80)} 100]]`;
    await world.finished(await begin('witness', witness, other));
  } finally {
    process.kill(watchdog.pid, 'SIGCONT');
  }

  const gap = await watchdog.saw('daemon.gap');
  expect(gap.gapMs).toBeGreaterThan(7_000);
  await expectEnded(watchdog, hung, 'silence');
  const healthy = [stream, tool, parent, await world.child(parent), soon, late];
  await Promise.all(healthy.map((each) => world.finished(each)));
  for (const each of healthy) {
    expect(touches(watchdog, each), each.title).toEqual([]);
    expect(world.hungUp(each), each.title).toBe(0);
  }
  expect(provider.count('(recovers afterwards)')).toBe(2);
  await watchdog.saw('session.recovered', { sessionID: late.id });
  // The server was not blamed either: it answered all the time.
  for (const event of ['server.unresponsive', 'server.restarting', 'error']) {
    expect(watchdog.lines.slice(silentFrom).filter((line) => line.event === event)).toEqual([]);
  }
});
