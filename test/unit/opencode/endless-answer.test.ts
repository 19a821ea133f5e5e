/** The head and the chunks of an endless answer, read from bytes: RFC 9112, and nothing that could be two things. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_ANSWER_HEAD_BYTES, readAnswerHead } from '../../../src/opencode/http/answer-head.js';
import {
  ChunkedBody,
  MAX_CHUNK_EXTENSION_BYTES,
  MAX_TRAILER_BYTES,
} from '../../../src/opencode/http/chunked-body.js';

const head = (...lines: string[]) => readAnswerHead(Buffer.from(`${lines.join('\r\n')}\r\n\r\n`));

describe('the head of an answer', () => {
  it('says the status, the type of its content and where its body ends', () => {
    const bytes = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n';
    const type = { status: 200, contentType: 'text/event-stream' };
    const read = (rest: string) => readAnswerHead(Buffer.from(`${bytes}${rest}\r\n\r\ndata: x`));
    const bodyFrom = (rest: string) => bytes.length + rest.length + 4;
    const chunked = 'Transfer-Encoding: Chunked';
    expect(read(chunked)).toEqual({
      ...type,
      framing: { by: 'chunks' },
      bodyFrom: bodyFrom(chunked),
    });
    const length = 'Content-Length:  7 ';
    expect(read(length)).toEqual({
      ...type,
      framing: { by: 'length', bytes: 7 },
      bodyFrom: bodyFrom(length),
    });
    expect(read('X-Y: z')).toMatchObject({ framing: { by: 'close' } });
  });

  it('is not there before its end is', () => {
    const bytes = Buffer.from('HTTP/1.1 200 OK\r\nServer: x\r\n\r\n');
    for (let length = 0; length < bytes.length; length += 1) {
      expect(readAnswerHead(bytes.subarray(0, length))).toBeUndefined();
    }
    expect(readAnswerHead(bytes)).toMatchObject({ status: 200, contentType: undefined });
  });

  it('comes after any interim answers, but for a change of protocols', () => {
    const interim = 'HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n';
    const bytes = Buffer.from(`${interim}${interim}HTTP/1.1 204 No Content\r\n\r\n`);
    expect(readAnswerHead(bytes)).toMatchObject({ status: 204, bodyFrom: bytes.length });
    expect(head('HTTP/1.1 101 Switching Protocols')).toMatchObject({ status: 101 });
    expect(() => readAnswerHead(Buffer.from(`HTTP/1.0 103 Early Hints\r\n\r\n${bytes}`))).toThrow(
      'interim',
    );
  });

  it.each([
    ['something else than HTTP/1', ['SSH-2.0-x']],
    ['another version', ['HTTP/2 200 OK']],
    ['a status that is none', ['HTTP/1.1 2000 OK']],
    ['a line without a colon', ['HTTP/1.1 200 OK', 'nothing']],
    ['a name with a space', ['HTTP/1.1 200 OK', 'Content-Length : 3']],
    ['a folded line', ['HTTP/1.1 200 OK', 'X: y', ' z']],
    ['a bare LF', ['HTTP/1.1 200 OK', 'X: y\nZ: a']],
    ['a bare CR', ['HTTP/1.1 200 OK', 'X: y\rZ: a']],
    ['two lengths', ['HTTP/1.1 200 OK', 'Content-Length: 3', 'Content-Length: 3']],
    ['a length that is no number', ['HTTP/1.1 200 OK', 'Content-Length: -3']],
    ['chunks and a length', ['HTTP/1.1 200 OK', 'Content-Length: 3', 'Transfer-Encoding: chunked']],
    ['another coding', ['HTTP/1.1 200 OK', 'Transfer-Encoding: gzip, chunked']],
    ['chunks in HTTP/1.0', ['HTTP/1.0 200 OK', 'Transfer-Encoding: chunked']],
  ])('with %s is refused', (_, lines) => {
    expect(() => head(...lines)).toThrow();
  });

  it('of more than 16 KiB is refused, whether its end has come or not', () => {
    const long = `HTTP/1.1 200 OK\r\nX: ${'y'.repeat(MAX_ANSWER_HEAD_BYTES)}`;
    expect(() => readAnswerHead(Buffer.from(long))).toThrow('too long');
    expect(() => head(long)).toThrow('too long');
    const interim = 'HTTP/1.1 100 Continue\r\n\r\n'.repeat(1_000);
    expect(() => readAnswerHead(Buffer.from(interim))).toThrow('too long');
  });

  it('never breaks in another way, whatever a server sends', () => {
    const line = fc.oneof(
      fc.constantFrom('HTTP/1.1 200 OK', 'Content-Length: 5', 'Transfer-Encoding: chunked', ''),
      fc.string({ unit: 'binary' }),
    );
    const text = fc.array(line, { maxLength: 6 }).map((lines) => lines.join('\r\n'));
    fc.assert(
      fc.property(text, (sent) => {
        try {
          readAnswerHead(Buffer.from(`${sent}\r\n\r\n`, 'latin1'));
        } catch (error) {
          expect((error as Error).message).toMatch(/answer|header/);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

/** What a body is, with its bytes in pieces of these lengths. */
function read(bytes: Buffer, cuts: readonly number[] = []): { body: string; isDone: boolean } {
  const chunks = new ChunkedBody();
  const pieces: Buffer[] = [];
  const take = (from: number, to: number) =>
    chunks.push(bytes, from, to, (all, start, end) => {
      pieces.push(Buffer.from(all.subarray(start, end)));
    });
  let from = 0;
  for (const cut of cuts) {
    const to = Math.min(from + cut, bytes.length);
    take(from, to);
    from = to;
  }
  take(from, bytes.length);
  return { body: Buffer.concat(pieces).toString('latin1'), isDone: chunks.isDone };
}

