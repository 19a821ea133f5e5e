/** The frame filter: whatever the chunks, the same frames; never a frame lost that is not a delta. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DeltaFilter } from '../../../../src/opencode/http/delta-filter.js';
import { realEvents } from '../real-events.js';

interface Run {
  passed: string;
  progress: string[];
  oversized: Array<string | undefined>;
  counts: DeltaFilter['counts'];
}

function run(chunks: Uint8Array[], maxBytes?: number): Run {
  const progress: string[] = [];
  const oversized: Array<string | undefined> = [];
  const filter = new DeltaFilter(
    {
      progress: (sessionID, { directory }) => progress.push(`${sessionID} ${directory}`),
      oversized: ({ sessionID }) => oversized.push(sessionID),
    },
    maxBytes,
  );
  const passed = Buffer.concat(chunks.map((chunk) => filter.push(chunk) ?? Buffer.alloc(0)));
  return { passed: passed.toString('utf8'), progress, oversized, counts: filter.counts };
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

describe('the frame filter', () => {
  it('takes deltas for progress, drops repetitions, and passes all the rest on byte by byte', () => {
    const seen = whole(
      delta('ses_a', 'x'),
      status('ses_a'),
      sync,
      delta('ses_b', 'ü\n\n'),
      status('ses_b'),
    );
    expect(seen.passed).toBe(status('ses_a') + status('ses_b'));
    expect(seen.progress).toEqual(['ses_a /p', 'ses_b /p']);
    expect(seen.counts).toEqual({ passed: 2, deltas: 2, repeated: 1, oversized: 0 });
  });

  it('reads the frames of /event, which have no envelope and up to 1.3.2 no id', () => {
    const properties = {
      sessionID: 'ses_a',
      messageID: 'm',
      partID: 'p',
      field: 'text',
      delta: 'x',
    };
    const seen = whole(
      frame({ type: 'message.part.delta', properties }),
      frame({ id: 'evt_1', type: 'message.part.delta', properties }),
      frame({ id: 'evt_2', type: 'message.part.delta', properties }),
    );
    expect(seen).toMatchObject({ passed: '', progress: Array(3).fill('ses_a undefined') });
  });

  it('takes an old message.part.updated with a delta behind the whole part for progress', () => {
    const part = { id: 'prt', sessionID: 'ses_a', messageID: 'm', type: 'text', text: 'all of it' };
    const old = (extra: object, change: object = {}) =>
      frame({
        type: 'message.part.updated',
        properties: { part: { ...part, ...change }, ...extra },
      });
    const tool = old({ delta: 'x' }, { type: 'tool', state: { status: 'running' } });
    const plain = old({});
    const seen = whole(old({ delta: 'x' }), tool, plain);
    expect(seen.progress).toEqual(['ses_a undefined']);
    expect(seen.passed).toBe(tool + plain);
  });

  it('takes session.next deltas for progress, whose session follows a number', () => {
    const properties = { timestamp: 1.5, sessionID: 'ses_a', textID: 't', delta: 'x' };
    const seen = whole(
      frame({ directory: '/p', payload: { id: 'e', type: 'session.next.text.delta', properties } }),
    );
    expect(seen).toMatchObject({ passed: '', progress: ['ses_a /p'] });
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
    ];
    // A delta first: the short way that it opens must not be taken by the others.
    expect(whole(delta('ses_a', 'x'), ...frames).passed).toBe(frames.join(''));
  });

  it('names directories with escapes and characters of several bytes', () => {
    const places = ['C:\\Users\\me', '/home/jürgen/"quoted"', '/日本'];
    expect(whole(...places.map((place) => delta('ses_a', 'x', place))).progress).toEqual(
      places.map((place) => `ses_a ${place}`),
    );
  });

  it('drops a frame beyond the bound, says whose it was, and goes on at the next blank line', () => {
    const large = delta('ses_big', 'y'.repeat(3_000));
    const stream = Buffer.from(status('ses_a') + large + status('ses_b'));
    for (const size of [1, 7, 100, 5_000]) {
      const chunks = split(stream, size);
      const seen = run(chunks, 1_000);
      expect(seen.passed).toBe(status('ses_a') + status('ses_b'));
      expect(seen.oversized).toEqual(['ses_big']);
    }
  });

  it('does not keep more than the bound, however long a frame goes on', () => {
    const filter = new DeltaFilter({ progress: () => {}, oversized: () => {} }, 1_000);
    for (let sent = 0; sent < 1_000_000; sent += 500) filter.push(Buffer.alloc(500, 0x61));
    expect(filter.counts.oversized).toBe(1);
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
        ),
      ),
      { maxLength: 12 },
    );
    fc.assert(
      fc.property(frames, fc.array(fc.nat(400), { maxLength: 40 }), (all, cuts) => {
        const bytes = Buffer.from(all.join(''));
        const expected = run([bytes]);
        const chunks: Buffer[] = [];
        let from = 0;
        for (const cut of cuts) {
          chunks.push(bytes.subarray(from, from + cut));
          from += cut;
        }
        chunks.push(bytes.subarray(from));
        expect(run(chunks)).toEqual(expected);
      }),
      { numRuns: 3_000 },
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
      { numRuns: 5_000 },
    );
  });

  it('judges a frame as if it were the first one, whatever deltas came before it', () => {
    const ids = ['evt_1', 'evt_2', 'evt', '', 'evt_"', 'evt_\\', '\n\n', '","type":"x","a":{"b":"'];
    const own = fc.record({
      directory: fc.constantFrom('/p', '/q', '/q/"r"', '/日本', undefined),
      payload: fc.record({
        id: fc.constantFrom(...ids),
        type: fc.constantFrom('message.part.delta', 'session.next.text.delta', 'session.status'),
        properties: fc.record({
          sessionID: fc.constantFrom('ses_a', 'ses_b', 'ses_long', 's', '', 'ses_"', 'ses_\\'),
          messageID: fc.constantFrom('msg_1', 'msg_2'),
          field: fc.constantFrom('text', 'x'.repeat(400)),
          delta: fc.string({ unit: 'grapheme' }),
        }),
      }),
    });
    const line = fc.constantFrom('\n\n', '\r\n\r\n', '\n\r\n', '\ndata: {}\n\n');
    const any = fc.tuple(own, line).map(([value, end]) => Buffer.from(frame(value, end)));
    // Some bytes before a frame's end are others: quotes and ends of lines above all.
    const damage = fc.tuple(fc.nat(300), fc.constantFrom(0x22, 0x5c, 0x0a, 0x0d, 0x41, 0xff));
    const damaged = fc.tuple(any, fc.array(damage, { maxLength: 2 })).map(([bytes, changes]) => {
      for (const [at, to] of changes) if (at < bytes.length - 12) bytes[at] = to;
      return bytes;
    });
    fc.assert(
      fc.property(fc.array(fc.oneof(any, damaged), { maxLength: 25 }), (frames) => {
        const alone = frames.map((bytes) => run([bytes]));
        const total = (name: keyof Run['counts']) =>
          alone.reduce((sum, { counts }) => sum + counts[name], 0);
        for (const chunks of [frames, [Buffer.concat(frames)]]) {
          const seen = run(chunks);
          expect(seen.progress).toEqual(alone.flatMap(({ progress }) => progress));
          expect(seen.passed).toBe(alone.map(({ passed }) => passed).join(''));
          expect(seen.counts.deltas).toBe(total('deltas'));
          expect(seen.counts.repeated).toBe(total('repeated'));
        }
      }),
      { numRuns: 4_000 },
    );
  });

  it('is not deceived by an id that ends early, where a known delta has its own', () => {
    const known = delta('ses_a', 'x').replace('evt_1', 'evt_0123456789abcdefghijklmnop');
    const other = known.replace('evt_0123456789abcdefghijklmnop', 'e","type":"session.idle","b":"');
    const escaped = known.replace(
      'evt_0123456789abcdefghijklmnop',
      'evt_0123456789abcdefghijklmno\\',
    );
    expect(other).toHaveLength(known.length);
    expect(whole(known, known, other, escaped)).toMatchObject({
      passed: other + escaped,
      progress: ['ses_a /p', 'ses_a /p'],
    });
  });

  it('knows as many sessions and directories as it has places for, and forgets rather than grows', () => {
    const names = Array.from({ length: 3_000 }, (_, index) => `ses_${index}`);
    const seen = run(
      [...names, ...names].map((name, index) =>
        Buffer.from(delta(name, 'x', `/project-${index % 200}`)),
      ),
    );
    expect(seen.passed).toBe('');
    expect(seen.progress).toEqual(
      [...names, ...names].map((name, index) => `${name} /project-${index % 200}`),
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
