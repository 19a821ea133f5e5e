/** Lets each key through at most once in an interval. */
import type { Clock } from './clock.js';

/** Keys of one throttle (sessions, directories, notices). At the limit: the oldest is forgotten, and may pass early. */
export const MAX_KEYS = 10_000;

export class Throttle {
  readonly #clock: Clock;
  readonly #everyMs: number;
  readonly #passedAt = new Map<string, number>();

  constructor(clock: Clock, everyMs: number) {
    this.#clock = clock;
    this.#everyMs = everyMs;
  }

  passes(key: string, now = this.#clock.now()): boolean {
    const last = this.#passedAt.get(key);
    if (last !== undefined && now - last < this.#everyMs) return false;
    // In its place: to put it at the end, each time, costs more than it is worth where thousands pass.
    this.#passedAt.set(key, now);
    if (this.#passedAt.size > MAX_KEYS) {
      const [oldest] = this.#passedAt.keys();
      if (oldest !== undefined) this.#passedAt.delete(oldest);
    }
    return true;
  }

  /** Keys remembered. */
  get size(): number {
    return this.#passedAt.size;
  }

  /** The key may pass at once. */
  forget(key: string): void {
    this.#passedAt.delete(key);
  }
}
