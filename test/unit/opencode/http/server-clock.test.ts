/** The server's wall clock, as the dates of its answers show it. */
import { expect, test } from 'vitest';
import { ServerClock } from '../../../../src/opencode/http/server-clock.js';
import { readStatus } from '../../../../src/opencode/v1/status.js';
import { FakeClock } from '../../../support/fake-clock.js';

const MINUTE = 60_000;
const FIRST_WAIT = 2_000;

function start() {
  const own = new FakeClock();
  return { own, clock: new ServerClock(own) };
}

type Started = ReturnType<typeof start>;

/** The server's clock differs from ours by `aheadMs`, and an answer takes `answerMs`. */
async function answer({ own, clock }: Started, aheadMs: number, answerMs = 0): Promise<void> {
  const askedAt = clock.asks();
  await own.advance(answerMs);
  clock.answered(new Date(own.epoch() + aheadMs).toUTCString(), askedAt);
}

async function answersFor(started: Started, aheadMs: number, ms: number): Promise<void> {
  for (let passed = 0; passed <= ms; passed += 1_000) {
    await answer(started, aheadMs);
    await started.own.advance(1_000);
  }
}

test.each([-3 * 60 * MINUTE, -10 * MINUTE, 6 * MINUTE, 60 * MINUTE])(
  'a first retry is a short wait where the clocks differ by %d ms',
  async (aheadMs) => {
    const started = start();
    await answersFor(started, aheadMs, 3_000);
    const { own, clock } = started;
    const next = own.epoch() + aheadMs + FIRST_WAIT;
    const status = readStatus({ type: 'retry', attempt: 1, next }, clock.epoch());
    const { nextInMs = Number.NaN } = status as { nextInMs?: number };
    expect(Math.abs(nextInMs - FIRST_WAIT)).toBeLessThanOrEqual(1_000);
  },
);

test('an answer that takes long, or whose date is in whole seconds, shows no difference', async () => {
  for (const [aheadMs, answerMs] of [
    [0, 20_000],
    [-20_000, 20_000],
    [-700, 0],
  ] as const) {
    const started = start();
    for (let n = 0; n < 5; n += 1) await answer(started, aheadMs, answerMs);
    expect(started.clock.epoch()).toBe(started.own.epoch());
  }
});

test('old dates of a server that goes on after a stop show no difference', async () => {
  const started = start();
  for (let n = 0; n < 5; n += 1) await answer(started, -10 * MINUTE);
  await started.own.advance(1_000);
  await answer(started, 0);
  await started.own.advance(5_000);
  await answer(started, -10 * MINUTE);
  expect(started.clock.epoch()).toBe(started.own.epoch());
});

test('a server that is ahead is known with its first answer, and no date says nothing', async () => {
  const started = start();
  const { own, clock } = started;
  await answer(started, 60 * MINUTE);
  for (const none of [undefined, '', 'yesterday', ['a', 'b']]) clock.answered(none, clock.asks());
  expect(clock.epoch() - own.epoch()).toBeGreaterThan(59 * MINUTE);
});

test('a clock that is set right is right again after a few seconds', async () => {
  const started = start();
  await answer(started, 60 * MINUTE);
  await answersFor(started, 0, 3_000);
  expect(started.clock.epoch()).toBe(started.own.epoch());
});
