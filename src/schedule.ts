/** Calls something at set times or every so often: on the wall clock where the period divides a minute or an hour, else by a timer. */
import cron from 'node-cron';
import type { Clock } from './lib/clock.js';

/**
 * The cron expression (with seconds) for a period in ms, where there is one: on the wall clock the lines of many
 * machines fall on the same seconds, which makes them easy to lay side by side.
 */
export function cronFor(periodMs: number): string | undefined {
  const seconds = periodMs / 1_000;
  if (Number.isInteger(seconds) && seconds < 60 && 60 % seconds === 0)
    return `*/${seconds} * * * * *`;
  const minutes = seconds / 60;
  if (Number.isInteger(minutes) && minutes < 60 && 60 % minutes === 0)
    return `0 */${minutes} * * * *`;
  return minutes === 60 ? '0 0 * * * *' : undefined;
}

/** Runs `task` at the times of a cron expression until the returned function is called. The task must not throw. */
export function at(expression: string, task: () => void): () => void {
  const scheduled = cron.schedule(expression, task);
  return () => {
    void scheduled.destroy();
  };
}

/** Runs `task` every `periodMs` until the returned function is called. The task must not throw. */
export function every(clock: Clock, periodMs: number, task: () => void): () => void {
  const expression = cronFor(periodMs);
  if (expression !== undefined) return at(expression, task);
  let stopped = false;
  const arm = () => clock.after(periodMs, tick, { unref: true });
  const tick = () => {
    if (stopped) return;
    task();
    timer = arm();
  };
  let timer = arm();
  return () => {
    stopped = true;
    timer.cancel();
  };
}
