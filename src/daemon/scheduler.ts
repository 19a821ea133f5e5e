/** Calls something at set times or periodically: on the wall clock if the period divides an hour, else by a timer. */
import { createRequire } from 'node:module';
import type { Clock } from '../lib/clock.js';

const SECOND_MS = 1_000;
const HOUR_MS = 3_600_000;
/** Timers fire early by far less than this, ms, and every period is far longer. */
const EARLY_MS = 50;

/**
 * Runs `task` at the times of a cron expression until the returned function is called. The task must not throw.
 *
 * node-cron is loaded only by this call, because it brings all of JavaScript's time zones along: 7 MB.
 */
export function at(expression: string, task: () => void): () => void {
  const cron = createRequire(import.meta.url)('node-cron') as typeof import('node-cron');
  // Times that a gap made it miss are no news of their own (`daemon.gap`), and a warning on stderr is in the wrong
  // place.
  const scheduled = cron.schedule(expression, task, { suppressMissedWarning: true });
  return () => {
    void scheduled.destroy();
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
