/**
 * Who wants to be reviewed when: a heap with the earliest first, so that a thousand sessions cost no more than the few
 * that are due.
 *
 * What moves a time later (a session that goes on well does so all the time) does not touch the heap: an entry is a
 * lower bound, and whoever is reviewed too early is entered anew.
 */

interface Entry<T> {
  at: number;
  /** Breaks ties, so that the same history always gives the same order. */
  turn: number;
  item: T;
}

/** Entries that were overtaken by earlier ones are swept out when they are the larger part. */
const MIN_SWEEP = 64;

export class TimerQueue<T> {
  #heap: Entry<T>[] = [];
  /** The one entry of each that counts. */
  readonly #valid = new Map<T, Entry<T>>();
  #turn = 0;

  /** A lower bound of the earliest time; `Infinity` where nobody wants anything. */
  get next(): number {
    return this.#heap[0]?.at ?? Number.POSITIVE_INFINITY;
  }

  /** The item is to be given at `at` at the latest; an earlier time that it has stays. */
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

  /** Takes out who is due at `at`, one at a time. */
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
