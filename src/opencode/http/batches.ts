/**
 * When to let a busy stream rest, so that it is read in batches: each time that the process wakes costs far more than
 * what one small frame costs to read. What is read keeps its order and its bytes.
 */
import type { Clock } from '../../lib/clock.js';
import { expectWork } from '../../lib/engine.js';

/** What a frame may have to wait, ms, on a stream that is just busy: far below the 20 ms of a reaction that is late. */
const SHORT_REST_MS = 15;
/** And on one that says so much that the reading of it is felt: each waking of the process costs 0.3 ms and more. */
const LONG_REST_MS = 60;
/** A stream that says less than this (some 90 deltas a second) is read at once: bytes a second. */
const BUSY_BYTES = 30_000;
/** From here on it rests long; in between the longer, the more it says. Some 700 deltas a second. */
const LOUD_BYTES = 240_000;
/** More than this must not be kept waiting in the kernel, where the server would feel it. */
const MAX_WAITING_BYTES = 64 * 1024;
/** What was said in so long (ms) tells how busy it is. */
const COUNTED_MS = 200;

export interface Paced {
  pause(): void;
  resume(): void;
}

export class Batches {
  readonly #clock: Clock;
  readonly #stream: Paced;
  #bytes = 0;
  #countedSince: number;
  /** How long it rests after each reading; 0: not at all. */
  restMs = 0;
  #isResting = false;

  constructor(clock: Clock, stream: Paced) {
    this.#clock = clock;
    this.#stream = stream;
    this.#countedSince = clock.now();
  }

  /** So much was read, and there is no more just now. */
  read(bytes: number, drained: boolean): void {
    this.#bytes += bytes;
    const now = this.#clock.now();
    const passed = now - this.#countedSince;
    if (passed >= COUNTED_MS) {
      this.restMs = restOf((this.#bytes / passed) * 1_000);
      if (this.restMs > 0) expectWork();
      this.#bytes = 0;
      this.#countedSince = now;
    }
    if (this.restMs === 0 || this.#isResting || !drained) return;
    this.#isResting = true;
    this.#stream.pause();
    const goOn = () => {
      this.#isResting = false;
      this.#stream.resume();
    };
    this.#clock.after(this.restMs, goOn, { unref: true });
  }
}

/** @param pace bytes a second */
export function restOf(pace: number): number {
  if (pace < BUSY_BYTES) return 0;
  const loud = Math.min(1, (pace - BUSY_BYTES) / (LOUD_BYTES - BUSY_BYTES));
  const wanted = SHORT_REST_MS + loud * (LONG_REST_MS - SHORT_REST_MS);
  return Math.max(SHORT_REST_MS, Math.min(wanted, (MAX_WAITING_BYTES / pace) * 1_000));
}
