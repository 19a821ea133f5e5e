/**
 * ClockGaps that the observed clock left out, for times that come from the wire.
 *
 * A tool's start is read as "so long ago" by the wall clock, which went on while the daemon did not run: put on the
 * observed clock, it lies too far back by every gap since. That time is held against no tool.
 */

/**
 * Times in which the daemon did not run. Tools' starts are corrected by them; more within one tool's time are a
 * daemon that hardly runs. At the limit: the oldest is forgotten.
 */
export const MAX_GAPS = 100;

export class ClockGaps {
  /** On the observed clock, oldest first. */
  readonly #gaps: { at: number; ms: number }[] = [];

  note(at: number, ms: number): void {
    this.#gaps.push({ at, ms });
    if (this.#gaps.length > MAX_GAPS) this.#gaps.shift();
  }

  /** Where a time that was put back by the wall clock really lies on the observed one. */
  correct(time: number): number {
    let corrected = time;
    for (let i = this.#gaps.length - 1; i >= 0; i--) {
      const gap = this.#gaps[i];
      // What began after a gap began after all older ones too.
      if (gap === undefined || corrected >= gap.at) break;
      // What began within the gap begins for us at its end.
      corrected = Math.min(corrected + gap.ms, gap.at);
    }
    return corrected;
  }
}
