/** A frame whose long strings are cut is still JSON, says the same otherwise, and does not depend on its chunks. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { shortenStrings } from '../../../../src/opencode/http/shorten-strings.js';
import { runs } from '../../../support/mutate.js';

const MAX = 20;

function shortened(bytes: Uint8Array): Buffer {
  const copy = Buffer.from(bytes);
  return copy.subarray(0, shortenStrings(copy, MAX));
}
const read = (value: unknown): unknown => JSON.parse(shortened(json(value)).toString());
const json = (value: unknown) => Buffer.from(JSON.stringify(value));

it('cuts what is long, and leaves all the rest as it is', () => {
  const url = `data:image/png;base64,${'A'.repeat(5_000)}`;
  const short = { status: 'completed', time: { start: 1, end: 2 }, ok: [true, null, '"\\"', ''] };
  expect(read({ ...short, url, id: 'prt_1' })).toEqual({
    ...short,
    url: url.slice(0, MAX),
    id: 'prt_1',
  });
});

it('never cuts an escape in two', () => {
  for (let n = 0; n <= MAX; n += 1) {
    for (const rest of ['"', '\\', '\n', '\u0000', '\ud800', '\\"']) {
      const text = 'x'.repeat(n) + rest.repeat(30);
      expect(text).toContain((read([text, 'end']) as string[])[0]);
      expect(read([text, 'end'])).toHaveProperty('1', 'end');
    }
  }
});

it('says the same of any JSON, however its bytes come', () => {
  const text = fc.string({ unit: fc.constantFrom('a', '"', '\\', '\n', '\u0001', 'ü', '日') });
  const value = fc.array(fc.dictionary(fc.string(), fc.oneof(text, fc.jsonValue())));
  fc.assert(
    fc.property(value, fc.array(fc.nat(40), { maxLength: 40 }), (all, cuts) => {
      const bytes = json(all);
      let held: Buffer = Buffer.alloc(0);
      let from = 0;
      for (const cut of cuts) {
        held = shortened(Buffer.concat([held, bytes.subarray(from, from + cut)]));
        from += cut;
      }
      const whole = shortened(bytes);
      expect(shortened(Buffer.concat([held, bytes.subarray(from)]))).toEqual(whole);
      expect(() => JSON.parse(whole.toString())).not.toThrow();
    }),
    { numRuns: runs(500) },
  );
});
