/** Puts a reply's text together from the events of its run, as it comes. Pure. */
import type { TextKind } from '../driver-api.js';

/** Text of one reply as it comes, with its reasoning. At the limit: the rest comes with the transcript. */
export const MAX_STREAMED_CHARS = 16 * 1024 * 1024;
/** Messages and parts of one reply as it comes. At the limit: the rest comes with the transcript. */
export const MAX_STREAMED_PARTS = 10_000;

interface TextPart {
  of: TextKind;
  text: string;
  /** Deltas of it may have been missed: only its whole is believed now. */
  stale: boolean;
}

export class StreamedText {
  /** Messages of the model: the prompt's own text comes as a part, too. */
  readonly #answers = new Set<string>();
  readonly #parts = new Map<string, TextPart>();
  readonly #onText: ((text: string) => void) | undefined;
  /** The part whose text was told last. */
  #current: string | undefined;
  #told = '';
  /** Characters of all parts. */
  #chars = 0;
  #isFull = false;

  constructor(onText?: (text: string) => void) {
    this.#onText = onText;
  }

  /** All that was told so far. */
  get text(): string {
    return this.#told;
  }

  /** The part that is being written, as far as it has come. */
  get current(): string {
    return this.#parts.get(this.#current ?? '')?.text ?? '';
  }

  /** Events were missed. */
  gap(): void {
    for (const part of this.#parts.values()) part.stale = true;
  }

  /** The reply is known from the transcript: what of it was not told yet is told. */
  finish(reply: string): void {
    if (this.#told.endsWith(reply)) return;
    let overlap = Math.min(reply.length, this.#told.length);
    while (overlap > 0 && !this.#told.endsWith(reply.slice(0, overlap))) overlap -= 1;
    const rest = reply.slice(overlap);
    const told = overlap === 0 && this.#told !== '' ? `\n\n${rest}` : rest;
    this.#told += told;
    this.#onText?.(told);
  }

  /** A message of the model. */
  answer(messageID: string): void {
    if (!this.#isFull) this.#answers.add(messageID);
  }

  /** A part as far as it has come: what of it is new is told. */
  whole(partID: string, messageID: string, of: TextKind, text: string): void {
    if (this.#isFull || !this.#answers.has(messageID)) return;
    const part = this.#parts.get(partID) ?? { of, text: '', stale: false };
    this.#parts.set(partID, part);
    if (!text.startsWith(part.text)) return;
    part.stale = false;
    const rest = text.slice(part.text.length);
    if (!this.#hasRoom(rest)) return;
    part.text = text;
    this.#tell(partID, part, rest);
  }

  added(partID: string, messageID: string, text: string): void {
    const part = this.#parts.get(partID);
    // A part whose beginning was missed comes as a whole at its end.
    if (this.#isFull || !part || part.stale || !this.#answers.has(messageID)) return;
    if (!this.#hasRoom(text)) return;
    part.text += text;
    this.#tell(partID, part, text);
  }

  #hasRoom(text: string): boolean {
    this.#chars += text.length;
    const parts = this.#parts.size + this.#answers.size;
    this.#isFull ||= this.#chars > MAX_STREAMED_CHARS || parts > MAX_STREAMED_PARTS;
    return !this.#isFull;
  }

  #tell(partID: string, part: TextPart, text: string): void {
    if (part.of !== 'text' || text === '') return;
    const isNext = this.#current !== undefined && this.#current !== partID;
    this.#current = partID;
    const told = isNext ? `\n\n${text}` : text;
    this.#told += told;
    this.#onText?.(told);
  }
}
