/** Lets each key through at most once in an interval. */
import { BoundedMap } from './bounded.js';
import type { Clock } from './clock.js';

/** Keys of one throttle (sessions, directories, notices). At the limit: the oldest is forgotten, and may pass early. */
export const MAX_KEYS = 10_000;

export class Throttle {
  readonly #clock: Clock;
  readonly #everyMs: number;
  readonly #passedAt = new BoundedMap<string, number>(MAX_KEYS);

  constructor(clock: Clock, everyMs: number) {
    this.#clock = clock;
    this.#everyMs = everyMs;
  }

  passes(key: string, now = this.#clock.now()): boolean {
    const last = this.#passedAt.get(key);
    if (last !== undefined && now - last < this.#everyMs) return false;
    this.#passedAt.set(key, now);
    return true;
  }

  /** The key may pass again at once. */
  forget(key: string): void {
    this.#passedAt.delete(key);
  }
}
