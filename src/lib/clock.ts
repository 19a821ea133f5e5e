/**
 * All time enters the program here.
 *
 * `now()` is the *observed clock*: monotonic milliseconds that stand still while this process does not run (SIGSTOP, a
 * suspended machine, a blocked event loop). Time that was not observed counts against no session.
 *
 * The monotonic clock of Linux and macOS itself stands still in a suspend (clock_gettime(2), CLOCK_MONOTONIC). Only the
 * wall clock shows that one was, so a step forward of the wall clock is reported as a gap too, and leaves `now()` as it
 * is. Nothing can tell the two apart, and both mean the same for what is compared with wall clock times: the start of a
 * tool, the end of a quota.
 */

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Observed time in ms; only differences mean anything. */
  now(): number;
  /**
   * Wall clock, ms since the epoch: for times off the wire, calendar days, display, and what is kept for the next
   * daemon.
   */
  epoch(): number;
  /** Calls `fn` once, after at least `ms`. If `unref` is set, the timer alone does not keep the process alive. */
  after(ms: number, fn: () => void, options?: TimerOptions): Timer;
}

export interface TimerOptions {
  unref?: boolean;
  /**
   * The timer may fire up to half a second early or late. All such timers share one wake-up, because in an idle process
   * each wake-up costs more than the work that it is for. Implies `unref`.
   */
  coarse?: boolean;
}

/** Resolves after `ms`, or rejects with the signal's reason if it is aborted first. */
export function sleep(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const timer = clock.after(ms, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    const onAbort = () => {
      timer.cancel();
      reject(signal?.reason);
    };
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

/** How often the observed clock reads the real one, ms. */
const BEAT_MS = 1_000;
/** If a beat is later than this, ms, that was not just a busy moment: all but `BEAT_MS` of the time is a gap. */
const MAX_BEAT_MS = 3_000;
/**
 * If the wall clock goes ahead of the monotonic one by more than this at once, ms, the machine was suspended. Less is a
 * correction by NTP or a nap, and harms no limit.
 */
const MIN_SUSPEND_MS = 30_000;

/**
 * The real clock. `start()` begins the beat that lets it tell a gap from a quiet second. Without a beat it never
 * reports gaps.
 */
export class SystemClock implements Clock {
  #lastSeen = performance.now();
  /** Wall clock minus monotonic clock. */
  #wallAhead = wallAhead();
  #unobserved = 0;
  #beat: NodeJS.Timeout | undefined;
  #onGap: ((ms: number) => void) | undefined;
  #onError: ((error: unknown) => void) | undefined;
  readonly #coarse = new Set<CoarseTimer>();

  now(): number {
    const real = performance.now();
    if (this.#beat !== undefined) {
      const passed = real - this.#lastSeen;
      this.#lastSeen = real;
      const stopped = passed > MAX_BEAT_MS ? passed - BEAT_MS : 0;
      this.#unobserved += stopped;
      const gap = stopped + this.#suspended();
      if (gap > 0) {
        // The gap is reported before the caller gets its time, so that what the caller saw fail is judged after it.
        this.#call(() => this.#onGap?.(gap));
      }
    }
    return real - this.#unobserved;
  }

  epoch(): number {
    return Date.now();
  }

  after(ms: number, fn: () => void, options?: TimerOptions): Timer {
    if (options?.coarse && this.#beat !== undefined) return this.#afterBeats(ms, fn);
    // setTimeout overflows to 1 ms beyond 2^31-1 (Node documentation, "setTimeout").
    const handle = setTimeout(() => this.#call(fn), Math.min(Math.max(0, ms), 2_147_483_647));
    if (options?.unref || options?.coarse) handle.unref();
    return { cancel: () => clearTimeout(handle) };
  }

  /**
   * From now on, an error that a timer's callback throws is reported here and ends nothing. This is for a daemon, whose
   * other timers must go on. Without it, such an error is an uncaught exception, which ends a command, as it should.
   */
  reportErrors(report: (error: unknown) => void): void {
    this.#onError = report;
  }

  /** Begins watching for gaps; `onGap` gets the length in ms of each. */
  start(onGap: (ms: number) => void): void {
    this.#onGap = onGap;
    this.#lastSeen = performance.now();
    this.#wallAhead = wallAhead();
    this.#beat ??= setInterval(() => this.#onBeat(), BEAT_MS).unref();
  }

  stop(): void {
    clearInterval(this.#beat);
    this.#beat = undefined;
    const now = performance.now();
    for (const timer of this.#coarse) {
      timer.instead = this.after(timer.due - now, timer.fn, { unref: true });
    }
    this.#coarse.clear();
  }

  #afterBeats(ms: number, fn: () => void): Timer {
    const timer: CoarseTimer = { due: performance.now() + ms, fn };
    this.#coarse.add(timer);
    return {
      cancel: () => {
        this.#coarse.delete(timer);
        timer.instead?.cancel();
      },
    };
  }

  /** How long the machine was suspended since the last call, ms. The monotonic clock has left this time out. */
  #suspended(): number {
    const ahead = wallAhead();
    const step = ahead - this.#wallAhead;
    this.#wallAhead = ahead;
    return step > MIN_SUSPEND_MS ? step : 0;
  }

  #onBeat(): void {
    this.now();
    const soon = performance.now() + BEAT_MS / 2;
    for (const timer of [...this.#coarse]) {
      // The callback of an earlier timer may have cancelled this one.
      if (timer.due <= soon && this.#coarse.delete(timer)) this.#call(timer.fn);
    }
  }

  #call(fn: () => void): void {
    if (this.#onError === undefined) {
      fn();
      return;
    }
    try {
      fn();
    } catch (error) {
      this.#onError(error);
    }
  }
}

function wallAhead(): number {
  return Date.now() - performance.now();
}

interface CoarseTimer {
  due: number;
  fn: () => void;
  /** The timer that took its place when the beat ended. */
  instead?: Timer;
}
