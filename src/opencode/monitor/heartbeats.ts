/** Learns how often the server's heartbeat comes, and from that how much silence means a dead connection. */

/** A few intervals are remembered, so that one late heartbeat, or two that came together, change little. */
const REMEMBERED = 3;
/** Facts, section 4: enforce silence only at three times the interval seen. */
const SILENT_INTERVALS = 3;
/**
 * OpenCode 2 sends its first heartbeat at once and then one every 15 s (seen on 2.0), so the time to the first says
 * little. ms.
 */
const USUAL_INTERVAL = 15_000;

export class Heartbeats {
  #last: number | undefined;
  readonly #intervals: number[] = [];
  #count = 0;

  /**
   * The time from `openedAt` to the first heartbeat is a first guess at the interval. Until it is known, no interval is
   * taken for shorter than the usual one.
   */
  constructor(openedAt?: number) {
    this.#last = openedAt;
  }

  beat(at: number): void {
    if (this.#last !== undefined) this.#intervals.push(at - this.#last);
    // The first real interval replaces the guess from the opening.
    if (this.#count === 1 && this.#intervals.length === 2) this.#intervals.shift();
    if (this.#intervals.length > REMEMBERED) this.#intervals.shift();
    this.#last = at;
    this.#count += 1;
  }

  /** The interval between heartbeats, once two were seen. */
  get intervalMs(): number | undefined {
    return this.#count < 2 ? undefined : Math.round(Math.max(...this.#intervals));
  }

  /**
   * The silence that means a dead connection: never less than `floorMs`, and infinite as long as no heartbeat was seen.
   */
  limitMs(floorMs: number): number {
    if (this.#count === 0) return Number.POSITIVE_INFINITY;
    const least = this.#count === 1 ? USUAL_INTERVAL : 0;
    return Math.max(floorMs, SILENT_INTERVALS * Math.max(least, ...this.#intervals));
  }
}
