/**
 * When each item wants to be reviewed: a heap with the earliest first. A thousand sessions then cost no more than the
 * few that are due.
 *
 * A time that moves later (that of a healthy session does so all the time) does not change the heap. An entry is a
 * lower bound, and an item that is reviewed too early is entered again.
 */

interface Entry<T> {
  at: number;
  /** Breaks ties, so that the same history always gives the same order. */
  turn: number;
  item: T;
}

/** Entries that an earlier one has replaced are removed when they outnumber the valid entries by more than this. */
const MIN_SWEEP = 64;

export class TimerQueue<T> {
  #heap: Entry<T>[] = [];
  /** The valid entry of each item. */
  readonly #valid = new Map<T, Entry<T>>();
  #turn = 0;

  /** A lower bound of the earliest time; `Infinity` if there is none. */
  get next(): number {
    return this.#heap[0]?.at ?? Number.POSITIVE_INFINITY;
  }

  /** The item is due at `at` at the latest. If it has an earlier time, that one stays. */
  ask(item: T, at: number): void {
    const known = this.#valid.get(item);
    if (known !== undefined && known.at <= at) return;
    this.#turn += 1;
    const entry = { at, turn: this.#turn, item };
    this.#valid.set(item, entry);
    this.#heap.push(entry);
    this.#rise(this.#heap.length - 1);
    if (this.#heap.length > 2 * this.#valid.size + MIN_SWEEP) this.#sweep();
  }

  /** Removes and returns one item that is due at `at`; undefined if there is none. */
  take(at: number): T | undefined {
    for (let first = this.#heap[0]; first !== undefined && first.at <= at; first = this.#heap[0]) {
      this.#removeFirst();
      if (this.#valid.get(first.item) !== first) continue;
      this.#valid.delete(first.item);
      return first.item;
    }
    return undefined;
  }

  #sweep(): void {
    this.#heap = [...this.#valid.values()].sort((a, b) => (isBefore(a, b) ? -1 : 1));
  }

  #removeFirst(): void {
    const last = this.#heap.pop();
    if (last === undefined || this.#heap.length === 0) return;
    this.#heap[0] = last;
    this.#sink();
  }

  #rise(from: number): void {
    const heap = this.#heap;
    const entry = heap[from];
    if (entry === undefined) return;
    let i = from;
    while (i > 0) {
      const above = (i - 1) >> 1;
      const parent = heap[above];
      if (parent === undefined || !isBefore(entry, parent)) break;
      heap[i] = parent;
      i = above;
    }
    heap[i] = entry;
  }

  #sink(): void {
    const heap = this.#heap;
    const entry = heap[0];
    if (entry === undefined) return;
    let i = 0;
    for (;;) {
      let below = 2 * i + 1;
      let child = heap[below];
      const right = heap[below + 1];
      if (child !== undefined && right !== undefined && isBefore(right, child)) {
        child = right;
        below += 1;
      }
      if (child === undefined || !isBefore(child, entry)) break;
      heap[i] = child;
      i = below;
    }
    heap[i] = entry;
  }
}

const isBefore = <T>(a: Entry<T>, b: Entry<T>): boolean =>
  a.at < b.at || (a.at === b.at && a.turn < b.turn);
