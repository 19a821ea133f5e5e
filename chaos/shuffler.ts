import type { Random } from '../test/support/random.js';

/** Deals every card once before any comes again, so that even a short run gets many kinds. */
export class Shuffler<T> {
  readonly #cards: readonly T[];
  readonly #random: Random;
  #left: T[] = [];

  constructor(cards: readonly T[], random: Random) {
    if (cards.length === 0) throw new Error('a shuffler without cards');
    this.#cards = cards;
    this.#random = random;
  }

  deal(): T {
    if (this.#left.length === 0) this.#left = this.#random.shuffled(this.#cards);
    return this.#left.pop() as T;
  }
}
