/**
 * Gaps that the observed clock left out, to correct times that come from the wire.
 *
 * A tool's start is read as "so long ago" by the wall clock, which went on while the daemon did not run. Put on the
 * observed clock, it lies too far back by every gap since. Those gaps must not count against a tool.
 */

/**
 * Periods in which the daemon did not run. They correct the starts of tools; with more of them within one tool's time
 * the daemon hardly runs at all. At the limit: the oldest is forgotten.
 */
export const MAX_GAPS = 100;

export class ClockGaps {
  /** On the observed clock, oldest first. */
  readonly #gaps: { at: number; ms: number }[] = [];

  note(at: number, ms: number): void {
    this.#gaps.push({ at, ms });
    if (this.#gaps.length > MAX_GAPS) this.#gaps.shift();
  }

  /** Where a time that was calculated with the wall clock really lies on the observed clock. */
  correct(time: number): number {
    let corrected = time;
    for (let i = this.#gaps.length - 1; i >= 0; i--) {
      const gap = this.#gaps[i];
      // What began after a gap began after all older ones too.
      if (gap === undefined || corrected >= gap.at) break;
      // What began within the gap counts from its end.
      corrected = Math.min(corrected + gap.ms, gap.at);
    }
    return corrected;
  }
}
