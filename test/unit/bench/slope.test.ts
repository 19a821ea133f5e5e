import { describe, expect, it } from 'vitest';
import { growthOf, handlesGrow, isFlat, type Sample } from '../../../bench/slope.js';

const MB = 1_000_000;
const START = 80 * MB;

/** A soak of `million` events in `count` looks; `bytes` says what memory shows after how many million events. */
function soak(million: number, bytes: (millions: number, i: number) => number, count = 120) {
  return Array.from({ length: count }, (_, i): Sample => {
    const done = (million * (i + 1)) / count;
    return { events: done * 1_000_000, bytes: bytes(done, i) };
  });
}

/** The same for every run: a sawtooth of uncollected garbage, and every seventh look a late collection. */
const noise = (i: number) => ((i * 37) % 11) * 0.4 * MB + (i % 7 === 0 ? 9 * MB : 0);

describe('growth with the traffic', () => {
  it('is found where 4 MB leak with each million events, through the noise', () => {
    const growth = growthOf(soak(1.5, (done, i) => START + 4 * MB * done + noise(i)));
    expect(growth?.slope).toBeGreaterThan(3);
    expect(isFlat(growth)).toBe(false);
  });

  it('is found also where the leak comes on top of a warm-up', () => {
    const warmUp = (done: number) => 30 * MB * (1 - Math.exp(-done / 0.12));
    const growth = growthOf(
      soak(1.5, (done, i) => START + warmUp(done) + 4 * MB * done + noise(i)),
    );
    expect(isFlat(growth)).toBe(false);
  });

  it('is not held against a warm-up, however high', () => {
    const growth = growthOf(
      soak(1.5, (done, i) => START + 60 * MB * (1 - Math.exp(-done / 0.1)) + noise(i)),
    );
    expect(isFlat(growth)).toBe(true);
  });

  it('is not held against maps that fill up to their bound', () => {
    const growth = growthOf(
      soak(1.5, (done, i) => START + 40 * MB * Math.min(done, 0.5) + noise(i)),
    );
    expect(isFlat(growth)).toBe(true);
  });

  it('is none where memory falls', () => {
    expect(isFlat(growthOf(soak(1, (done, i) => START - 5 * MB * done + noise(i))))).toBe(true);
  });

  it('is judged as it is at the limit: 1.9 MB pass, 2.2 MB do not', () => {
    expect(isFlat(growthOf(soak(2, (done) => START + 1.9 * MB * done)))).toBe(true);
    expect(isFlat(growthOf(soak(2, (done) => START + 2.2 * MB * done)))).toBe(false);
  });

  it('passes nothing on too few looks', () => {
    expect(isFlat(growthOf(soak(1, () => START, 5)))).toBe(false);
    expect(isFlat(growthOf([]))).toBe(false);
  });
});

describe('open descriptors', () => {
  it('may come and go, and may not be more and more', () => {
    const steady = Array.from({ length: 80 }, (_, i) => 20 + ((i * 7) % 15));
    expect(handlesGrow(steady)).toBe(false);
    expect(handlesGrow(steady.map((count, i) => count + i / 2))).toBe(true);
  });
});
