/**
 * When the server was not responding: no answer, no event, no heartbeat, and a probe failed meanwhile. This happens on
 * a machine without CPU or memory to spare. The runs could show no life in that time, so it does not count as their
 * silence.
 *
 * A server that only leaves its health route unanswered is not unresponsive: answers to polls and heartbeats count as
 * well.
 */

/**
 * Periods in which the server did not respond. With more of them within one run's silence the server hardly runs at
 * all. At the limit: the oldest is forgotten, and counts as silence of the sessions again.
 */
export const MAX_UNRESPONSIVE_PERIODS = 100;

export class UnresponsivePeriods {
  /** On the observed clock, oldest first. */
  readonly #periods: { from: number; to: number }[] = [];
  #heardAt = Number.NEGATIVE_INFINITY;
  #missed = false;

  /** Something was heard of the server. `ordinaryMs`: the longest time that a healthy server is silent. */
  heard(at: number, ordinaryMs: number): void {
    if (this.#missed && at - this.#heardAt > ordinaryMs) {
      this.#periods.push({ from: this.#heardAt, to: at });
      if (this.#periods.length > MAX_UNRESPONSIVE_PERIODS) this.#periods.shift();
    }
    this.#heardAt = Math.max(this.#heardAt, at);
    this.#missed = false;
  }

  /** A probe that was sent then got no answer. */
  missed(askedAt: number): void {
    if (askedAt >= this.#heardAt) this.#missed = true;
  }

  /** A probe that was sent since the server was last heard of got no answer. */
  get isUnresponsive(): boolean {
    return this.#missed;
  }

  /** How long the server was not responding since `since`, ms. */
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
