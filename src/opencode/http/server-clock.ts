/**
 * The wall clock of the server's machine. Times in what opencode says (a retry's next attempt, the start of a tool) are
 * by that clock, which may be ahead of ours or behind it: in a virtual machine, or on another host.
 *
 * The `Date` of an answer shows by how much (RFC 9110, section 6.6.1; opencode sends it, seen on 1.18.33). The answer
 * was made between the moment when we asked and now. A date within that time shows no difference.
 */
import type { Clock, Timer, TimerOptions } from '../../lib/clock.js';

/** A date is in whole seconds: the answer was made up to this much (ms) later. */
const DATE_PRECISION = 999;
/**
 * Servers write the date anew each second. One that did not run for a while may answer with an old date at first. So
 * what makes its clock look further behind is believed only if answers show it for this long, ms.
 */
const BELIEVED_AFTER = 3_000;

export class ServerClock implements Clock {
  readonly #own: Clock;
  #aheadMs = 0;
  /** Since when (observed clock) all answers have shown less than `#aheadMs`. */
  #lessSince: number | undefined;

  constructor(own: Clock) {
    this.#own = own;
  }

  now(): number {
    return this.#own.now();
  }

  epoch(): number {
    return this.#own.epoch() + this.#aheadMs;
  }

  after(ms: number, fn: () => void, options?: TimerOptions): Timer {
    return this.#own.after(ms, fn, options);
  }

  /** Our own wall clock, when a request is sent. */
  asks(): number {
    return this.#own.epoch();
  }

  /** @param askedAt what `asks` returned when the request was sent */
  answered(date: unknown, askedAt: number): void {
    const earliest = typeof date === 'string' ? Date.parse(date) : Number.NaN;
    if (Number.isNaN(earliest)) return;
    const latest = earliest + DATE_PRECISION;
    const now = this.#own.epoch();
    const aheadMs = earliest > now ? earliest - now : Math.min(0, latest - askedAt);
    if (aheadMs < this.#aheadMs) {
      this.#lessSince ??= this.now();
      if (this.now() - this.#lessSince < BELIEVED_AFTER) return;
    }
    this.#aheadMs = aheadMs;
    this.#lessSince = undefined;
  }
}
