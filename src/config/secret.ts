/** A value that must never be seen: however it is printed, it prints as `[secret]`. */
import { inspect } from 'node:util';
import { MASK } from '../lib/redaction.js';

export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  /** The value itself: for the request that needs it and for the redaction of logs, nowhere else. */
  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return MASK;
  }

  toJSON(): string {
    return MASK;
  }

  [inspect.custom](): string {
    return MASK;
  }
}
