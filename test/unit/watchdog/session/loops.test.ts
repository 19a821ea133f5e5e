/** How runaways are counted, step by step, and healthy runs that look alike. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { FinishedStep } from '../../../../src/watchdog/observation.js';
import {
  compacted,
  countAnew,
  nearestLoop,
  newStepHistory,
  runBegan,
  stepFinished,
} from '../../../../src/watchdog/session/loops.js';

const LIMITS = {
  action: 'abort',
  maxEmptySteps: 10,
  maxRepeats: 12,
  maxCompactions: 4,
  maxTextRepeats: 12,
  maxRuns: 20,
} as const;

const step = (fingerprint: string | undefined, more: Partial<FinishedStep> = {}): FinishedStep => ({
  messageID: 'msg',
  empty: false,
  tools: 1,
  toolErrors: 0,
  hasText: false,
  fileChanges: 0,
  ...(fingerprint === undefined ? {} : { fingerprint }),
  ...more,
});

/** The count after each of these steps, for the kind that is closest to its limit. */
function counts(steps: readonly FinishedStep[]): number[] {
  const history = newStepHistory();
  return steps.map((each) => {
    stepFinished(history, each);
    return nearestLoop(history, LIMITS)?.count ?? 0;
  });
}

describe('repeated steps', () => {
  it('the same step twelve times is at the limit with the twelfth', () => {
    expect(counts(Array.from({ length: 12 }, () => step('a')))).toEqual([
      0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
    ]);
  });

  it.each([2, 3, 4])('a cycle of %i steps counts its rounds', (length) => {
    const steps = Array.from({ length: length * 12 }, (_, n) => step(`s${n % length}`));
    expect(counts(steps).at(-1)).toBe(12);
    expect(counts(steps.slice(0, -1)).at(-1)).toBe(11);
  });

  it('a cycle of five is none', () => {
    expect(Math.max(...counts(Array.from({ length: 100 }, (_, n) => step(`s${n % 5}`))))).toBe(0);
  });

  it('a compaction between them does not end the row', () => {
    const history = newStepHistory();
    for (let n = 0; n < 12; n += 1) {
      stepFinished(history, step('a'));
      if (n % 5 === 4) {
        stepFinished(history, step('a summary', { summary: true }));
        compacted(history);
      }
    }
    expect(nearestLoop(history, LIMITS)).toMatchObject({ kind: 'repeat', count: 12 });
  });

  it('another result ends the row: a poll', () => {
    const steps = Array.from({ length: 50 }, (_, n) => step(`grep ${n}`));
    expect(Math.max(...counts(steps))).toBe(0);
  });

  it('a step whose tools took five seconds is a poll, whatever its result', () => {
    const waits = Array.from({ length: 50 }, () => step('pods', { toolMs: 5_000 }));
    expect(Math.max(...counts(waits))).toBe(0);
    const slowModel = Array.from({ length: 12 }, () => step('grep', { toolMs: 4_999 }));
    expect(counts(slowModel).at(-1)).toBe(12);
  });

  it('the same test after each edit is no cycle, as each edit is another one', () => {
    const steps = Array.from({ length: 60 }, (_, n) => step(n % 2 === 0 ? `edit ${n}` : 'test'));
    expect(Math.max(...counts(steps))).toBe(0);
  });

  it('names the tool', () => {
    const history = newStepHistory();
    for (let n = 0; n < 3; n += 1) stepFinished(history, step('a', { tool: 'grep' }));
    expect(nearestLoop(history, LIMITS)).toEqual({
      kind: 'repeat',
      count: 3,
      limit: 12,
      tool: 'grep',
    });
  });
});

describe('empty steps', () => {
  it('count in a row', () => {
    const steps = Array.from({ length: 10 }, () => step(undefined, { empty: true }));
    expect(counts(steps).at(-1)).toBe(10);
    expect(counts([...steps, step('text')]).at(-1)).toBe(0);
  });
});

describe('compactions', () => {
  it('count where at most two steps lie between them', () => {
    const history = newStepHistory();
    for (let n = 0; n < 4; n += 1) {
      compacted(history);
      stepFinished(history, step(`a${n}`));
      stepFinished(history, step(`b${n}`));
    }
    expect(nearestLoop(history, LIMITS)).toMatchObject({ kind: 'compaction', count: 4 });
  });

  it('do not count their own summaries as steps between them', () => {
    const history = newStepHistory();
    for (let n = 0; n < 4; n += 1) {
      stepFinished(history, step(`a${n}`));
      stepFinished(history, step(`b${n}`));
      stepFinished(history, step('a summary', { summary: true }));
      compacted(history);
    }
    expect(nearestLoop(history, LIMITS)).toMatchObject({ kind: 'compaction', count: 4 });
  });

  it('start anew after three steps of work, or a person', () => {
    const history = newStepHistory();
    for (let n = 0; n < 10; n += 1) {
      compacted(history);
      for (let s = 0; s < 3; s += 1) stepFinished(history, step(`${n} ${s}`));
    }
    expect(nearestLoop(history, LIMITS)).toMatchObject({ kind: 'compaction', count: 1 });
    countAnew(history);
    expect(nearestLoop(history, LIMITS)).toBeUndefined();
  });
});

describe('runs', () => {
  it('that follow each other within two seconds count, over five minutes', () => {
    const starts = { at: [], lastEndedAt: Number.NEGATIVE_INFINITY };
    let count = 0;
    for (let n = 0; n < 20; n += 1) {
      count = runBegan(starts, n * 3_000);
      starts.lastEndedAt = n * 3_000 + 2_000;
    }
    expect(count).toBe(20);
    expect(runBegan(starts, 19 * 3_000 + 4_000)).toBe(1);
  });

  it('older than five minutes do not count', () => {
    const starts = { at: [], lastEndedAt: Number.NEGATIVE_INFINITY };
    let count = 0;
    for (let n = 0; n < 100; n += 1) {
      count = runBegan(starts, n * 30_000);
      starts.lastEndedAt = n * 30_000 + 29_000;
    }
    expect(count).toBe(11);
  });
});

it('steps that never repeat are never counted, in any order', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.string(), { minLength: 1, maxLength: 60 }), (names) => {
      expect(Math.max(...counts(names.map((name) => step(name))))).toBe(0);
    }),
  );
});

it('a limit of 0 is off', () => {
  const history = newStepHistory();
  for (let n = 0; n < 50; n += 1) stepFinished(history, step('a'));
  expect(nearestLoop(history, { ...LIMITS, maxRepeats: 0 })).toBeUndefined();
});
