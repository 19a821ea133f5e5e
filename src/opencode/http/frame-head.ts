/**
 * Reads the head of an event-stream frame from its bytes: type, session and directory, without parsing its JSON.
 *
 * opencode writes `data: {"directory":D,"project":P,"payload":{"id":I,"type":T,"properties":{"sessionID":S,…` with
 * `directory` and `project` missing on `/event` (facts, section 4). Only keys in their own place count: the same
 * words deeper down, in a tool's input, mean nothing. Whatever looks different is unknown, and left to a real parser.
 */
import { Buffer } from 'node:buffer';
import { MAX_ID_CHARS } from '../v1/schemas.js';

export type HeadKind = 'delta' | 'sync' | 'other' | 'unknown';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;
const COMMA = 0x2c;
const OPEN = 0x7b;
const SPACE = 0x20;
const LF = 0x0a;
const ascii = (text: string) => Buffer.from(text, 'latin1');
const DATA = ascii('data:');
const DIRECTORY = ascii('directory');
const PAYLOAD = ascii('payload');
const TYPE = ascii('type');
const ID = ascii('id');
const PROPERTIES = ascii('properties');
const SESSION_ID = ascii('sessionID');
const PART = ascii('part');
const SYNC = ascii('sync');
const PART_DELTA = ascii('message.part.delta');
const PART_UPDATED = ascii('message.part.updated');
const NEXT = ascii('session.next.');
const DELTA_SUFFIX = ascii('.delta');
const TEXT = ascii('text');
const REASONING = ascii('reasoning');
/** Up to about 1.1 a `message.part.updated` carried the new text behind the whole part. */
const OLD_DELTA = ascii('},"delta":"');

/** Places for session ids already read; two in one place cost only time. */
const NAMES = 64;

/** Where in the bytes the ids of a delta stand. */
export interface DeltaPlaces {
  idFrom: number;
  idTo: number;
  sessionTo: number;
}

