/**
 * Recognises a delta that begins as an earlier one of its session did, and finds its end.
 *
 * Nearly every frame of a busy stream is such a one. Up to its session's id it differs from the last one in the
 * event's id alone; so it is compared, four bytes at a time, with what a whole reading of an earlier frame has taught
 * (`FrameHead`), and the rest is left to native searches. A frame that differs anywhere is left to that reading.
 */
import type { Buffer } from 'node:buffer';
import { BoundedMap } from '../../lib/bounded-map.js';
import type { DeltaPlaces } from './frame-head.js';

const LF = 0x0a;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
/** Bytes compared at a time. */
const WORD = 4;
/** Sessions known by heart, each some 500 bytes; with more than these the others are read whole. */
export const MAX_KNOWN_SESSIONS = 4_096;
/** Distances from a frame's beginning to its session's end. They differ as the directories' lengths do. */
export const MAX_DISTANCES = 64;
/** A frame whose session stands further in than this (seen: 230 bytes) is not learnt. */
export const MAX_HEAD_BYTES = 1_024;
/**
 * The end of a session's id is random, and this much before it its time stands: together they tell it from all others
 * (`ses_1fc8f6ff5ffe` and 14 more characters, 1.18.33).
 */
const TIME_FROM_END = 18;

/** What a delta tells besides its being there. */
export interface DeltaSource {
  readonly sessionID: string | undefined;
  readonly directory: string | undefined;
}

/** How the deltas of one session begin: up to the event's id, and from its end to the quote behind the session's id. */
interface Known {
  head: Pattern;
  idLength: number;
  middle: Pattern;
  /** From the frame's beginning to the session's end. */
  distance: number;
  source: DeltaSource;
}

export class KnownDeltas {
  /** Of the delta found last. */
  source: DeltaSource = { sessionID: undefined, directory: undefined };
  readonly #sessions = new BoundedMap<number, Known>(MAX_KNOWN_SESSIONS);
  /** The ones met often stand in front. */
  readonly #distances: number[] = [];
  #view: DataView = new DataView(new ArrayBuffer(0));

  /** Where the known delta at `start` ends, behind its blank line; 0 for any other frame, or one not whole at `end`. */
  endOf(bytes: Buffer, start: number, end: number): number {
    const lineEnd = bytes.indexOf(LF, start);
    if (lineEnd === -1 || lineEnd + 1 >= end || bytes[lineEnd + 1] !== LF) return 0;
    // Chunks of one read of the socket share its memory.
    if (bytes.buffer !== this.#view.buffer) this.#view = new DataView(bytes.buffer);
    const view = this.#view;
    const offset = bytes.byteOffset;
    const distances = this.#distances;
    for (let index = 0; index < distances.length; index += 1) {
      const distance = distances[index] as number;
      const sessionTo = start + distance;
      // All that is looked at below stands in this line.
      if (sessionTo >= lineEnd) continue;
      const known = this.#sessions.get(keyAt(view, offset + sessionTo));
      if (known?.distance !== distance || !begins(view, offset + start, known.head)) continue;
      const idFrom = start + known.head.length;
      const idTo = idFrom + known.idLength;
      if (!begins(view, offset + idTo, known.middle)) continue;
      // The event's id is one string: its first quote is the one that `middle` begins with.
      if (!isPlain(bytes, idFrom, idTo)) continue;
      if (index > 0) {
        distances[index] = distances[index - 1] as number;
        distances[index - 1] = distance;
      }
      this.source = known.source;
      return lineEnd + 2;
    }
    return 0;
  }

  /** Takes a frame of one line, read as a delta, as the pattern for the next ones of its session. */
  learn(bytes: Buffer, start: number, places: DeltaPlaces, source: DeltaSource): void {
    const { idFrom, idTo, sessionTo } = places;
    const distance = sessionTo - start;
    if (idFrom - start < WORD || sessionTo - idTo < WORD || distance > MAX_HEAD_BYTES) return;
    if (distance < TIME_FROM_END) return;
    if (!this.#distances.includes(distance)) {
      if (this.#distances.length >= MAX_DISTANCES) this.#distances.pop();
      this.#distances.push(distance);
    }
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#sessions.set(keyAt(view, sessionTo), {
      head: patternOf(bytes.subarray(start, idFrom)),
      idLength: idTo - idFrom,
      middle: patternOf(bytes.subarray(idTo, sessionTo + 1)),
      distance,
      source,
    });
  }
}

/** Two sessions with one key, which chance will hardly bring, cost only time. */
const keyAt = (view: DataView, sessionTo: number): number =>
  Math.imul(view.getInt32(sessionTo - WORD, true), 0x9e3779b1) ^
  view.getInt32(sessionTo - TIME_FROM_END, true);

/** A string without a quote or an escape in it. */
function isPlain(bytes: Buffer, from: number, to: number): boolean {
  for (let at = from; at < to; at += 1) {
    const byte = bytes[at];
    if (byte === QUOTE || byte === BACKSLASH) return false;
  }
  return true;
}

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
