/**
 * No stuck session is ever missed: patterns side by side on a real opencode, each ended once and for its own reason.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { TestDaemon } from '../support/daemon.js';
import {
  expectEnded,
  type Judged,
  JudgedWorld,
  lines,
  nestedSubagents,
  touches,
} from '../support/judged-world.js';
import { commandLine } from '../support/processes.js';
import { waitFor } from '../support/wait.js';

let world: JudgedWorld;

beforeAll(async () => {
  world = await JudgedWorld.make({ config: nestedSubagents() });
  await world.serve();
  await world.warmUp(world.directory, world.other);
});
afterAll(() => world?.end());

const sleepers = () =>
  world.home.processes().filter((pid) => commandLine(pid).includes('sleep 600'));

test('stuck sessions of every kind are ended, each once, and the parents of stuck subagents go on', async () => {
  const { directory, other, opencode, provider } = world;
  const begin = (title: string, text: string, where = directory) =>
    world.begin({ title, text, directory: where });

  // Stuck since before the daemon started, and not in the server's own directory.
  const oldHang = await begin('old hang', '[[hang]]', other);
  const oldRetry = await begin('old retry', '[[429]]', other);
  const oldGhost = await begin('old ghost', '[[hang]]', other);
  const oldTool = await begin('old tool', '[[bash sleep 600]]', other);
  await world.retrying(oldRetry, 2);
  await Promise.all([oldHang, oldGhost].map((each) => world.asked(each)));
  await waitFor(() => sleepers().length > 0, { what: 'the old tool to run' });
  await opencode.remove(oldGhost.id, other);

  const watchdog: TestDaemon = await world.daemon({
    retry: { maxAttempts: 2, maxDuration: world.time(5), maxWait: world.time(60) },
    stall: { maxSilence: world.time(5), maxToolTime: world.time(6) },
    pileup: { minSessions: 99 },
  });

  const expected: [Judged, string | string[]][] = [
    [oldHang, 'silence'],
    [oldRetry, 'attempts'],
    [oldGhost, 'ghost'],
    [oldTool, 'tool_time'],
  ];
  const stuck = async (reason: string | string[], title: string, text: string, where?: string) => {
    const session = await begin(title, text, where);
    expected.push([session, reason]);
    return session;
  };
  const retryGhost = await stuck('ghost', 'ghost in retry', '[[503]]');
  const hungGhost = await stuck('ghost', 'ghost that hangs', '[[hang]]', other);
  await world.asked(hungGhost);
  await opencode.remove(hungGhost.id, hungGhost.directory);
  await world.retrying(retryGhost);
  await opencode.remove(retryGhost.id, retryGhost.directory);

  await stuck('attempts', 'rate limit', '[[429]]');
  // Waits that the provider names do not count for an episode's age. Its failures count.
  const slow = await stuck(
    'attempts',
    'slow retries',
    `[[429 retry-after=${world.count(6)}]]`,
    other,
  );
  const later = await stuck('wait', 'retry in an hour', '[[429 retry-after=3600]]');
  // Decided in the first moments of the run, when an abort can be lost.
  const spent = [
    await stuck('hopeless', 'free usage spent', '[[usage-exhausted]]', other),
    // Versions without the `action` report only the wait.
    await stuck(
      ['hopeless', 'wait'],
      'weekly usage spent',
      '[[usage-exhausted go retry-after=86400]]',
    ),
    await stuck('hopeless', 'quota spent', '[[usage-exhausted quota]]'),
  ];
  await stuck('silence', 'never answers', '[[hang]]');
  await stuck('silence', 'answers with headers only', '[[hang-headers]]', other);
  await stuck('silence', 'stops in the middle', '[[stall 3]]');
  await stuck('silence', 'stops after a tool', '[[bash true]] [[hang]]', other);
  await stuck('attempts', 'cut in the middle', '[[midfail 3]]');
  await stuck('tool_time', 'endless tool', '[[bash sleep 600]]', other);
  const parents = [
    await begin('parent of a hang', '[[task {{hang}} @]]'),
    await begin('parent of a rate limit', '[[task {{429}} @]]', other),
    await begin('grandparent of a hang', '[[task {{task ((hang)) @}} @]]'),
  ];
  const [ofHang, ofLimit, middle] = await Promise.all(parents.map((each) => world.child(each)));
  const leaf = await world.child(middle!);
  expected.push([ofHang!, 'silence'], [ofLimit!, 'attempts'], [leaf, 'silence']);

  const said = new Map<Judged, Awaited<ReturnType<typeof expectEnded>>>();
  await Promise.all(
    expected.map(async ([each, reason]) => {
      said.set(each, await expectEnded(watchdog, each, reason));
    }),
  );
  expect(said.get(later)).toMatchObject({ attempt: 1 });
  expect(said.get(slow)).toMatchObject({ attempt: 2 });
  for (const each of spent) expect(said.get(each)).toMatchObject({ attempt: 1 });

  // Only the lowest session is aborted: each one above it answers.
  await Promise.all(parents.map((each) => world.finished(each)));
  for (const each of [...parents, middle!]) {
    expect(touches(watchdog, each), each.title).toEqual([]);
    expect(await world.answer(each), each.title).toContain('All done.');
  }

  // The provider shows it: it gets no more requests, for longer than the time until the next attempt.
  const titles = expected.map(([{ title }]) => title).filter((title) => !/subagent/.test(title));
  const counts = () =>
    Object.fromEntries(titles.map((each) => [each, provider.count(`(${each})`)]));
  const before = counts();
  await world.finished(await begin('witness', '[[stream 60 100]]'));
  expect(counts()).toEqual(before);
  expect(provider.open()).toBe(0);
  expect(sleepers()).toEqual([]);
  expect(await opencode.statusAll([directory, other])).toEqual({});
  for (const [each] of expected) {
    expect(lines(watchdog, 'session.stuck', each), each.title).toHaveLength(1);
  }
  expect(watchdog.events('session.wedged')).toEqual([]);
  expect(watchdog.events('server.restarting')).toEqual([]);
});
