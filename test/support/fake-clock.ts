/** A clock that only a test moves: timers fire in order while it does, and nothing ever waits for real. */
import type { Clock, Timer } from '../../src/lib/clock.js';

/** Any fixed moment will do: wall-clock times are for display and for reading times off the wire. */
const EPOCH_AT_ZERO = 1_700_000_000_000;

export class FakeClock implements Clock {
  #now: number;
  #timers: Array<{ due: number; fn: () => void }> = [];

  constructor(now = 0) {
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  epoch(): number {
    return EPOCH_AT_ZERO + this.#now;
  }

  after(ms: number, fn: () => void): Timer {
    const timer = { due: this.#now + Math.max(0, ms), fn };
    this.#timers.push(timer);
    return {
      cancel: () => {
        this.#timers = this.#timers.filter((other) => other !== timer);
      },
    };
  }

  /** Timers that are set. */
  get pending(): number {
    return this.#timers.length;
  }

  /** Moves on by `ms`, fires what falls due on the way, and lets promises settle after each. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      await settle();
      const next = this.#timers.toSorted((a, b) => a.due - b.due)[0];
      if (!next || next.due > end) break;
      this.#timers = this.#timers.filter((other) => other !== next);
      this.#now = Math.max(this.#now, next.due);
      next.fn();
    }
    this.#now = end;
    await settle();
  }
}

/** Lets everything that is resolved already run on. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
}
