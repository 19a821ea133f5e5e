/** Calls something at set times or periodically: on the wall clock if the period divides an hour, else by a timer. */
import type { Clock } from '../lib/clock.js';
import { loadCron } from '../lib/cron.js';

const SECOND_MS = 1_000;
const HOUR_MS = 3_600_000;
/** Timers fire early by far less than this, ms, and every period is far longer. */
const EARLY_MS = 50;
/** A timer stands still in a suspend, so the wall clock is looked at this often, ms. */
const LOOK_EVERY_MS = 60_000;

/**
 * Runs `task` at the times of a cron expression until the returned function is called. The task must not throw.
 *
 * A time that passed while the machine was suspended is made up for, once: a machine that sleeps every night must not
 * miss a nightly task for ever. node-cron's own timer would miss it, and with it each time at which it is a second late,
 * so only its calendar is used. The times are those of the system's clock, as node-cron knows no other.
 */
export function at(clock: Clock, expression: string, task: () => void): () => void {
  const cron = loadCron();
  const calendar = cron.createTask(expression, () => {});
  const next = () => calendar.getNextRuns(1)[0]?.getTime() ?? Number.POSITIVE_INFINITY;
  let due = next();
  let seen = clock.epoch();
  const arm = () =>
    clock.after(Math.min(due - clock.epoch(), LOOK_EVERY_MS), look, { unref: true });
  const look = () => {
    const now = clock.epoch();
    const isDue = now >= due;
    // Where the clock was set back, the next time may be days before the one that is awaited. A correction by less than a
    // look must not bring back a time that was served.
    if (isDue || now < seen - LOOK_EVERY_MS) due = next();
    seen = now;
    timer = arm();
    if (isDue) task();
  };
  let timer = arm();
  return () => {
    timer.cancel();
    void calendar.destroy();
  };
}

/**
 * Runs `task` every `periodMs` until the returned function is called, also after a call that threw.
 *
 * On the wall clock, the lines of many machines fall on the same seconds, so they are easy to compare.
 */
export function every(clock: Clock, periodMs: number, task: () => void): () => void {
  const aligned = periodMs >= SECOND_MS && HOUR_MS % periodMs === 0;
  let stopped = false;
  const arm = () => {
    const left = aligned ? periodMs - (clock.epoch() % periodMs) : periodMs;
    // If the timer was a moment early, this period is already served: wait for the end of the next one.
    return clock.after(left < EARLY_MS ? left + periodMs : left, tick, { unref: true });
  };
  const tick = () => {
    if (stopped) return;
    try {
      task();
    } finally {
      if (!stopped) timer = arm();
    }
  };
  let timer = arm();
  return () => {
    stopped = true;
    timer.cancel();
  };
}
