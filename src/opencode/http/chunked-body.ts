/** Takes the chunked coding off a body (RFC 9112, section 7.1), whatever pieces it comes in, without a copy. */
import type { Buffer } from 'node:buffer';

/** Extensions of one chunk, which nobody sends, and the trailer: both are passed over. */
export const MAX_CHUNK_EXTENSION_BYTES = 1_024;
export const MAX_TRAILER_BYTES = 16 * 1024;
/** Hexadecimal digits of a chunk's size: 4 GiB. */
const MAX_SIZE_DIGITS = 8;

const LF = 0x0a;
const CR = 0x0d;
const SEMICOLON = 0x3b;
const SPACE = 0x20;
const TAB = 0x09;

/** What the next byte belongs to. Plain numbers: a switch over them is what a busy stream spends its time in. */
const SIZE = 0;
const EXTENSION = 1;
const SIZE_END = 2;
const DATA = 3;
const DATA_CR = 4;
const DATA_LF = 5;
const LINE_START = 6;
const TRAILER = 7;
const TRAILER_LF = 8;
const LAST_LF = 9;
const DONE = 10;

export class ChunkedBody {
  #at = SIZE;
  /** Of the chunk's data, or its size as far as it was read. */
  #left = 0;
  #digits = 0;
  /** Of the extensions, or of the trailer. */
  #passedOver = 0;

  /** The last chunk and the trailer are over. */
  get isDone(): boolean {
    return this.#at === DONE;
  }

  /** Gives each piece of the body that is in these bytes. @throws where they are not in chunks. */
  push(
    bytes: Buffer,
    from: number,
    to: number,
    piece: (bytes: Buffer, from: number, to: number) => void,
  ): void {
    for (let at = from; at < to; ) {
      if (this.#at === DATA) {
        const end = Math.min(at + this.#left, to);
        this.#left -= end - at;
        if (this.#left === 0) this.#at = DATA_CR;
        piece(bytes, at, end);
        at = end;
        continue;
      }
      this.#at = this.#after(bytes[at] as number);
      at += 1;
      if (this.#at === DONE && at < to) throw new Error('it went on behind its end');
    }
  }

  #after(byte: number): number {
    switch (this.#at) {
      case SIZE:
        return this.#afterSize(byte);
      case EXTENSION:
        if (byte === CR) return SIZE_END;
        return this.#passOver(byte, MAX_CHUNK_EXTENSION_BYTES, EXTENSION);
      case SIZE_END:
        if (byte !== LF) return refuse();
        this.#digits = 0;
        this.#passedOver = 0;
        return this.#left === 0 ? LINE_START : DATA;
      case DATA_CR:
        return byte === CR ? DATA_LF : refuse();
      case DATA_LF:
        return byte === LF ? SIZE : refuse();
      case LINE_START:
        if (byte === CR) return LAST_LF;
        return this.#passOver(byte, MAX_TRAILER_BYTES, TRAILER);
      case TRAILER:
        if (byte === CR) return TRAILER_LF;
        return this.#passOver(byte, MAX_TRAILER_BYTES, TRAILER);
      case TRAILER_LF:
        return byte === LF ? LINE_START : refuse();
      case LAST_LF:
        return byte === LF ? DONE : refuse();
      default:
        return refuse();
    }
  }

  #afterSize(byte: number): number {
    const digit = digitOf(byte);
    if (digit >= 0) {
      this.#digits += 1;
      if (this.#digits > MAX_SIZE_DIGITS) refuse();
      this.#left = this.#left * 16 + digit;
      return SIZE;
    }
    if (this.#digits === 0) return refuse();
    if (byte === CR) return SIZE_END;
    return byte === SEMICOLON || byte === SPACE || byte === TAB ? EXTENSION : refuse();
  }

  #passOver(byte: number, limit: number, stay: number): number {
    this.#passedOver += 1;
    // A bare LF is the end of a line to some (RFC 9112, section 2.2), and to others not.
    if (byte === LF || this.#passedOver > limit) refuse();
    return stay;
  }
}

function digitOf(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

function refuse(): never {
  throw new Error('it is not in chunks, as it said');
}
