/** Steps as opencode 1.18.33 told of them, on a machine so busy that messages showed their end before their parts came. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { StepReader } from '../../../../src/opencode/v1/step-reader.js';
import { translate } from '../../../../src/opencode/v1/translate.js';
import type { Policy } from '../../../../src/watchdog/policy.js';
import { SECOND, world } from '../../watchdog/driver.js';

interface Frame {
  about: 'edit' | 'task' | 'compact' | 'empty';
  directory: string;
  payload: { type: string; properties: { info?: { time?: object; finish?: string } } };
}

const FILE = new URL('../../../fixtures/loops-1.18.33.ndjson', import.meta.url);
const frames = readFileSync(FILE, 'utf8')
  .trimEnd()
  .split('\n')
  .map((line) => JSON.parse(line) as Frame);

/** All that is observed of one of the sessions. */
function observed(about: Frame['about']) {
  const steps = new StepReader();
  return frames
    .filter((frame) => frame.about === about)
    .flatMap(({ directory, payload }) => translate(directory, payload, 1, 1, undefined, steps));
}
const stepsOf = (about: Frame['about']) =>
  observed(about).flatMap((each) =>
    each.kind === 'session.step_finished' && each.step ? [each.step] : [],
  );

it('a message that shows its end first is one step, which holds what its parts say', () => {
  const ends = frames.filter(({ payload }) => payload.properties.info?.finish === 'unknown');
  expect(ends.length).toBeGreaterThan(stepsOf('empty').length);
  const ids = stepsOf('empty').map(({ messageID }) => messageID);
  expect(new Set(ids).size).toBe(ids.length);
  for (const each of stepsOf('empty')) expect(each).toMatchObject({ empty: true });
});

it('an edit one way and back is two steps in turn', () => {
  const edits = stepsOf('edit').filter(({ tool }) => tool === 'edit');
  const prints = edits.map(({ fingerprint }) => fingerprint);
  expect(edits).toHaveLength(6);
  expect(new Set(prints).size).toBe(2);
  expect(prints.slice(2)).toEqual(prints.slice(0, 4));
});

it('a subagent with the same result is the same step, though it took long', () => {
  const tasks = stepsOf('task').filter(({ tool }) => tool === 'task');
  expect(tasks).toHaveLength(3);
  expect(new Set(tasks.map(({ fingerprint }) => fingerprint)).size).toBe(1);
  for (const each of tasks) expect(each).not.toHaveProperty('toolMs');
});

it('an automatic compaction has one summary, and its “Continue …” is no person’s', () => {
  const seen = observed('compact');
  expect(seen.filter(({ kind }) => kind === 'session.spoken_to')).toHaveLength(1);
  expect(seen.filter(({ kind }) => kind === 'session.compacted')).toHaveLength(2);
  expect(seen).toContainEqual(expect.objectContaining({ kind: 'session.compacting', auto: true }));
  // Between a summary and the next there is one step of work.
  expect(stepsOf('compact').map(({ summary = false }) => summary)).toEqual([
    false,
    true,
    false,
    true,
  ]);
});

/** The finished steps at which the watchdog aborts, with these limits; 0 where it does not. */
function abortedAfter(about: Frame['about'], loop: Partial<Policy['loop']>): number {
  const w = world({ policy: { loop } });
  const seen = observed(about);
  const { sessionID = '' } = seen.find((each) => 'sessionID' in each) as { sessionID?: string };
  w.status(sessionID, 'busy', { directory: '/project' });
  let finished = 0;
  for (const each of seen) {
    if (each.kind === 'session.step_finished') finished += 1;
    w.advance(SECOND).tell({ ...each, at: w.at });
    if (w.aborts(sessionID).length > 0) return finished;
  }
  return 0;
}

it('each is ended at the very step that is at its limit, and one more would not be', () => {
  expect(abortedAfter('empty', { maxEmptySteps: 4 })).toBe(4);
  // Behind the step that reads the file.
  expect(abortedAfter('edit', { maxRepeats: 3 })).toBe(1 + 2 * 3);
  expect(abortedAfter('edit', { maxRepeats: 4 })).toBe(0);
  expect(abortedAfter('task', { maxRepeats: 3 })).toBe(3);
  expect(abortedAfter('task', { maxRepeats: 4 })).toBe(0);
  expect(abortedAfter('compact', { maxCompactions: 2 })).toBe(4);
  expect(abortedAfter('compact', {})).toBe(0);
});
