/** What a session and its directory are called in a sentence. */
import { expect, test } from 'vitest';
import { projectOf } from '../../../src/telemetry/catalogue/session-name.js';

test.each([
  ['/srv/shop', 'shop'],
  ['/srv/shop//', 'shop'],
  ['C:\\work\\shop\\', 'shop'],
  ['shop', 'shop'],
  ['/', undefined],
  ['', undefined],
])('the project of %s is %s', (directory, project) => {
  expect(projectOf(directory)).toBe(project);
});

test('a long name of a directory takes no longer than many short ones', () => {
  // Milliseconds; were the time quadratic, the runner's limit would be passed.
  expect(projectOf(`/${'a'.repeat(2 ** 20)}/shop`)).toBe('shop');
  expect(projectOf(`/a${'/'.repeat(2 ** 20)}shop`)).toBe('shop');
});
