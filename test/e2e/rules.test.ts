/**
 * The rules on a real opencode, with patterns side by side: no healthy session is touched, and each stuck one is ended.
 * For all patterns see test/long/rules-stuck.test.ts.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { TestDaemon } from '../support/daemon.js';
import {
  ASK_BASH,
  continuation,
  expectEnded,
  type Judged,
  JudgedWorld,
  lines,
  nestedSubagents,
  touches,
} from '../support/judged-world.js';
import { waitFor } from '../support/wait.js';

let world: JudgedWorld;
let watchdog: TestDaemon;

beforeAll(async () => {
  world = await JudgedWorld.make({ config: nestedSubagents() });
  await world.serve();
  await world.warmUp(world.directory, world.other);
  watchdog = await world.daemon({
    retry: { maxAttempts: 3, maxDuration: world.time(20), maxWait: world.time(60) },
    stall: { maxSilence: world.time(5), maxToolTime: world.time(12) },
    pileup: { minSessions: 3, minDuration: world.time(5) },
    // So that a wrong decision would do even more harm.
    recover: { afterAbort: 'continue', afterRestart: 'continue' },
  });
});
afterAll(() => world?.end());

test('healthy sessions beyond every limit are left alone, and the stuck ones beside them are not', async () => {
  const { directory, other, opencode, provider } = world;
  const compacted = await world.begin({
    title: 'compaction',
    text: `[[ok]] summary-after=${1_000 * world.count(8)}`,
    directory: other,
  });
  await world.finished(compacted);

  const chunks = world.count(140);
  const quiet = `bash sleep ${world.count(8)}`;
  const begin = (title: string, text: string, where = directory) =>
    world.begin({ title, text, directory: where });
  const compaction = opencode.call('POST', `/session/${compacted.id}/summarize`, other, {
    providerID: 'fake',
    modelID: 'm1',
  });
  const stream = await begin('long stream', `[[stream ${chunks} 100]]`);
  const reasoning = await begin('long reasoning', `[[reason ${chunks} 100]]`, other);
  const sleep = await begin('quiet tool', `[[${quiet}]]`);
  const sleeps = await begin('two quiet tools', `[[${quiet}]] [[${quiet}]]`, other);
  const permission = await world.begin({
    title: 'permission',
    text: '[[bash sleep 5]]',
    permission: ASK_BASH,
  });
  const question = await begin('question', '[[question]]', other);
  const delegating = await begin('delegating', `[[task {{stream ${chunks} 100}} @]]`);
  const deep = await begin('deep', `[[task {{task ((${quiet})) @}} @]]`, other);
  const flaky = await begin('flaky', '[[flaky 2]]');
  const refused = await begin('refused', '[[401]]', other);
  const stopped = await begin('stopped by a person', `[[stream ${2 * chunks} 100]]`);
  const hung = await begin('hung', '[[hang]]');
  const limited = await begin('limited', '[[429]]', other);
  const spent = await begin('free usage spent', '[[usage-exhausted]]', other);
  const tool = await begin('endless tool', '[[bash sleep 600]]');
  const ghost = await begin('ghost', '[[hang]]', other);
  const parent = await begin('parent of a hang', '[[task {{hang}} @]]', other);

  await world.asked(stopped);
  await opencode.abort(stopped.id, stopped.directory);
  await world.asked(ghost);
  await opencode.remove(ghost.id, ghost.directory);

  // The limits take effect.
  await expectEnded(watchdog, hung, 'silence');
  await expectEnded(watchdog, limited, 'attempts');
  await expectEnded(watchdog, spent, 'hopeless');
  await expectEnded(watchdog, ghost, 'ghost');
  await expectEnded(watchdog, await world.child(parent), 'silence');
  await expectEnded(watchdog, tool, 'tool_time');
  for (const each of [hung, limited]) {
    expect((await continuation(watchdog, each)).event, each.title).toBe('session.continued');
    await world.finished(each);
    expect(lines(watchdog, 'session.continued', each), each.title).toHaveLength(1);
  }

  // The longest runs are over. So each waiting session has waited for longer than every limit.
  const working = [stream, reasoning, sleep, sleeps, delegating, deep, parent, flaky, compacted];
  await Promise.all(working.map((each) => world.finished(each)));
  expect(await compaction).toBe(true);
  for (const [each, on] of [
    [permission, 'permission'],
    [question, 'question'],
  ] as const) {
    expect(lines(watchdog, 'session.waiting', each), each.title).toMatchObject([{ on }]);
    expect(lines(watchdog, 'session.answered', each)).toEqual([]);
    expect(await opencode.status(each.directory)).toHaveProperty(each.id);
  }
  const [asked] = await opencode.permissions(directory);
  await opencode.replyPermission(asked!.id, directory, 'once');
  const [wondered] = await opencode.questions(other);
  await opencode.replyQuestion(wondered!.id, other, [['left']]);
  await Promise.all([permission, question].map((each) => world.finished(each)));
  for (const each of [permission, question]) {
    await watchdog.saw('session.health', { sessionID: each.id, health: 'idle' });
    expect(lines(watchdog, 'session.waiting', each), each.title).toHaveLength(1);
    expect(lines(watchdog, 'session.answered', each)).toMatchObject([{ by: 'person' }]);
  }

  const subagents: Judged[] = [await world.child(delegating), await world.child(deep)];
  subagents.push(await world.child(subagents[1]!));
  const healthy = [...[...working, permission, question, refused, stopped], ...subagents];
  for (const each of healthy) {
    expect(touches(watchdog, each), each.title).toEqual([]);
    expect(lines(watchdog, 'session.continued', each), each.title).toEqual([]);
    await world.idle(each);
  }
  // The provider shows it: only the person hung up on it, and the watchdog for the subagent that hung.
  for (const each of healthy) {
    expect(world.hungUp(each), each.title).toBe(each === stopped || each === parent ? 1 : 0);
  }
  expect(watchdog.events('server.restarting')).toEqual([]);

  // The health that was shown for each.
  const seen = (each: Judged, health: string) =>
    watchdog.events('session.health', { sessionID: each.id, health }).length;
  for (const each of [delegating, deep, subagents[1]!]) {
    expect(seen(each, 'delegating'), each.title).toBeGreaterThan(0);
  }
  for (const each of [permission, question]) {
    expect(seen(each, 'waiting'), each.title).toBeGreaterThan(0);
  }
  expect(lines(watchdog, 'session.recovered', flaky)).toMatchObject([{ attempts: 2 }]);
  expect(lines(watchdog, 'session.failed', refused)).toMatchObject([{ statusCode: 401 }]);
  expect(lines(watchdog, 'session.failed', stopped)).toEqual([]);
  expect(provider.count('(stopped by a person)')).toBe(1);
  await waitFor(
    async () => Object.keys(await opencode.statusAll([directory, other])).length === 0,
    {
      what: 'everything to be idle',
    },
  );
});
