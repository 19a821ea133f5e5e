/** A limit on the time of a whole call: from the call on, over every request, whatever the server does. */
import type { Clock } from '../../lib/clock.js';
import { asDriverError, DriverError } from './error.js';

export interface Wall {
  /** Aborted by the caller's own signal, and when the time is over. Every request gets it. */
  readonly signal: AbortSignal;
  /** The whole time, ms. */
  readonly ms: number;
  /** The time is over; a signal that is aborted before is the caller's. */
  readonly isOver: boolean;
  /** What is left of it, ms. */
  leftMs(): number;
  /** Lets go of timer and listener. */
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

/** Does the work within the time. @throws DriverError `timeout` where the time has ended it, not the caller; `says` why */
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
    throw new DriverError('timeout', `${overdue(ms)}${says}.`, {
      ...failure.details,
      cause: failure,
    });
  } finally {
    wall.end();
  }
}

export const overdue = (ms: number) => `no reply within ${ms / 1000} s`;

/** Rejects as soon as the signal is aborted; what was asked for goes on, and is the caller's to see to. */
export function orAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work;
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(new DriverError('aborted', 'interrupted before it was answered.'));
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
