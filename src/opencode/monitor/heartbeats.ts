/** Learns how often the server's heartbeat comes, and from it how long a silence means a dead connection. */

/** A few: one heartbeat that was late, or two that came together, must not change the picture. */
const REMEMBERED = 3;
/** Facts, section 4: enforce silence only at three times the interval seen. */
const SILENT_INTERVALS = 3;

export class Heartbeats {
  #last: number | undefined;
  readonly #intervals: number[] = [];
  #count = 0;

  /** `openedAt`: the first heartbeat's distance from it is a first guess at the interval. */
  constructor(openedAt?: number) {
    this.#last = openedAt;
  }

  beat(at: number): void {
    if (this.#last !== undefined) this.#intervals.push(at - this.#last);
    // The guess from the opening goes when the first true interval is there.
    if (this.#count === 1 && this.#intervals.length === 2) this.#intervals.shift();
    if (this.#intervals.length > REMEMBERED) this.#intervals.shift();
    this.#last = at;
    this.#count += 1;
  }

  /** The interval between heartbeats, once two were seen. */
  get intervalMs(): number | undefined {
    return this.#count < 2 ? undefined : Math.round(Math.max(...this.#intervals));
  }

  /** The silence that counts as death: never less than `floorMs`, and endless while no heartbeat was seen. */
  limitMs(floorMs: number): number {
    if (this.#count === 0) return Number.POSITIVE_INFINITY;
    return Math.max(floorMs, SILENT_INTERVALS * Math.max(0, ...this.#intervals));
  }
}
