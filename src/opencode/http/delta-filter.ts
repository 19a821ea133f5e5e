/**
 * Takes the frames nobody needs to read out of an event stream's bytes, before a parser sees them.
 *
 * Deltas are nearly all of the traffic (facts, section 4), and all that they tell the watchdog is that their session
 * makes progress. They are recognised by the first bytes of the frame, reported, and dropped; so are `sync` frames,
 * which repeat others. What is not understood at once is passed on: the filter never loses any other frame.
 */
import { Buffer } from 'node:buffer';
import { FrameHead } from './frame-head.js';
import { type DeltaSource, KnownDeltas } from './known-deltas.js';

/** The largest frame worth parsing: opencode cuts tool output at 50 kB, a status has a few hundred bytes. */
export const MAX_FRAME_BYTES = 1024 * 1024;

/** Pieces in which the beginning of a frame is kept. */
export const MAX_PIECES = 256;

const LF = 0x0a;
const CR = 0x0d;

export interface DeltaFilterEvents {
  /** New text of a session. The source holds during the call only. */
  progress(sessionID: string, source: DeltaSource): void;
  /** A frame beyond `MAX_FRAME_BYTES` was dropped; the head says whose, where its first bytes do. */
  oversized(head: DeltaSource): void;
}

export class DeltaFilter {
  /** Frames that were passed on, taken for progress, taken for repetitions, and dropped for their size. */
  readonly counts = { passed: 0, deltas: 0, repeated: 0, oversized: 0 };
  readonly #events: DeltaFilterEvents;
  readonly #head = new FrameHead();
  readonly #known = new KnownDeltas();
  readonly #maxBytes: number;
  /** The beginning of a frame whose end has not come. */
  #held: Buffer[] = [];
  #heldBytes = 0;
  /** The frame is too large: its rest is dropped up to the next blank line. */
  #skipping = false;
  /** Bytes of the unfinished line at the end of the last chunk, and whether it is a lone CR. */
  #lineBytes = 0;
  #lineIsCr = false;

  constructor(events: DeltaFilterEvents, maxBytes = MAX_FRAME_BYTES) {
    this.#events = events;
    this.#maxBytes = maxBytes;
  }

  /**
   * Gives the bytes of the whole frames to pass on, or undefined when there are none. They are the chunk's own: whoever
   * wants to keep them copies them.
   */
  push(chunk: Uint8Array, from = 0, to = chunk.length): Buffer | undefined {
    const bytes = asBuffer(chunk);
    let passed: Buffer[] | undefined;
    /** Frames [keptFrom, keptTo) of this chunk stand in a row and are passed on in one piece. */
    let keptFrom = from;
    let keptTo = from;
    let frameStart = from;
    let lineStart = from;
    while (lineStart < to) {
      let isPassed = false;
      const knownEnd = lineStart === frameStart ? this.#takeKnown(bytes, frameStart, to) : 0;
      if (knownEnd > 0) lineStart = knownEnd;
      else {
        const lf = bytes.indexOf(LF, lineStart);
        if (lf === -1 || lf >= to) break;
        const isBlank = this.#endsBlankLine(bytes, lineStart, lf);
        lineStart = lf + 1;
        if (!isBlank) continue;
        if (this.#isUnfinished) {
          // Only the chunk's first frame can have begun in an earlier one.
          const frame = this.#finishHeld(bytes.subarray(from, lineStart));
          if (frame) passed = [frame];
        } else isPassed = this.#passes(bytes, frameStart, lineStart);
      }
      if (!isPassed) {
        if (keptTo > keptFrom) {
          passed ??= [];
          passed.push(bytes.subarray(keptFrom, keptTo));
        }
        keptFrom = lineStart;
      }
      keptTo = lineStart;
      frameStart = lineStart;
    }
    this.#rememberLine(bytes, lineStart, to);
    if (frameStart < to) this.#hold(bytes.subarray(frameStart, to));
    if (keptTo > keptFrom) {
      const kept = bytes.subarray(keptFrom, keptTo);
      if (!passed) return kept;
      passed.push(kept);
    }
    if (!passed) return undefined;
    const [only] = passed;
    return passed.length === 1 ? only : Buffer.concat(passed);
  }

  /** The frame at the beginning of these bytes has begun in earlier ones. */
  get #isUnfinished(): boolean {
    return this.#heldBytes > 0 || this.#skipping;
  }

  /** The short way: the end of a delta that looks as earlier ones did; 0 for any other frame. */
  #takeKnown(bytes: Buffer, start: number, to: number): number {
    if (this.#isUnfinished) return 0;
    const end = this.#known.endOf(bytes, start, to);
    if (end === 0 || end - start > this.#maxBytes) return 0;
    const { source } = this.#known;
    if (source.sessionID === undefined) return 0;
    this.counts.deltas += 1;
    this.#events.progress(source.sessionID, source);
    return end;
  }

  #endsBlankLine(bytes: Buffer, start: number, lf: number): boolean {
    const length = this.#lineBytes + lf - start;
    const isBlank =
      length === 0 || (length === 1 && (lf > start ? bytes[start] === CR : this.#lineIsCr));
    this.#lineBytes = 0;
    return isBlank;
  }

  #rememberLine(bytes: Buffer, start: number, to: number): void {
    const rest = to - start;
    if (rest === 0) return;
    this.#lineIsCr = this.#lineBytes === 0 && bytes[start] === CR;
    this.#lineBytes += rest;
  }

  #hold(rest: Buffer): void {
    if (this.#skipping) return;
    if (this.#heldBytes + rest.length > this.#maxBytes) {
      this.#drop(Buffer.concat([...this.#held, rest.subarray(0, this.#maxBytes)]));
      this.#skipping = true;
      return;
    }
    // Copied: a small rest must not keep the whole chunk of the socket alive.
    this.#held.push(Buffer.from(rest));
    this.#heldBytes += rest.length;
    // A million pieces of one byte would weigh a hundred times what they hold.
    if (this.#held.length > MAX_PIECES) this.#held = [Buffer.concat(this.#held)];
  }

  #finishHeld(end: Buffer): Buffer | undefined {
    if (this.#skipping) {
      this.#skipping = false;
      return undefined;
    }
    const frame = Buffer.concat([...this.#held, end]);
    this.#held = [];
    this.#heldBytes = 0;
    return this.#passes(frame, 0, frame.length) ? frame : undefined;
  }

  #drop(beginning: Buffer): void {
    this.#held = [];
    this.#heldBytes = 0;
    this.counts.oversized += 1;
    this.#head.read(beginning, 0, beginning.length);
    this.#events.oversized(this.#head);
  }

  /** Whether a whole frame is for the parser; tells of what it holds back. */
  #passes(bytes: Buffer, start: number, end: number): boolean {
    if (end - start > this.#maxBytes) {
      this.#drop(bytes.subarray(start, end));
      return false;
    }
    const head = this.#head;
    head.read(bytes, start, end);
    const sessionID = head.kind === 'delta' ? head.sessionID : undefined;
    if (sessionID !== undefined) {
      this.counts.deltas += 1;
      const source = { sessionID, directory: head.directory };
      const { places } = head;
      // Of one line, so that its end is the first there is.
      if (places && bytes.indexOf(LF, start) === end - 2) {
        this.#known.learn(bytes, start, places, source);
      }
      this.#events.progress(sessionID, source);
      return false;
    }
    if (head.kind === 'sync') {
      this.counts.repeated += 1;
      return false;
    }
    this.counts.passed += 1;
    return true;
  }
}

const asBuffer = (chunk: Uint8Array): Buffer =>
  Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
