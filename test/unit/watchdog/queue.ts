/** A queue of what happens when, in an order that can be repeated. */

interface Entry {
  at: number;
  fn: () => void;
}

/** Entries ordered by time. Entries of the same time keep the order in which they were added. */
export class Queue {
  readonly #entries: Entry[] = [];

  get nextAt(): number {
    return this.#entries.at(-1)?.at ?? Number.POSITIVE_INFINITY;
  }

  add(at: number, fn: () => void): void {
    const entries = this.#entries;
    // Latest first, so that taking is cheap: new entries are mostly due soon.
    let i = entries.length;
    while (i > 0 && (entries[i - 1] as Entry).at <= at) i -= 1;
    entries.splice(i, 0, { at, fn });
  }

  take(at: number): (() => void) | undefined {
    const next = this.#entries.at(-1);
    if (next === undefined || next.at > at) return undefined;
    this.#entries.pop();
    return next.fn;
  }
}
