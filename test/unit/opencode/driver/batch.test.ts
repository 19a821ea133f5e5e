/** A batch whose server goes away: how long it waits, and how often. */
import { expect, it } from 'vitest';
import type { Clock } from '../../../../src/lib/clock.js';
import { type BatchDeps, runBatch } from '../../../../src/opencode/driver/batch.js';
import { DriverError } from '../../../../src/opencode/driver/error.js';
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
