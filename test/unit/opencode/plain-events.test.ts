/** Events that are read by hand say what the schemas would have said of them. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { plainMessage, plainPart, plainSession } from '../../../src/opencode/v1/plain-events.js';
import * as schemas from '../../../src/opencode/v1/schemas.js';
import { realEvents } from './real-events.js';

const KINDS = {
  info: { plain: plainSession, schema: schemas.session, of: /^session\./ },
  message: { plain: plainMessage, schema: schemas.message, of: /^message\.updated/ },
  part: { plain: plainPart, schema: schemas.part, of: /^message\.part\.updated/ },
} as const;

/** What the captured events of that kind are about. */
const real = (of: RegExp): Record<string, unknown>[] =>
  Object.entries(realEvents).flatMap(([name, { payload }]) => {
    const { info, part } = (payload.properties ?? {}) as Record<string, Record<string, unknown>>;
    const value = part ?? info;
    return of.test(name) && value !== undefined ? [value] : [];
  });

const numbers = fc.constantFrom(
  ...[0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, schemas.MAX_ATTEMPT + 1],
  ...[schemas.MIN_EPOCH_MS - 1, schemas.MIN_EPOCH_MS, schemas.MAX_EPOCH_MS + 2, 1_795_343_500_000],
);
const texts = fc.oneof(
  fc.constantFrom('', ' a  b\n', 'tool', 'running', 'x'.repeat(schemas.MAX_ID_CHARS + 1)),
  fc.constantFrom('y'.repeat(schemas.MAX_TITLE_CHARS), 'z'.repeat(schemas.MAX_PATH_CHARS + 1)),
  fc.string({ unit: 'grapheme' }),
);
const objects = fc.dictionary(
  fc.constantFrom('start', 'end', 'created', 'completed', 'compacting', 'sessionId', 'output'),
  fc.oneof(numbers, texts, fc.constant(null)),
);
const models = fc.record({ providerID: texts, modelID: texts }, { requiredKeys: [] });
const anything = fc.oneof(numbers, texts, objects, models, fc.jsonValue(), fc.constant(undefined));
const names = fc.constantFrom(
  ...['id', 'sessionID', 'messageID', 'parentID', 'callID', 'type', 'role', 'title', 'directory'],
  ...[
    'time',
    'model',
    'modelID',
    'providerID',
    'agent',
    'finish',
    'tool',
    'text',
    'state',
    'error',
  ],
);
const states = fc.record(
  { status: texts, time: fc.oneof(objects, anything), metadata: fc.oneof(objects, anything) },
  { requiredKeys: [] },
);
const change = fc.oneof(
  fc.tuple(names, anything),
  fc.tuple(fc.constant('state'), states),
  fc.tuple(fc.constant('attempt'), numbers),
);

it.each(Object.entries(KINDS))('every real %s is read without its schema', (_, kind) => {
  const all = real(kind.of);
  expect(all.length).toBeGreaterThan(0);
  for (const value of all) {
    expect(kind.plain(value)).toEqual(kind.schema.parse(value));
  }
});

it.each(Object.entries(KINDS))(
  'a changed %s is read as its schema does, or left to it',
  (_, kind) => {
    let plain = 0;
    fc.assert(
      fc.property(
        fc.constantFrom(...real(kind.of)),
        fc.array(change, { maxLength: 3 }),
        anything,
        fc.nat(50),
        (value, changes, other, dice) => {
          const input: unknown = dice === 0 ? other : { ...value, ...Object.fromEntries(changes) };
          const read = kind.plain(input);
          if (read === undefined) return;
          plain += 1;
          expect(read).toEqual(kind.schema.parse(input));
        },
      ),
      { numRuns: 8_000 },
    );
    expect(plain).toBeGreaterThan(2_000);
  },
);
