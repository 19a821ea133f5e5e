/** A passage that is written again and again, and its lawful twins. */
import { expect, it, vi } from 'vitest';
import { MAX_TAIL_CHARS, repeatsAtEnd } from '../../../src/lib/repeats-at-end.js';

const PASSAGE = `${Array.from({ length: 40 }, (_, n) => `word${String.fromCharCode(97 + (n % 26))}${n}`).join(' ')}. `;

it('counts a passage of 200 characters and more back to back', () => {
  expect(PASSAGE.length).toBeGreaterThan(200);
  expect(repeatsAtEnd(`It begins like this. ${PASSAGE.repeat(12)}`)).toBe(12);
});

it('counts whole passages where the last one is still being written', () => {
  expect(repeatsAtEnd(PASSAGE.repeat(12) + PASSAGE.slice(0, 100))).toBe(12);
});

it.each([
  ['zeros', '0'.repeat(20_000)],
  ['a short line', 'All tests pass, going on with the next one.\n'.repeat(500)],
  ['rows of a table without words', `${'| 0 | 1 '.repeat(40)}|\n`.repeat(100)],
  ['CSV whose rows differ', Array.from({ length: 2_000 }, (_, n) => `${n},${n * 7},x`).join('\n')],
  ['prose', PASSAGE],
  ['nothing', ''],
])('finds nothing in %s', (_, text) => {
  expect(repeatsAtEnd(text)).toBe(1);
});

it.each(['0', '\n', 'ab', 'na ', '= '.repeat(99)])(
  'copies little of a long tail of one short passage: %j',
  (passage) => {
    const slices = vi.spyOn(Array.prototype, 'slice');
    const text = passage.repeat(MAX_TAIL_CHARS / passage.length);
    const repeats = repeatsAtEnd(text);
    const calls = slices.mock.calls.length;
    slices.mockRestore();
    expect(repeats).toBe(1);
    expect(calls).toBe(0);
  },
);
