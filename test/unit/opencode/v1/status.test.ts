/** The short way of reading a status gives what the schema gives. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  id,
  isId,
  MAX_ATTEMPT,
  MAX_EPOCH_MS,
  MIN_EPOCH_MS,
} from '../../../../src/opencode/v1/schemas.js';
import {
  ParseStats,
  plainStatus,
  readStatus,
  schemaStatus,
} from '../../../../src/opencode/v1/status.js';
import { MAX_STATUS_ENTRIES, readStatuses } from '../../../../src/opencode/v1/status-list.js';

const NOW = 1_795_343_500_000;
const numbers = fc.oneof(
  fc.constantFrom(0, -0, 1, 0.5, -1, Number.NaN, Number.POSITIVE_INFINITY, MAX_ATTEMPT),
  fc.constantFrom(MAX_ATTEMPT + 1, MIN_EPOCH_MS, MIN_EPOCH_MS - 1, MAX_EPOCH_MS, MAX_EPOCH_MS + 2),
  fc.constantFrom(NOW, NOW + 5_000, NOW - 5_000),
  fc.double(),
);
const anything = fc.oneof(numbers, fc.string(), fc.jsonValue(), fc.constant(undefined));
const statuses = fc.record(
  {
    type: fc.oneof(
      { weight: 6, arbitrary: fc.constantFrom('retry', 'busy', 'idle', 'ready', 'odd') },
      anything,
    ),
    attempt: fc.oneof({ weight: 3, arbitrary: numbers }, anything),
    message: fc.oneof({ weight: 3, arbitrary: fc.string() }, anything),
    next: fc.oneof({ weight: 3, arbitrary: numbers }, anything),
    action: anything,
    other: anything,
  },
  { requiredKeys: [] },
);

describe('a status that is as it should be', () => {
  it('is read without the schema, and to the same end', () => {
    let plain = 0;
    fc.assert(
      fc.property(fc.oneof({ weight: 9, arbitrary: statuses }, anything), (value) => {
        const short = plainStatus(value);
        if (short === undefined) return;
        plain += 1;
        const long = schemaStatus(value);
        // Of any other type no other field is looked at.
        expect(short).toEqual(short.type === 'retry' ? long : { type: long?.type });
      }),
      { numRuns: 20_000 },
    );
    expect(plain).toBeGreaterThan(5_000);
  });

  it('may be the busy or idle of another session: nobody can change it', () => {
    const [one, other] = [{ type: 'busy' }, { type: 'idle' }].map((value) =>
      readStatus(value, NOW),
    );
    expect([one, other].every((status) => Object.isFrozen(status))).toBe(true);
  });
});

describe('the list of statuses', () => {
  it('has everybody whose id is one, whatever is said of it', () => {
    const oddities = new ParseStats();
    const retry = { type: 'retry', attempt: 2, message: 'm', next: NOW + 1_000 };
    const answer = {
      ses_a: { type: 'busy' },
      ses_b: retry,
      ses_c: 'nonsense',
      '': {},
      ['x'.repeat(257)]: {},
    };
    expect(readStatuses(answer, NOW, oddities)).toEqual({
      kind: 'read',
      statuses: new Map<string, unknown>([
        ['ses_a', { type: 'busy' }],
        ['ses_b', { type: 'retry', attempt: 2, message: 'm', nextInMs: 1_000 }],
        ['ses_c', { type: 'unknown' }],
      ]),
    });
    expect(oddities.garbage).toBe(1);
  });

  it('is refused when it is longer than any server is busy', () => {
    const all = Array.from({ length: MAX_STATUS_ENTRIES + 1 }, (_, index) => [`s${index}`, 0]);
    expect(readStatuses(Object.fromEntries(all), NOW)).toEqual({
      kind: 'too_large',
      entries: MAX_STATUS_ENTRIES + 1,
    });
  });

  it('takes for an id what the schema takes for one', () => {
    const texts = fc
      .tuple(fc.constantFrom('a', 'é', '😀', 'e\u0301'), fc.integer({ min: 0, max: 300 }))
      .map(([character, count]) => character.repeat(count));
    fc.assert(
      fc.property(texts, (text) => {
        expect(isId(text)).toBe(id.safeParse(text).success);
      }),
    );
  });
});

describe('a status off the wire', () => {
  it('never has a negative distance or an attempt below 1, whatever the server says', () => {
    const wild = fc.record({
      type: fc.string(),
      attempt: fc.double(),
      next: fc.double(),
      message: fc.string(),
    });
    fc.assert(
      fc.property(
        fc.oneof(
          wild,
          wild.map((value) => ({ ...value, type: 'retry' })),
        ),
        (value) => {
          const status = readStatus(JSON.parse(JSON.stringify(value)), 1_000);
          if (status?.type !== 'retry') return;
          expect(status.attempt).toBeGreaterThanOrEqual(1);
          expect(status.nextInMs ?? 0).toBeGreaterThanOrEqual(0);
          expect(status.message.length).toBeLessThanOrEqual(300);
        },
      ),
    );
  });

  it('tells of each unknown type once', () => {
    const told: string[] = [];
    const oddities = new ParseStats();
    oddities.onUnknownStatus = (type) => told.push(type);
    for (let n = 0; n < 3; n += 1) readStatus({ type: 'dreaming' }, 0, oddities);
    for (let n = 0; n < 100; n += 1) readStatus({ type: `t${n}` }, 0, oddities);
    expect(told[0]).toBe('dreaming');
    expect(told).toHaveLength(32);
  });
});
