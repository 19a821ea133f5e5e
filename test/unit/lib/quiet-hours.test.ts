/** Quiet hours, over midnight too. */
import { expect, it } from 'vitest';
import { isQuietHours, quietFor } from '../../../src/lib/quiet-hours.js';

const at = (hour: number, minute = 0) => new Date(2026, 10, 28, hour, minute).getTime();
const HOUR = 3_600_000;

it.each([
  ['22:00-07:00', at(23), 8 * HOUR],
  ['22:00-07:00', at(6, 30), HOUR / 2],
  ['22:00-07:00', at(7), 0],
  ['22:00-07:00', at(12), 0],
  ['12:00-13:00', at(12, 45), HOUR / 4],
  ['12:00-12:00', at(12), 0],
])('%s lasts from %i for another %i ms', (hours, time, ms) => {
  expect(quietFor(hours, time)).toBe(ms);
});

it('is two times of day', () => {
  expect(['22:00-07:00', '00:00-23:59'].every(isQuietHours)).toBe(true);
  expect(['22-7', '24:00-07:00', '22:00', ''].some(isQuietHours)).toBe(false);
});