/** One reader serves a whole stream: what it says holds until the next `read`. */
export class FrameHead {
  kind: HeadKind = 'unknown';
  #bytes: Buffer = Buffer.alloc(0);
  #end = 0;
  /** Where reading stands. */
  #at = 0;
  /** The string read last, without its quotes. */
  #from = 0;
  #to = 0;
  #directoryFrom = 0;
  #directoryTo = 0;
  #sessionFrom = 0;
  #sessionTo = 0;
  /** The payload's id; both 0 where it has none. */
  #idFrom = 0;
  #idTo = 0;
  /** What stands at the frame's end made it a delta. */
  #needsEnd = false;
  /** Session ids read of late, so that the same id is the same string: cheaper than decoding it each time. */
  readonly #names: Array<{ bytes: Buffer; text: string } | undefined> = new Array(NAMES).fill(
    undefined,
  );

  get sessionID(): string | undefined {
    const from = this.#sessionFrom;
    const length = this.#sessionTo - from;
    if (length <= 0 || length > MAX_ID_CHARS) return undefined;
    const bytes = this.#bytes;
    // Session ids differ most at their end.
    const slot =
      ((bytes[this.#sessionTo - 1] ?? 0) * 31 + (bytes[this.#sessionTo - 2] ?? 0)) % NAMES;
    const known = this.#names[slot];
    if (known?.bytes.length === length && this.#startsWith(known.bytes, from)) return known.text;
    const own = Buffer.from(bytes.subarray(from, this.#sessionTo));
    const text = own.toString('latin1');
    this.#names[slot] = { bytes: own, text };
    return text;
  }

  /** Decoded only when asked for: most deltas are reported by their session alone. */
  get directory(): string | undefined {
    if (this.#directoryTo <= this.#directoryFrom) return undefined;
    const raw = this.#bytes.toString('utf8', this.#directoryFrom, this.#directoryTo);
    if (!raw.includes('\\')) return raw;
    try {
      return String(JSON.parse(`"${raw}"`));
    } catch {
      return undefined;
    }
  }

  read(bytes: Buffer, start: number, end: number): void {
    this.#bytes = bytes;
    this.#end = end;
    this.#at = start;
    this.#directoryFrom = this.#directoryTo = 0;
    this.#sessionFrom = this.#sessionTo = 0;
    this.#idFrom = this.#idTo = 0;
    this.#needsEnd = false;
    this.kind = 'unknown';
    if (this.#findData() && this.#byte(OPEN)) this.#readEnvelope();
  }

  /** Of a delta that is one by what stands up to its session's id; undefined where more of it had to be read. */
  get places(): DeltaPlaces | undefined {
    if (this.kind !== 'delta' || this.#idFrom === 0 || this.#needsEnd) return undefined;
    return { idFrom: this.#idFrom, idTo: this.#idTo, sessionTo: this.#sessionTo };
  }

  /** Stands behind `data:` of the first line that has it. */
  #findData(): boolean {
    while (this.#at < this.#end) {
      if (this.#startsWith(DATA, this.#at)) {
        this.#at += DATA.length;
        if (this.#bytes[this.#at] === SPACE) this.#at += 1;
        return true;
      }
      const lf = this.#bytes.indexOf(LF, this.#at);
      if (lf === -1) return false;
      this.#at = lf + 1;
    }
    return false;
  }

  #readEnvelope(): void {
    while (this.#key()) {
      if (this.#is(PAYLOAD)) {
        if (this.#byte(OPEN)) this.#readPayload();
        return;
      }
      if (this.#is(TYPE)) {
        this.#readType();
        return;
      }
      const isDirectory = this.#is(DIRECTORY);
      const isId = this.#is(ID);
      if (!this.#string()) return;
      // On `/event` the frame itself is the payload.
      if (isId) this.#rememberId();
      if (isDirectory) {
        this.#directoryFrom = this.#from;
        this.#directoryTo = this.#to;
      }
      if (!this.#byte(COMMA)) return;
    }
  }

  #readPayload(): void {
    while (this.#key()) {
      if (this.#is(TYPE)) {
        this.#readType();
        return;
      }
      const isId = this.#is(ID);
      if (!this.#string() || !this.#byte(COMMA)) return;
      if (isId) this.#rememberId();
    }
  }

  #rememberId(): void {
    this.#idFrom = this.#from;
    this.#idTo = this.#to;
  }

  #readType(): void {
    if (!this.#string()) return;
    if (this.#is(SYNC)) {
      this.kind = 'sync';
      return;
    }
    const isUpdated = this.#is(PART_UPDATED);
    const isDelta =
      !isUpdated &&
      (this.#is(PART_DELTA) ||
        (this.#startsWith(NEXT, this.#from) &&
          this.#startsWith(DELTA_SUFFIX, this.#to - DELTA_SUFFIX.length)));
    this.kind = 'other';
    if (!this.#byte(COMMA) || !this.#key() || !this.#is(PROPERTIES) || !this.#byte(OPEN)) return;
    this.#needsEnd = isUpdated;
    if (this.#readProperties(isUpdated) || (isDelta && this.#sessionTo > 0)) this.kind = 'delta';
  }

  /** Finds the session; true where an old `message.part.updated` turns out to be a delta. */
  #readProperties(isUpdated: boolean): boolean {
    while (this.#key()) {
      if (isUpdated && this.#is(PART)) return this.#byte(OPEN) && this.#readPart();
      const isSession = this.#is(SESSION_ID);
      if (!(this.#bytes[this.#at] === QUOTE ? this.#string() : this.#number())) return false;
      if (isSession) {
        this.#sessionFrom = this.#from;
        this.#sessionTo = this.#to;
        if (!isUpdated) return false;
      }
      if (!this.#byte(COMMA)) return false;
    }
    return false;
  }

  #readPart(): boolean {
    let isText = false;
    while (this.#key()) {
      if (this.#is(TEXT)) break;
      const isType = this.#is(TYPE);
      const isSession = this.#is(SESSION_ID);
      if (!this.#string()) return false;
      if (isType) isText = this.#is(TEXT) || this.#is(REASONING);
      if (isType && !isText) return false;
      if (isSession) {
        this.#sessionFrom = this.#from;
        this.#sessionTo = this.#to;
      }
      if (!this.#byte(COMMA)) return false;
    }
    if (!isText || this.#sessionTo === 0) return false;
    // Within the frame: what stands before it may be 60 kB of others.
    return this.#bytes.subarray(this.#at, this.#end).lastIndexOf(OLD_DELTA) > 0;
  }

  /** A key and its colon. */
  #key(): boolean {
    return this.#string() && this.#byte(COLON);
  }

  #byte(expected: number): boolean {
    if (this.#at >= this.#end || this.#bytes[this.#at] !== expected) return false;
    this.#at += 1;
    return true;
  }

  #string(): boolean {
    if (!this.#byte(QUOTE)) return false;
    const bytes = this.#bytes;
    const end = this.#end;
    this.#from = this.#at;
    for (let at = this.#at; at < end; at += 1) {
      const byte = bytes[at];
      if (byte === QUOTE) {
        this.#to = at;
        this.#at = at + 1;
        return true;
      }
      // Whatever is escaped is not the end.
      if (byte === BACKSLASH) at += 1;
    }
    return false;
  }

  #number(): boolean {
    const start = this.#at;
    for (let byte = this.#bytes[this.#at]; isNumeric(byte); byte = this.#bytes[this.#at]) {
      this.#at += 1;
    }
    return this.#at > start;
  }

  #is(word: Buffer): boolean {
    return this.#to - this.#from === word.length && this.#startsWith(word, this.#from);
  }

  #startsWith(word: Buffer, from: number): boolean {
    if (from < 0 || from + word.length > this.#end) return false;
    const bytes = this.#bytes;
    for (let index = 0; index < word.length; index += 1) {
      if (bytes[from + index] !== word[index]) return false;
    }
    return true;
  }
}

const isNumeric = (byte: number | undefined) =>
  byte !== undefined && ((byte >= 0x30 && byte <= 0x39) || byte === 0x2e || byte === 0x2d);
