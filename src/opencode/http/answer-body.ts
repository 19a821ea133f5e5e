/** Takes the body out of an answer's bytes, however it is framed (RFC 9112, section 6.3), without a copy. */
import type { Buffer } from 'node:buffer';
import type { Framing } from './answer-head.js';
import { ChunkedBody } from './chunked-body.js';

export class AnswerBody {
  /** It ends with the connection: until then it is never whole. */
  readonly endsByClose: boolean;
  readonly #chunks: ChunkedBody | undefined;
  #left: number;

  constructor(framing: Framing) {
    this.endsByClose = framing.by === 'close';
    this.#chunks = framing.by === 'chunks' ? new ChunkedBody() : undefined;
    this.#left = framing.by === 'length' ? framing.bytes : Number.POSITIVE_INFINITY;
  }

  get isWhole(): boolean {
    return this.#chunks ? this.#chunks.isDone : this.#left === 0;
  }

  /** Gives each piece of the body that is in these bytes. @throws where they are not as was said */
  push(
    bytes: Buffer,
    from: number,
    to: number,
    piece: (bytes: Buffer, from: number, to: number) => void,
  ): void {
    if (this.#chunks) {
      this.#chunks.push(bytes, from, to, piece);
      return;
    }
    const end = Math.min(to, from + this.#left);
    this.#left -= end - from;
    if (end > from) piece(bytes, from, end);
    if (end < to) throw new Error('it went on behind its end');
  }
}
