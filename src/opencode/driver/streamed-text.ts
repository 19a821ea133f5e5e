/** Assembles a reply's text from the events of its run, as they come. Pure. */
import type { TextKind } from '../driver-api.js';

/** Text of one reply as it comes, with its reasoning. At the limit: the rest comes with the transcript. */
export const MAX_STREAMED_CHARS = 16 * 1024 * 1024;
/** Messages and parts of one reply as it comes. At the limit: the rest comes with the transcript. */
export const MAX_STREAMED_PARTS = 10_000;

interface TextPart {
  of: TextKind;
  text: string;
  /** Deltas of it may have been missed, so only its whole text is believed now. */
  stale: boolean;
}

export class StreamedText {
  /** The model's messages. They must be known, because the prompt's own text comes as a part, too. */
  readonly #answers = new Set<string>();
  readonly #parts = new Map<string, TextPart>();
  readonly #onText: ((text: string) => void) | undefined;
  /** The part whose text was reported last. */
  #current: string | undefined;
  #told = '';
  /** Characters of all parts. */
  #chars = 0;
  #isFull = false;

  constructor(onText?: (text: string) => void) {
    this.#onText = onText;
  }

  /** All text that was reported so far. */
  get text(): string {
    return this.#told;
  }

  /** The part that is being written, as far as it has come. */
  get current(): string {
    return this.#parts.get(this.#current ?? '')?.text ?? '';
  }

  /** Called when events were missed. */
  gap(): void {
    for (const part of this.#parts.values()) part.stale = true;
  }

  /** Takes the reply from the transcript, and reports what was not reported yet. */
  finish(reply: string): void {
    if (this.#told.endsWith(reply)) return;
    let overlap = Math.min(reply.length, this.#told.length);
    while (overlap > 0 && !this.#told.endsWith(reply.slice(0, overlap))) overlap -= 1;
    const rest = reply.slice(overlap);
    const told = overlap === 0 && this.#told !== '' ? `\n\n${rest}` : rest;
    this.#told += told;
    this.#onText?.(told);
  }

  /** Notes that the message is the model's. */
  answer(messageID: string): void {
    if (!this.#isFull) this.#answers.add(messageID);
  }

  /** Takes the whole text of a part so far, and reports what is new in it. */
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
