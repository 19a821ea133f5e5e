import { expect, test } from 'vitest';
import { BoundedMap } from '../../../src/lib/bounded.js';

test('a bounded map forgets its oldest, and what is set again is the newest', () => {
  const map = new BoundedMap<string, number>(3);
  for (const [n, key] of ['a', 'b', 'c', 'a', 'd', 'e'].entries()) map.set(key, n);
  expect([...map]).toEqual([
    ['a', 3],
    ['d', 4],
    ['e', 5],
  ]);
});
