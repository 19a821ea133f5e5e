/** Calls something at set times or every so often: on the wall clock where the period divides an hour, else by a timer. */
import { createRequire } from 'node:module';
import type { Clock } from '../lib/clock.js';

const SECOND_MS = 1_000;
const HOUR_MS = 3_600_000;
/** Far more than timers are early by, and far less than any period. */
const EARLY_MS = 50;

/**
 * Runs `task` at the times of a cron expression until the returned function is called. The task must not throw.
 *
 * node-cron is loaded by this call only: with it comes all that JavaScript knows of time zones, 7 MB.
 */
export function at(expression: string, task: () => void): () => void {
  const cron = createRequire(import.meta.url)('node-cron') as typeof import('node-cron');
  // What a gap made it miss is no news of its own (`daemon.gap`), and stderr is no place for it.
  const scheduled = cron.schedule(expression, task, { suppressMissedWarning: true });
  return () => {
    void scheduled.destroy();
  };
}

/**
 * Runs `task` every `periodMs` until the returned function is called; also after a time when it threw.
 *
 * On the wall clock the lines of many machines fall on the same seconds, which makes them easy to lay side by side.
 */
export function every(clock: Clock, periodMs: number, task: () => void): () => void {
  const aligned = periodMs >= SECOND_MS && HOUR_MS % periodMs === 0;
  let stopped = false;
  const arm = () => {
    const left = aligned ? periodMs - (clock.epoch() % periodMs) : periodMs;
    // A timer may be a moment early: the time that it meant has been served.
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
