/**
 * Takes the frames that nobody needs to read out of an event stream's bytes, before a parser sees them: those that its
 * owner calls redundant by their first bytes (deltas are nine of ten frames), and those beyond a bound.
 */
import { Buffer } from 'node:buffer';

/**
 * One frame of the event stream. opencode cuts tool output at 50 kB, a status has a few hundred bytes. At the limit:
 * the frame is dropped unread; it counts as progress of its session, which is inspected, at most once a minute.
 */
export const MAX_FRAME_BYTES = 1024 * 1024;
/** Bytes of a frame's beginning that tell what it is: a delta's session stands some 230 bytes in (1.18.33). */
const HEAD_BYTES = 1_024;
/** The most that a frame's end (a blank line, after LF or CRLF) can have in the bytes before. */
const OVERLAP = 2;
const LF = 0x0a;
const CR = 0x0d;

export interface DeltaFilterOptions {
  /** Whether a whole frame need not be read. `head` is its beginning, one character for each byte. Must not throw. */
  isRedundant?(head: string): boolean;
  /** A frame beyond `MAX_FRAME_BYTES` was dropped. */
  onOversized?(head: string): void;
}

export class DeltaFilter {
  /** Frames so far, dropped ones included. */
  frames = 0;
  readonly #options: DeltaFilterOptions;
  readonly #maxBytes: number;
  /** The beginning of a frame whose end has not come: the first `#size` bytes. It grows by doubling. */
  #held = Buffer.alloc(0);
  #size = 0;
  /** The frame was too large: its rest is dropped up to its end. */
  #isSkipping = false;

  constructor(options: DeltaFilterOptions = {}, maxBytes = MAX_FRAME_BYTES) {
    this.#options = options;
    this.#maxBytes = maxBytes;
  }

  /** Gives the whole frames to pass on, or undefined where there are none. */
  push(chunk: Uint8Array): Buffer | undefined {
    const isHeld = this.#size > 0;
    let searchFrom = isHeld ? Math.max(0, this.#size - OVERLAP) : 0;
    if (isHeld) this.#hold(chunk);
    const bytes = isHeld ? this.#held.subarray(0, this.#size) : asBuffer(chunk);
    const passed: Buffer[] = [];
    let from = 0;
    for (let to = endOf(bytes, searchFrom); to !== -1; to = endOf(bytes, searchFrom)) {
      if (this.#passes(bytes, from, to)) passed.push(bytes.subarray(from, to));
      from = searchFrom = to;
    }
    const [only] = passed;
    // What is held is written over: its frames are copied.
    const result = passed.length === 1 && !isHeld ? only : Buffer.concat(passed);
    this.#size = 0;
    this.#hold(bytes.subarray(from));
    if (this.#isSkipping || this.#size > this.#maxBytes) this.#skip();
    return passed.length === 0 ? undefined : result;
  }

  #passes(bytes: Buffer, from: number, to: number): boolean {
    const isRest = this.#isSkipping;
    this.#isSkipping = false;
    if (isRest) return false;
    this.frames += 1;
    const head = bytes.toString('latin1', from, Math.min(to, from + HEAD_BYTES));
    if (to - from <= this.#maxBytes) return !this.#options.isRedundant?.(head);
    this.#options.onOversized?.(head);
    return false;
  }

  #hold(rest: Uint8Array): void {
    const size = this.#size + rest.length;
    // The room of a large frame is not kept.
    if (size === 0) this.#held = Buffer.alloc(0);
    if (size > this.#held.length) {
      const larger = Buffer.allocUnsafe(2 * size);
      this.#held.copy(larger, 0, 0, this.#size);
      this.#held = larger;
    }
    this.#held.set(rest, this.#size);
    this.#size = size;
  }

  /** Only what may be the beginning of the frame's end is kept. */
  #skip(): void {
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
 * Behind the first blank line from `from` on; -1 where there is none (HTML standard, section 9.2.5; a lone CR, which no
 * opencode sends, ends no line here).
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
