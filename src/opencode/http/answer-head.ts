/**
 * Reads the head of an HTTP/1.1 answer (RFC 9112, sections 2 to 6), as far as an endless body needs it. Pure.
 *
 * Stricter than it would have to be: what could be understood in two ways is refused, as RFC 9112, section 6.3, asks.
 */
import type { Buffer } from 'node:buffer';

/** All that comes before the body, interim answers included: Node's own measure (`--max-http-header-size`). */
export const MAX_ANSWER_HEAD_BYTES = 16 * 1024;

/** Where the body ends: RFC 9112, section 6.3. */
export type Framing = { by: 'chunks' } | { by: 'length'; bytes: number } | { by: 'close' };

export interface AnswerHead {
  status: number;
  contentType: string | undefined;
  framing: Framing;
  /** Where in the bytes the body begins. */
  bodyFrom: number;
}

const END = '\r\n\r\n';
const STATUS_LINE = /^HTTP\/1\.([01]) (\d{3})(?: [^\r\n]*)?$/;
const FIELD_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const LENGTH = /^\d{1,15}$/;
/** What no field's value holds (RFC 9110, section 5.5): a bare CR or LF above all. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is looked for.
const CONTROL = /[\0-\x08\x0a-\x1f\x7f]/;
const PROTOCOLS_SWITCHED = 101;

/** Undefined where the head's end is not there yet. @throws where it is none, or too long. */
export function readAnswerHead(bytes: Buffer): AnswerHead | undefined {
  for (let from = 0; ; ) {
    const end = bytes.indexOf(END, from, 'latin1');
    const length = end === -1 ? bytes.length : end + END.length;
    // So long, and no end: also where the end has come with more of the body.
    if (length > MAX_ANSWER_HEAD_BYTES) throw new Error('the head of its answer is too long');
    if (end === -1) return undefined;
    const { isCurrent, ...head } = readOne(bytes.toString('latin1', from, end), length);
    // An interim answer (RFC 9110, section 15.2): the one that counts follows.
    if (head.status >= 200 || head.status === PROTOCOLS_SWITCHED) return head;
    // HTTP/1.0 had none: whatever said this, it cannot be told what follows.
    if (!isCurrent) throw new Error('it gives an interim answer in HTTP/1.0');
    from = length;
  }
}

function readOne(text: string, bodyFrom: number): AnswerHead & { isCurrent: boolean } {
  const [first = '', ...lines] = text.split('\r\n');
  const [, minor, status] = STATUS_LINE.exec(first) ?? [];
  if (status === undefined) throw new Error('it does not answer in HTTP/1.1');
  const fields = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(0, colon)).toLowerCase();
    const value = withoutSpace(line.slice(colon + 1));
    if (!FIELD_NAME.test(name) || CONTROL.test(value)) throw new Error('a header of it is none');
    const known = fields.get(name);
    fields.set(name, known === undefined ? value : `${known}, ${value}`);
  }
  const contentType = fields.get('content-type');
  const isCurrent = minor === '1';
  const framing = framingOf(
    fields.get('transfer-encoding'),
    fields.get('content-length'),
    isCurrent,
  );
  return { status: Number(status), contentType, framing, bodyFrom, isCurrent };
}

/** Of spaces and tabs alone: what else `trim` takes for space is none here. */
function withoutSpace(text: string): string {
  let from = 0;
  let to = text.length;
  while (text[from] === ' ' || text[from] === '\t') from += 1;
  while (to > from && (text[to - 1] === ' ' || text[to - 1] === '\t')) to -= 1;
  return text.slice(from, to);
}

function framingOf(encoding?: string, length?: string, isCurrent?: boolean): Framing {
  if (encoding !== undefined) {
    // Both, or one in HTTP/1.0, may be an attempt to smuggle something by (RFC 9112, sections 6.1 and 6.3).
    if (length !== undefined || !isCurrent || encoding.toLowerCase() !== 'chunked') {
      throw new Error('where its answer ends cannot be told');
    }
    return { by: 'chunks' };
  }
  if (length === undefined) return { by: 'close' };
  if (!LENGTH.test(length)) throw new Error('the length of its answer is no number');
  return { by: 'length', bytes: Number(length) };
}
