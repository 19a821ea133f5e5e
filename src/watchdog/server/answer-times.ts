/**
 * How slowly the server answers just now, from the observations that say when they were asked for.
 *
 * A verified abort takes several answers in a row. On a server that takes seconds for each, a fixed limit finds every
 * abort failed and every session wedged, and the restart that follows cuts all that was only slow.
 */

/** Older answers say nothing about now, ms. */
const RECENT_MS = 60_000;
/**
 * Answer times that say how slow the server is now. The newest are enough: polls of many directories come together.
 * At the limit: the oldest is forgotten.
 */
const KEPT = 50;
/** Of a verified abort: its own answer, the run's end, the status that shows it, and one to spare. */
const ANSWERS_OF_AN_ABORT = 4;
/** A server that needs longer than this for an abort is no slow one but a failing one, and probes tell that, ms. */
const LONGEST_VERIFY_MS = 60_000;

export class AnswerTimes {
  /** Oldest first. */
  readonly #answers: { at: number; ms: number }[] = [];

  /** An answer came, or a probe was given up, so long after it was asked for. */
  note(ms: number, at: number): void {
    this.#answers.push({ at, ms });
    if (this.#answers.length > KEPT) this.#answers.shift();
  }

  /** The slowest of late, ms; 0 where nothing was asked. */
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
