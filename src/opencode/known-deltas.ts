/**
 * Recognises a delta that begins as an earlier one of its session did, and finds its end.
 *
 * Nearly every frame of a busy stream is such a one. Up to its session's id it differs from the last one in the
 * event's id alone; so it is compared, four bytes at a time, with what a whole reading of an earlier frame has taught
 * (`FrameHead`), and the rest is left to native searches. A frame that differs anywhere is left to that reading.
 */
import type { Buffer } from 'node:buffer';
import type { DeltaPlaces } from './frame-head.js';

const LF = 0x0a;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
/** Bytes compared at a time. */
const WORD = 4;
/** Directories remembered. Each costs a comparison of some bytes; with more than these the last ones are read whole. */
export const MAX_OPENINGS = 64;
/** Places for sessions; two that fall into one cost only time. */
export const SESSION_BITS = 10;
/** A frame whose session stands further in than this (seen: 230 bytes) is not learnt. */
export const MAX_HEAD_BYTES = 1_024;

/** What a delta tells besides its being there. */
export interface DeltaSource {
  readonly sessionID: string | undefined;
  readonly directory: string | undefined;
}

/** How the deltas of one directory begin, up to the value of the event's id. */
interface Opening {
  head: Pattern;
  idLength: number;
  /** From the end of the event's id to the end of the session's. */
  toSession: number;
}

/** How those of one session go on behind the event's id, up to the quote that ends the session's. */
interface Session {
  opening: Opening;
  middle: Pattern;
  source: DeltaSource;
}

export class KnownDeltas {
  /** Of the delta found last. */
  source: DeltaSource = { sessionID: undefined, directory: undefined };
  readonly #openings: Opening[] = [];
  readonly #sessions: Array<Session | undefined> = new Array(2 ** SESSION_BITS).fill(undefined);
  #view: DataView = new DataView(new ArrayBuffer(0));

  /** Where the known delta that begins at `start` ends, behind its blank line; 0 for any other frame, or a cut one. */
  endOf(bytes: Buffer, start: number): number {
    const lineEnd = bytes.indexOf(LF, start);
    if (lineEnd === -1 || bytes[lineEnd + 1] !== LF) return 0;
    // Chunks of one read of the socket share its memory.
    if (bytes.buffer !== this.#view.buffer) this.#view = new DataView(bytes.buffer);
    const view = this.#view;
    const offset = bytes.byteOffset;
    const openings = this.#openings;
    for (let index = 0; index < openings.length; index += 1) {
      const opening = openings[index] as Opening;
      const idFrom = start + opening.head.length;
      const idTo = idFrom + opening.idLength;
      const sessionTo = idTo + opening.toSession;
      // All that is looked at below stands in this line.
      if (sessionTo >= lineEnd || !begins(view, offset + start, opening.head)) continue;
      const last = view.getInt32(offset + sessionTo - WORD, true);
      const session = this.#sessions[placeOf(last)];
      if (session?.opening !== opening || !begins(view, offset + idTo, session.middle)) continue;
      // The event's id is one string: its first quote is the one that `middle` begins with.
      if (bytes.indexOf(QUOTE, idFrom) !== idTo || bytes[idTo - 1] === BACKSLASH) continue;
      // The ones that are met often move to the front.
      if (index > 0) {
        openings[index] = openings[index - 1] as Opening;
        openings[index - 1] = opening;
      }
      this.source = session.source;
      return lineEnd + 2;
    }
    return 0;
  }

  /** Takes a frame of one line, read as a delta, as the pattern for the next ones of its session. */
  learn(bytes: Buffer, start: number, places: DeltaPlaces, source: DeltaSource): void {
    const { idFrom, idTo, sessionTo } = places;
    if (idFrom - start < WORD || sessionTo - idTo < WORD || sessionTo - start > MAX_HEAD_BYTES)
      return;
    const head = patternOf(bytes.subarray(start, idFrom));
    const opening = this.#openingOf({ head, idLength: idTo - idFrom, toSession: sessionTo - idTo });
    this.#sessions[placeOf(bytes.readInt32LE(sessionTo - WORD))] = {
      opening,
      middle: patternOf(bytes.subarray(idTo, sessionTo + 1)),
      source,
    };
  }

  #openingOf(wanted: Opening): Opening {
    const known = this.#openings.find(
      ({ head, idLength, toSession }) =>
        idLength === wanted.idLength &&
        toSession === wanted.toSession &&
        head.length === wanted.head.length &&
        head.words.every((word, index) => word === wanted.head.words[index]),
    );
    if (known) return known;
    if (this.#openings.length >= MAX_OPENINGS) this.#openings.pop();
    this.#openings.push(wanted);
    return wanted;
  }
}

/** The last characters of a session's id differ most. Which place they choose does not matter, only that it is one. */
const placeOf = (word: number): number => Math.imul(word, 0x9e3779b1) >>> (32 - SESSION_BITS);

/** At least a word of bytes; the last word overlaps the one before where they do not come out even. */
interface Pattern {
  words: Int32Array;
  length: number;
}

function patternOf(bytes: Buffer): Pattern {
  const words = new Int32Array(Math.ceil(bytes.length / WORD));
  for (let index = 0; index < words.length; index += 1) {
    words[index] = bytes.readInt32LE(Math.min(index * WORD, bytes.length - WORD));
  }
  return { words, length: bytes.length };
}

/** Whether the bytes at `at` are these. Four words in one step: twice as fast as one by one (Node 20 and 24). */
function begins(view: DataView, at: number, { words, length }: Pattern): boolean {
  const last = words.length - 1;
  let index = 0;
  for (let place = at; index + 4 <= last; index += 4, place += 4 * WORD) {
    const differs =
      (view.getInt32(place, true) ^ (words[index] as number)) |
      (view.getInt32(place + WORD, true) ^ (words[index + 1] as number)) |
      (view.getInt32(place + 2 * WORD, true) ^ (words[index + 2] as number)) |
      (view.getInt32(place + 3 * WORD, true) ^ (words[index + 3] as number));
    if (differs !== 0) return false;
  }
  for (; index < last; index += 1) {
    if (view.getInt32(at + index * WORD, true) !== words[index]) return false;
  }
  return view.getInt32(at + length - WORD, true) === words[last];
}
