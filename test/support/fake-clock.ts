/** A clock that only the test moves. Timers fire in order while it moves, and nothing waits for real. */
import type { Clock, Timer } from '../../src/lib/clock.js';

/** Any fixed moment will do. Wall-clock times are only displayed, or compared with times that the server sent. */
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

  /** How many timers are set. */
  get pending(): number {
    return this.#timers.length;
  }

  /** Moves on by `ms`. Fires each timer that falls due on the way, and lets promises settle after each. */
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

/** Lets everything that is already resolved run on. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
}
