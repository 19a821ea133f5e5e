/**
 * Removes the frames that nobody needs to read from an event stream's bytes, before a parser sees them: those that the
 * owner calls redundant by their first bytes (deltas are nine of ten frames), and those that are too large.
 */
import { Buffer } from 'node:buffer';
import { shortenStrings } from './shorten-strings.js';

/**
 * One frame of the event stream. opencode cuts tool output at 50 kB, a status has a few hundred bytes, but a file that
 * a tool has read comes whole. At the limit: strings of more than 64 KiB in the frame are cut; if the frame is still
 * too large, it is dropped unread; it counts as progress of its session, and the session is inspected, at most once a
 * minute.
 */
export const MAX_FRAME_BYTES = 1024 * 1024;
/**
 * Of a frame that is too large, each string keeps this share of the limit: 64 KiB, more than a tool's output may have.
 */
const STRING_SHARE = 1 / 16;
/**
 * Bytes of a frame's beginning that are enough to tell what it is: a delta's session stands some 230 bytes in
 * (1.18.33).
 */
const HEAD_BYTES = 1_024;
/** How many bytes of a frame's end (a blank line, after LF or CRLF) the previous chunk can hold at most. */
const OVERLAP = 2;
const LF = 0x0a;
const CR = 0x0d;

export interface DeltaFilterOptions {
  /**
   * Whether a complete frame can be dropped unread. `head` is its beginning, one character for each byte. Must not
   * throw.
   */
  isRedundant?(head: string): boolean;
  /** A frame beyond `MAX_FRAME_BYTES` was dropped. */
  onOversized?(head: string): void;
}

export class DeltaFilter {
  /** Frames so far, dropped ones included. */
  frames = 0;
  readonly #options: DeltaFilterOptions;
  readonly #maxBytes: number;
  readonly #maxStringBytes: number;
  /** The first `#size` bytes are the beginning of a frame whose end has not come yet. The buffer grows by doubling. */
  #held = Buffer.alloc(0);
  #size = 0;
  /** Strings of the current frame were cut. */
  #isShortened = false;
  /** The current frame was too large: the rest of it is dropped. */
  #isSkipping = false;

  constructor(options: DeltaFilterOptions = {}, maxBytes = MAX_FRAME_BYTES) {
    this.#options = options;
    this.#maxBytes = maxBytes;
    this.#maxStringBytes = maxBytes * STRING_SHARE;
  }

  /** Returns the complete frames to pass on, or undefined if there are none. */
  push(chunk: Uint8Array): Buffer | undefined {
    const isHeld = this.#size > 0;
    let searchFrom = isHeld ? Math.max(0, this.#size - OVERLAP) : 0;
    if (isHeld) this.#hold(chunk);
    const bytes = isHeld ? this.#held.subarray(0, this.#size) : asBuffer(chunk);
    const passed: Buffer[] = [];
    let from = 0;
    for (let to = endOf(bytes, searchFrom); to !== -1; to = endOf(bytes, searchFrom)) {
      const frame = this.#pass(bytes.subarray(from, to));
      if (frame !== undefined) passed.push(frame);
      from = searchFrom = to;
    }
    const [only] = passed;
    // The held bytes will be overwritten, so frames in them are copied.
    const result = passed.length === 1 && !isHeld ? only : Buffer.concat(passed);
    this.#size = 0;
    this.#hold(bytes.subarray(from));
    if (!this.#isSkipping && this.#size > this.#maxBytes) {
      this.#size = shortenStrings(this.#held.subarray(0, this.#size), this.#maxStringBytes);
      this.#isShortened = true;
    }
    if (this.#isSkipping || this.#size > this.#maxBytes) this.#skip();
    return passed.length === 0 ? undefined : result;
  }

  /** @returns the frame, or what is left of it; undefined if it is dropped */
  #pass(whole: Buffer): Buffer | undefined {
    const isRest = this.#isSkipping;
    const isLarge = this.#isShortened || whole.length > this.#maxBytes;
    this.#isSkipping = this.#isShortened = false;
    if (isRest) return undefined;
    this.frames += 1;
    // A frame that was shortened is shortened once more, so that what is left does not depend on its chunks.
    const frame = isLarge ? this.#shortened(whole) : whole;
    const head = frame.toString('latin1', 0, HEAD_BYTES);
    if (frame.length <= this.#maxBytes)
      return this.#options.isRedundant?.(head) ? undefined : frame;
    this.#options.onOversized?.(head);
    return undefined;
  }

  #shortened(frame: Buffer): Buffer {
    const copy = Buffer.from(frame);
    return copy.subarray(0, shortenStrings(copy, this.#maxStringBytes));
  }

  #hold(rest: Uint8Array): void {
    const size = this.#size + rest.length;
    // The memory of a large frame is not kept.
    if (size === 0) this.#held = Buffer.alloc(0);
    if (size > this.#held.length) {
      const larger = Buffer.allocUnsafe(2 * size);
      this.#held.copy(larger, 0, 0, this.#size);
      this.#held = larger;
    }
    this.#held.set(rest, this.#size);
    this.#size = size;
  }

  /** Keeps only the bytes that may begin the frame's end. */
  #skip(): void {
    this.#isShortened = false;
    if (!this.#isSkipping) {
      this.frames += 1;
      this.#options.onOversized?.(this.#held.toString('latin1', 0, HEAD_BYTES));
    }
    this.#isSkipping = true;
    this.#held = Buffer.from(this.#held.subarray(this.#size - OVERLAP, this.#size));
    this.#size = OVERLAP;
  }
}

/**
 * The position after the first blank line from `from` on; -1 if there is none (HTML standard, section 9.2.5). A lone
 * CR, which no opencode sends, does not end a line here.
 */
function endOf(bytes: Buffer, from: number): number {
  for (let at = bytes.indexOf(LF, from); at !== -1; at = bytes.indexOf(LF, at + 1)) {
    if (bytes[at + 1] === LF) return at + 2;
    if (bytes[at + 1] === CR && bytes[at + 2] === LF) return at + 3;
  }
  return -1;
}

const asBuffer = (chunk: Uint8Array): Buffer =>
  Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
