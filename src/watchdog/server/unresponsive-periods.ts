/**
 * When the server was not responding: no answer, no event, no heartbeat, and a probe failed meanwhile. A machine
 * without CPU or memory to spare does that. The runs in it cannot have shown life, so that time is held against none.
 *
 * A server that only leaves its health route unanswered is not unresponsive: its polls or heartbeats are words.
 */

/**
 * Periods in which the server did not respond. More within one run's silence are a server that hardly runs. At the
 * limit: the oldest is forgotten, and counts as silence of the sessions again.
 */
export const MAX_UNRESPONSIVE_PERIODS = 100;

export class UnresponsivePeriods {
  /** On the observed clock, oldest first. */
  readonly #periods: { from: number; to: number }[] = [];
  #heardAt = Number.NEGATIVE_INFINITY;
  #missed = false;

  /** The server said something. `ordinaryMs`: the longest time for which a server that is well says nothing at all. */
  heard(at: number, ordinaryMs: number): void {
    if (this.#missed && at - this.#heardAt > ordinaryMs) {
      this.#periods.push({ from: this.#heardAt, to: at });
      if (this.#periods.length > MAX_UNRESPONSIVE_PERIODS) this.#periods.shift();
    }
    this.#heardAt = Math.max(this.#heardAt, at);
    this.#missed = false;
  }

  /** It was asked then, and gave no answer. */
  missed(askedAt: number): void {
    if (askedAt >= this.#heardAt) this.#missed = true;
  }

  /** Since its last word it was asked for its health, in vain. */
  get isUnresponsive(): boolean {
    return this.#missed;
  }

  /** For how long of the time since `since` it was not responding, ms. */
  msSince(since: number): number {
    let ms = 0;
    for (let i = this.#periods.length - 1; i >= 0; i--) {
      const period = this.#periods[i];
      if (period === undefined || period.to <= since) break;
      ms += period.to - Math.max(period.from, since);
    }
    return ms;
  }
}
