/** What is read from a server's URL. */
import { expect, it } from 'vitest';
import { withoutEndSlashes } from '../../../src/lib/server-address.js';

it.each([
  ['http://h:1/', 'http://h:1'],
  ['http://h:1/a//', 'http://h:1/a'],
  ['http://h:1', 'http://h:1'],
  ['/', ''],
])('%s without slashes at its end', (url, shown) => {
  expect(withoutEndSlashes(url)).toBe(shown);
});

it('takes no longer where many slashes stand before the end', () => {
  // Milliseconds; were the time quadratic, the runner's limit would be passed.
  const url = `http://h:1${'/'.repeat(2 ** 20)}a`;
  expect(withoutEndSlashes(`${url}/`)).toBe(url);
});