interface Chunk {
  text: string;
  zeros: string;
  isUpper: boolean;
  extension: string;
}

describe('a body in chunks', () => {
  const chunk: fc.Arbitrary<Chunk> = fc.record({
    text: fc.string({ unit: 'binary', minLength: 1, maxLength: 300 }),
    zeros: fc.constantFrom('', '0', '000'),
    isUpper: fc.boolean(),
    extension: fc.constantFrom('', ';', ' ;a=b', '\t;q="x y"'),
  });
  const encode = ({ text, zeros, isUpper, extension }: Chunk) => {
    const data = Buffer.from(text, 'latin1');
    const size = data.length.toString(16);
    const line = `${zeros}${isUpper ? size.toUpperCase() : size}${extension}\r\n`;
    return Buffer.concat([Buffer.from(line), data, Buffer.from('\r\n')]);
  };

  it('is the same for any split of its bytes', () => {
    const trailer = fc.constantFrom('', 'X: y\r\n', 'X: y\r\nZ: a\r\n');
    const cuts = fc.array(fc.nat(60), { maxLength: 60 });
    fc.assert(
      fc.property(fc.array(chunk, { maxLength: 8 }), trailer, cuts, (all, last, lengths) => {
        const bytes = Buffer.concat([...all.map(encode), Buffer.from(`0\r\n${last}\r\n`)]);
        const expected = { body: all.map(({ text }) => latin1(text)).join(''), isDone: true };
        expect(read(bytes, lengths)).toEqual(expected);
      }),
      { numRuns: 1_500 },
    );
  });

  it.each([
    ['no size', '\r\n'],
    ['a size that is none', 'xyz\r\n'],
    ['a size beyond 4 GiB', '123456789\r\n'],
    ['a bare LF behind the size', '3\nabc\r\n'],
    ['more data than it said', '3\r\nabcd\r\n'],
    ['a bare LF behind the data', '3\r\nabc\n'],
    ['a bare LF in an extension', '3;a\nb\r\nabc\r\n'],
    ['a bare LF in the trailer', '0\r\nX: y\n\r\n'],
    ['something behind its end', '0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n'],
    ['too long an extension', `3;${'a'.repeat(MAX_CHUNK_EXTENSION_BYTES + 1)}\r\nabc\r\n`],
    ['too long a trailer', `0\r\n${'X: y\r\n'.repeat(MAX_TRAILER_BYTES / 2)}\r\n`],
  ])('with %s is refused', (_, text) => {
    expect(() => read(Buffer.from(text))).toThrow();
  });
});

const latin1 = (text: string) => Buffer.from(text, 'latin1').toString('latin1');
