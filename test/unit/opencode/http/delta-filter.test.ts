/** The delta filter: whatever the chunks, the same frames; never a frame lost that is not redundant. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DeltaFilter, MAX_FRAME_BYTES } from '../../../../src/opencode/http/delta-filter.js';
import { directoryOf, isDelta, readHead } from '../../../../src/opencode/v1/frame-head.js';
import { runs } from '../../../support/mutate.js';
import { realEvents } from '../real-events.js';

interface Run {
  passed: string;
  /** Session and directory of what was held back. */
  deltas: string[];
  oversized: Array<string | undefined>;
  frames: number;
}

/** Holds back every delta, and the repetitions. */
function run(chunks: Uint8Array[], maxBytes?: number): Run {
  const deltas: string[] = [];
  const oversized: Array<string | undefined> = [];
  const filter = new DeltaFilter(
    {
      isRedundant: (head) => {
        const known = readHead(head);
        if (known?.sessionID === undefined || !isDelta(known.type)) return known?.type === 'sync';
        deltas.push(`${known.sessionID} ${directoryOf(known)}`);
        return true;
      },
      onOversized: (head) => void oversized.push(readHead(head)?.sessionID),
    },
    maxBytes,
  );
  const passed = Buffer.concat(chunks.map((chunk) => filter.push(chunk) ?? Buffer.alloc(0)));
  return { passed: passed.toString('utf8'), deltas, oversized, frames: filter.frames };
}

const whole = (...frames: string[]) => run([Buffer.from(frames.join(''))]);
const frame = (value: unknown, end = '\n\n') => `data: ${JSON.stringify(value)}${end}`;

const delta = (sessionID: string, text: string, directory = '/p') =>
  frame({
    directory,
    project: 'global',
    payload: {
      id: 'evt_1',
      type: 'message.part.delta',
      properties: { sessionID, messageID: 'msg_1', partID: 'prt_1', field: 'text', delta: text },
    },
  });
const status = (sessionID: string, type = 'busy') =>
  frame({
    directory: '/p',
    payload: { id: 'evt_2', type: 'session.status', properties: { sessionID, status: { type } } },
  });
const sync = frame({
  directory: '/p',
  payload: { type: 'sync', syncEvent: { type: 'message.updated.1' }, id: 'evt_3' },
});

