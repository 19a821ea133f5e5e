/** A clock that only tests move, shared by the unit tests of src/opencode. */
import type { Clock, Timer } from '../../../src/lib/clock.js';

export class ManualClock implements Clock {
  #now = 1_000;
  #timers: Array<{ due: number; fn: () => void }> = [];
  epochOffset = 1_700_000_000_000;

  now(): number {
    return this.#now;
  }

  epoch(): number {
    return this.#now + this.epochOffset;
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

  get pending(): number {
    return this.#timers.length;
  }

  /** Moves on, firing what falls due, and lets promises settle after each. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      await settle();
      const next = this.#timers.sort((a, b) => a.due - b.due)[0];
      if (!next || next.due > end) break;
      this.#timers.shift();
      this.#now = Math.max(this.#now, next.due);
      next.fn();
    }
    this.#now = end;
    await settle();
  }
}

/** Lets everything that is already resolved run. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
}
