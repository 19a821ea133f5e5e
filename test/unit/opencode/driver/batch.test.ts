/** A batch whose server goes away: how long it waits, and how often. */
import { describe, expect, it } from 'vitest';
import type { Clock } from '../../../../src/lib/clock.js';
import { type BatchDeps, runBatch } from '../../../../src/opencode/driver/batch.js';
import { DriverError, type DriverErrorKind } from '../../../../src/opencode/driver/error.js';
import type { PromptResult } from '../../../../src/opencode/driver/types.js';

/** A clock on which every wait is over at once. */
function leapingClock(): Clock {
  let now = 0;
  return {
    now: () => now,
    epoch: () => now,
    after(ms, fn) {
      let isCancelled = false;
      queueMicrotask(() => {
        if (isCancelled) return;
        now += ms;
        fn();
      });
      return {
        cancel: () => {
          isCancelled = true;
        },
      };
    },
  };
}

const REPLY: Partial<PromptResult> = { text: 'done' };

/** Each prompt finds the server away as long as `isAway` says so. */
async function runOf(prompts: string[], isAway: (prompt: string) => boolean) {
  const clock = leapingClock();
  let current = '';
  const assertUp = async () => {
    if (isAway(current)) throw new DriverError('unreachable', 'nobody listens.');
  };
  const deps: BatchDeps = {
    clock,
    assertUp,
    abort: async () => {},
    remove: async () => {},
    prompt: async ({ prompt }) => {
      current = prompt;
      await assertUp();
      return REPLY as PromptResult;
    },
  };
  const ended: [string, boolean, number][] = [];
  const tasks = prompts.map((prompt) => ({ id: prompt, prompt }));
  for await (const { id, ok } of runBatch(deps, tasks, { concurrency: 1, serverWaitMs: 10_000 })) {
    ended.push([id, ok, clock.now()]);
  }
  return ended;
}

it('a server that stays away is waited for once, and not again for every task', async () => {
  const ended = await runOf(['a', 'b', 'c'], () => true);
  expect(ended.map(([id, ok]) => [id, ok])).toEqual([
    ['a', false],
    ['b', false],
    ['c', false],
  ]);
  const [first = 0, second, third] = ended.map(([, , at]) => at);
  expect(first).toBeGreaterThanOrEqual(10_000);
  expect([second, third]).toEqual([first, first]);
});

it('a server that is back after it was given up is waited for again', async () => {
  const away = { a: Number.POSITIVE_INFINITY, c: 3 } as Record<string, number>;
  const ended = await runOf(['a', 'b', 'c'], (prompt) => {
    away[prompt] = (away[prompt] ?? 0) - 1;
    return away[prompt] >= 0;
  });
  expect(ended.map(([id, ok]) => [id, ok])).toEqual([
    ['a', false],
    ['b', true],
    ['c', true],
  ]);
});

describe('the session of a run that was cut', () => {
  /** The first run is cut, and its session is still there. */
  async function rerun(task: { keep?: boolean }, fails: Partial<BatchDeps> = {}) {
    const acts: string[] = [];
    const cut = { sessionID: 'ses_1', deleted: false, cut: true as const };
    const deps: BatchDeps = {
      clock: leapingClock(),
      assertUp: async () => {},
      abort: async ({ id }) => acts.push(`abort ${id}`),
      remove: async ({ id }) => void acts.push(`remove ${id}`),
      prompt: async () => {
        acts.push('prompt');
        if (acts.length === 1) throw new DriverError('run_failed', 'the run was cut.', cut);
        return REPLY as PromptResult;
      },
      ...fails,
    };
    for await (const result of runBatch(deps, [{ prompt: 'x', ...task }])) return { acts, result };
    return expect.unreachable('there is no result');
  }
  const fail = (kind: DriverErrorKind) => async () => {
    throw new DriverError(kind, `${kind}.`);
  };

  it('is removed before the task runs again', async () => {
    expect((await rerun({})).acts).toEqual(['prompt', 'remove ses_1', 'prompt']);
  });

  it('that is kept is only aborted', async () => {
    expect((await rerun({ keep: true })).acts).toEqual(['prompt', 'abort ses_1', 'prompt']);
  });

  it.each([
    ['abort', { keep: true }, { abort: fail('abort_failed') }],
    ['removal', {}, { remove: fail('abort_failed') }],
    ['removal, which nobody answered', {}, { remove: fail('unreachable') }],
  ])('may go on after a failed %s, so the task does not run again', async (_, task, fails) => {
    const { acts, result } = await rerun(task, fails);
    expect(acts).toEqual(['prompt']);
    expect(result).toMatchObject({ ok: false, error: { kind: 'run_failed' } });
    expect(result.notices).toEqual([expect.stringContaining('session ses_1 is left behind')]);
  });

  it.each(['delete_failed', 'session_not_found'] as const)(
    'is at rest, and the task runs again (%s)',
    async (kind) => {
      expect((await rerun({}, { remove: fail(kind) })).result.ok).toBe(true);
    },
  );
});
