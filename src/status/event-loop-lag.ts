/** Measures how late the event loop runs, by the clock's beat, which is due every second. */
import type { Clock, Timer } from '../lib/clock.js';

const EVERY_MS = 1_000;
/**
 * Samples of the event loop's lag: half a minute. The worst of them is reported, so that no scrape misses a spike
 * between two. At the limit: the oldest is forgotten.
 */
export const KEPT = 30;

export class LoopLag {
  readonly #clock: Clock;
  readonly #samples: number[] = [];
  #timer: Timer | undefined;
  /** When the last beat came; undefined before the first, whose lag is unknown. */
  #last: number | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#arm();
  }

  /** The worst lag of the last half minute, ms. */
  get worstMs(): number {
    return Math.round(Math.max(0, ...this.#samples) * 10) / 10;
  }

  stop(): void {
    this.#timer?.cancel();
  }

  #arm(): void {
    const tick = () => {
      const now = this.#clock.now();
      if (this.#last !== undefined) this.#samples.push(Math.max(0, now - this.#last - EVERY_MS));
      if (this.#samples.length > KEPT) this.#samples.shift();
      this.#last = now;
      this.#arm();
    };
    this.#timer = this.#clock.after(EVERY_MS, tick, { coarse: true });
  }
}