describe('the delta filter', () => {
  it('takes out deltas and repetitions, and passes all the rest on byte by byte', () => {
    const seen = whole(
      delta('ses_a', 'x'),
      status('ses_a'),
      sync,
      delta('ses_b', 'ü\n\n'),
      status('ses_b'),
    );
    expect(seen).toEqual({
      passed: status('ses_a') + status('ses_b'),
      deltas: ['ses_a /p', 'ses_b /p'],
      oversized: [],
      frames: 5,
    });
  });

  it('reads the frames of /event, which have no envelope and up to 1.3.2 no id', () => {
    const properties = { sessionID: 'ses_a', messageID: 'm', field: 'text', delta: 'x' };
    const seen = whole(
      frame({ type: 'message.part.delta', properties }),
      frame({ id: 'evt_1', type: 'message.part.delta', properties }),
    );
    expect(seen).toMatchObject({ passed: '', deltas: Array(2).fill('ses_a undefined') });
  });

  it('takes out session.next deltas, whose session follows a number', () => {
    const properties = { timestamp: 1.5, sessionID: 'ses_a', textID: 't', delta: 'x' };
    const seen = whole(
      frame({ directory: '/p', payload: { id: 'e', type: 'session.next.text.delta', properties } }),
    );
    expect(seen).toMatchObject({ passed: '', deltas: ['ses_a /p'] });
  });

  it('knows every captured event of 1.18.33 by its head, and holds back none but deltas and syncs', () => {
    for (const event of Object.values(realEvents)) {
      const { payload } = event as { payload: { type: string } };
      expect(readHead(frame(event))?.type).toBe(payload.type);
      expect(whole(frame(event)).passed).toBe(isDropped(event) ? '' : frame(event));
    }
  });

  it('is not deceived by the same words in a deeper place', () => {
    const nested = {
      payload: { id: 'e', type: 'message.part.delta', properties: { sessionID: 's' } },
    };
    const frames = [
      frame({ directory: '/p', payload: { id: 'e', type: 'x', properties: { input: nested } } }),
      frame({ directory: '/p', payload: { id: 'e', properties: nested, type: 'session.status' } }),
      frame({ directory: '"type":"sync"', payload: { id: 'e', type: 'x', properties: {} } }),
      frame({ directory: '/p', info: nested, payload: { type: 'x' } }),
      delta('ses_a', 'x').replace('evt_1', 'e","type":"session.idle","b":"'),
      delta('ses_a', 'x').replace('evt_1', 'e\\'),
    ];
    expect(whole(delta('ses_a', 'x'), ...frames).passed).toBe(frames.join(''));
  });

  it('names directories with escapes and characters of several bytes', () => {
    const places = ['C:\\Users\\me', '/home/jürgen/"quoted"', '/日本'];
    const heads = places.map((place) => Buffer.from(delta('ses_a', 'x', place)).toString('latin1'));
    expect(heads.map((head) => directoryOf(readHead(head)!))).toEqual(places);
  });

  it('drops a frame beyond the bound, says whose it was, and goes on at the next blank line', () => {
    const large = frame({
      payload: {
        type: 'session.diff',
        properties: { sessionID: 'ses_big', diff: Array(900).fill('y') },
      },
    });
    const stream = Buffer.from(status('ses_a') + large + status('ses_b'));
    for (const size of [1, 7, 100, 5_000]) {
      const seen = run(split(stream, size), 1_000);
      expect(seen.passed).toBe(status('ses_a') + status('ses_b'));
      expect(seen.oversized).toEqual(['ses_big']);
      expect(seen.frames).toBe(3);
    }
  });

  it('passes a frame that is large because of a file in it, with all but the file', () => {
    const read = realEvents['message.part.updated:tool:completed:bash']!;
    const { properties } = read.payload as { properties: { part: { state: object } } };
    const withFile = (url: string) => ({
      ...read,
      payload: {
        ...read.payload,
        properties: {
          ...properties,
          part: {
            ...properties.part,
            state: { ...properties.part.state, attachments: [{ type: 'file', url }] },
          },
        },
      },
    });
    const url = `data:application/pdf;base64,${'A'.repeat(2 * MAX_FRAME_BYTES)}`;
    const stream = Buffer.from(status('ses_a') + frame(withFile(url)) + status('ses_b'));
    for (const size of [65_536, 1_500_000, stream.length]) {
      const seen = run(split(stream, size));
      const left = frame(withFile(url.slice(0, 65_536)));
      expect(seen.passed === status('ses_a') + left + status('ses_b')).toBe(true);
      expect(seen).toMatchObject({ oversized: [], frames: 3 });
    }
  });

  it('gives the same frames for any split of the bytes into chunks', () => {
    const frames = fc.array(
      fc.oneof(
        fc
          .tuple(fc.constantFrom('ses_a', 'ses_b'), fc.string({ unit: 'grapheme' }))
          .map((args) => delta(...args)),
        fc.string().map((id) => status(id)),
        fc.constant(sync),
        fc.constantFrom(...Object.values(realEvents)).map((event) => frame(event)),
        fc.json().map((json) => `data: ${json}\r\n\r\n`),
        fc.constantFrom(
          ': comment\n\n',
          '\n',
          'event: message\ndata: {}\n\n',
          'data: {"payload"\n\n',
          `data: ${'x'.repeat(2_000)}\n\n`,
          `data: {"a":"${'\\n'.repeat(2_000)}","b":1}\n\n`,
        ),
      ),
      { maxLength: 12 },
    );
    fc.assert(
      fc.property(frames, fc.array(fc.nat(400), { maxLength: 40 }), (all, cuts) => {
        const bytes = Buffer.from(all.join(''));
        const expected = run([bytes], 1_500);
        const chunks: Buffer[] = [];
        let from = 0;
        for (const cut of cuts) {
          chunks.push(bytes.subarray(from, from + cut));
          from += cut;
        }
        chunks.push(bytes.subarray(from));
        expect(run(chunks, 1_500)).toEqual(expected);
      }),
      { numRuns: runs(2_000) },
    );
  });

  it('never loses a frame that is neither delta nor repetition', () => {
    const anything = fc.oneof(
      fc.constantFrom(...Object.values(realEvents)),
      fc.jsonValue(),
      fc.record({ directory: fc.string(), payload: fc.jsonValue() }),
    );
    fc.assert(
      fc.property(fc.array(anything, { maxLength: 8 }), (values) => {
        const kept = values.filter((value) => !isDropped(value));
        const seen = whole(...values.map((value) => frame(value)));
        expect(seen.passed).toBe(kept.map((value) => frame(value)).join(''));
      }),
      { numRuns: runs(3_000) },
    );
  });

  it('passes frames with CRLF line ends', () => {
    const crlf = `data: ${JSON.stringify({ payload: { type: 'x' } })}\r\n\r\n`;
    expect(run(split(Buffer.from(crlf + delta('s', 'x') + crlf), 3)).passed).toBe(crlf + crlf);
  });
});

function isDropped(value: unknown): boolean {
  const payload = (value as { payload?: { type?: unknown } } | null)?.payload;
  return payload?.type === 'sync' || payload?.type === 'message.part.delta';
}

function split(bytes: Buffer, size: number): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.subarray(at, at + size));
  return chunks;
}
