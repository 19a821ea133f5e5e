import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatDuration, formatSize, parseDuration, parseSize } from '../../../src/config/units.js';

describe('durations and sizes', () => {
  it.each([
    ['500ms', 500],
    ['30s', 30_000],
    ['5m', 300_000],
    ['2h', 7_200_000],
    ['1d', 86_400_000],
    ['1.5s', 1_500],
    ['0', 0],
    ['250', 250],
    [250, 250],
  ])('reads the duration %s as %d ms', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  it.each([
    '',
    's',
    '-1s',
    '5 minutes',
    '5M',
    '1e3',
    '5m30s',
    'Infinity',
    1.5,
    -1,
    Number.NaN,
    null,
    [],
    {},
  ])('refuses %j as a duration', (value) => {
    expect(parseDuration(value)).toBeUndefined();
  });

  it.each([
    ['512MiB', 512 * 1024 ** 2],
    ['4GiB', 4 * 1024 ** 3],
    ['64KiB', 65_536],
    ['5MB', 5_000_000],
    ['2GB', 2_000_000_000],
    [1024, 1024],
  ])('reads the size %s as %d bytes', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  it('prints durations as the contract writes them', () => {
    expect([60_000, 300_000, 3_600_000, 14_400_000, 1_000, 1_500, 0].map(formatDuration)).toEqual([
      '60s',
      '5m',
      '60m',
      '4h',
      '1s',
      '1500ms',
      '0',
    ]);
  });

  it('reads back whatever it prints', () => {
    fc.assert(
      fc.property(fc.nat({ max: 2 ** 45 }), (amount) => {
        expect(parseDuration(formatDuration(amount))).toBe(amount);
        expect(parseSize(formatSize(amount))).toBe(amount);
      }),
    );
  });
});
