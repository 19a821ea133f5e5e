/** A value that must never be seen: however it is printed, it prints as `[secret]`. */
import { inspect } from 'node:util';

export const MASK = '[secret]';

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

/**
 * A value's JSON without the `user:password@` of any string in it, and without the query and the fragment of a URL
 * (`?token=…`); also of a string that is too broken to be a URL, and rather too much than too little.
 */
export function maskUserinfo(json: string): string {
  return json
    .replace(/"([a-z][\w+.-]*:\/\/)?(?:[^"\\]|\\.)*@/gi, `"$1${MASK}@`)
    .replace(/(:\/\/(?:[^"\\?#]|\\.)*[?#])(?:[^"\\]|\\.)+/g, `$1${MASK}`);
}

/** A webhook's URL carries its token in the path: only the host may be shown. */
export function maskUrl(text: string): string {
  if (!URL.canParse(text)) return MASK;
  return `${new URL(text).origin}/${MASK}`;
}
