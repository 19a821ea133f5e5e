/** A time limit for a whole call, from its start and over all its requests, whatever the server does. */
import type { Clock } from '../../lib/clock.js';
import { asDriverError, DriverError } from './error.js';

export interface Wall {
  /** Aborted by the caller's own signal, and when the time is over. Every request gets it. */
  readonly signal: AbortSignal;
  /** The whole time, ms. */
  readonly ms: number;
  /** Whether the time is over. If the signal is aborted and this is false, the caller has aborted it. */
  readonly isOver: boolean;
  /** The time that is left, ms. */
  leftMs(): number;
  /** Releases the timer and the listener. */
  end(): void;
}

export function startWall(clock: Clock, ms: number, caller?: AbortSignal): Wall {
  const control = new AbortController();
  const end = clock.now() + ms;
  let isOver = false;
  const onAbort = () => control.abort();
  const timer = clock.after(ms, () => {
    isOver = !control.signal.aborted;
    control.abort();
  });
  caller?.addEventListener('abort', onAbort, { once: true });
  if (caller?.aborted) onAbort();
  return {
    signal: control.signal,
    ms,
    get isOver() {
      return isOver;
    },
    leftMs: () => end - clock.now(),
    end() {
      timer.cancel();
      caller?.removeEventListener('abort', onAbort);
    },
  };
}

/**
 * Does the work within the time. @throws DriverError `timeout` if the time ended it and not the caller; `says` is the
 * reason in its message
 */
export async function within<T>(
  clock: Clock,
  {
    ms,
    signal: caller,
    says = ': the server did not answer in time',
  }: { ms: number; signal: AbortSignal | undefined; says?: string },
  work: (wall: Wall) => Promise<T>,
): Promise<T> {
  const wall = startWall(clock, ms, caller);
  try {
    return await work(wall);
  } catch (error) {
    const failure = asDriverError(error);
    if (failure.kind !== 'aborted' || !wall.isOver) throw failure;
    throw failure.because('timeout', `${overdue(ms)}${says}.`);
  } finally {
    wall.end();
  }
}

export const overdue = (ms: number) => `no reply within ${ms / 1000} s`;

/** Rejects as soon as the signal is aborted. The work itself goes on, and the caller must take care of it. */
export function orAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work;
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(new DriverError('aborted', 'interrupted before it was answered.'));
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
