/**
 * How slowly the server answers just now, measured by the observations that say when they were asked for.
 *
 * A verified abort takes several answers in a row. If the server takes seconds for each, a fixed limit would fail every
 * abort and declare every session wedged. The restart that follows would cut runs that were only slow.
 */

/** Older answers say nothing about now, ms. */
const RECENT_MS = 60_000;
/**
 * Answer times that show how slow the server is now. The newest are enough, as polls of many directories come together.
 * At the limit: the oldest is forgotten.
 */
const KEPT = 50;
/** Answers that a verified abort takes: its own, the run's end, the status that shows it, and one to spare. */
const ANSWERS_OF_AN_ABORT = 4;
/** A server that needs longer than this (ms) for an abort is not slow but failing, and probes show that. */
export const LONGEST_VERIFY_MS = 60_000;

export class AnswerTimes {
  /** Oldest first. */
  readonly #answers: { at: number; ms: number }[] = [];

  /** An answer came, or a probe was given up, `ms` after it was asked for. */
  note(ms: number, at: number): void {
    this.#answers.push({ at, ms });
    if (this.#answers.length > KEPT) this.#answers.shift();
  }

  /** The slowest recent answer, ms; 0 if there was none. */
  slowest(at: number): number {
    let slowest = 0;
    for (const answer of this.#answers) {
      if (at - answer.at <= RECENT_MS && answer.ms > slowest) slowest = answer.ms;
    }
    return slowest;
  }

  /** How long an abort may take to be seen to work, ms: at least `verifyTimeout`. */
  verifyMs(verifyTimeout: number, at: number): number {
    const needed = ANSWERS_OF_AN_ABORT * this.slowest(at);
    return Math.max(verifyTimeout, Math.min(needed, LONGEST_VERIFY_MS));
  }
}
