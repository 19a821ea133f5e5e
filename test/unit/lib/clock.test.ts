/** The real clock, on timers that the test moves. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { SystemClock } from '../../../src/lib/clock.js';

beforeEach(() => {
  vi.useFakeTimers({
    toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance', 'Date'],
  });
});
afterEach(() => {
  vi.useRealTimers();
});

describe('coarse timers', () => {
  it('share the beat: one wake-up a second serves all of them', () => {
    const clock = new SystemClock();
    clock.start(() => {});
    const times: number[] = [];
    const look = () => {
      times.push(performance.now());
      clock.after(1_000, look, { coarse: true });
    };
    const begin = performance.now();
    for (const delay of [0, 137, 333, 499, 250]) {
      vi.advanceTimersByTime(delay);
      clock.after(1_000, look, { coarse: true });
    }
    vi.advanceTimersByTime(4_000);
    expect(times.length).toBeGreaterThanOrEqual(15);
    expect([...new Set(times.map((time) => (time - begin) % 1_000))]).toEqual([0]);
    expect(vi.getTimerCount()).toBe(1);
    clock.stop();
  });

  it('come within half a second of their time', () => {
    const clock = new SystemClock();
    clock.start(() => {});
    for (const ms of [1_000, 1_200, 2_500, 4_999, 60_000]) {
      const begin = performance.now();
      let took: number | undefined;
      clock.after(
        ms,
        () => {
          took = performance.now() - begin;
        },
        { coarse: true },
      );
      vi.advanceTimersByTime(ms + 600);
      expect(Math.abs((took ?? Number.NaN) - ms)).toBeLessThanOrEqual(500);
    }
    clock.stop();
  });

  it('do not fire once they are cancelled, not even by one that fires before them', () => {
    const clock = new SystemClock();
    clock.start(() => {});
    const fired: string[] = [];
    clock.after(
      1_000,
      () => {
        fired.push('first');
        second.cancel();
      },
      { coarse: true },
    );
    const second = clock.after(1_000, () => fired.push('second'), { coarse: true });
    vi.advanceTimersByTime(5_000);
    expect(fired).toEqual(['first']);
    clock.stop();
  });

  it('fire also where there is no beat, and where it ends before they are due', () => {
    const clock = new SystemClock();
    const fired: string[] = [];
    clock.after(1_000, () => fired.push('before'), { coarse: true });
    clock.start(() => {});
    clock.after(1_500, () => fired.push('ended'), { coarse: true });
    const cancelled = clock.after(1_500, () => fired.push('cancelled'), { coarse: true });
    clock.stop();
    cancelled.cancel();
    vi.advanceTimersByTime(2_000);
    expect(fired).toEqual(['before', 'ended']);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('a gap', () => {
  function watched() {
    const clock = new SystemClock();
    const gaps: number[] = [];
    clock.start((ms) => gaps.push(ms));
    return { clock, gaps };
  }

  it('is a suspend, in which the monotonic clock stands still', () => {
    const { clock, gaps } = watched();
    const before = clock.now();
    vi.setSystemTime(Date.now() + 8 * 3_600_000);
    vi.advanceTimersByTime(1_000);
    expect(gaps).toEqual([8 * 3_600_000]);
    expect(clock.now() - before).toBe(1_000);
    vi.advanceTimersByTime(10_000);
    expect(gaps).toHaveLength(1);
    clock.stop();
  });

  it('is known before anybody gets the time', () => {
    const { clock, gaps } = watched();
    vi.setSystemTime(Date.now() + 60_000);
    clock.now();
    expect(gaps).toEqual([60_000]);
    clock.stop();
  });

  it('is no correction of the wall clock by seconds, and no step back', () => {
    const { clock, gaps } = watched();
    for (const step of [10_000, 20_000, -8 * 3_600_000, -20_000, 20_000]) {
      vi.setSystemTime(Date.now() + step);
      vi.advanceTimersByTime(1_000);
    }
    expect(gaps).toEqual([]);
    clock.stop();
  });
});

describe('a callback that throws', () => {
  const failing = () => {
    throw new TypeError('a fault of ours');
  };

  it.each([
    ['a timer', {}],
    ['a coarse timer', { coarse: true }],
  ])('of %s is reported, and the other timers go on', (_what, options) => {
    const clock = new SystemClock();
    const errors: unknown[] = [];
    clock.reportErrors((error) => errors.push(error));
    clock.start(() => {});
    let called = 0;
    clock.after(1_000, failing, options);
    clock.after(1_000, () => (called += 1), options);
    vi.advanceTimersByTime(3_000);
    expect({ errors: errors.map(String), called }).toEqual({
      errors: ['TypeError: a fault of ours'],
      called: 1,
    });
    clock.stop();
  });

  it('of a gap is reported, and the time is given all the same', () => {
    const clock = new SystemClock();
    const errors: unknown[] = [];
    clock.reportErrors((error) => errors.push(error));
    clock.start(failing);
    vi.setSystemTime(Date.now() + 60_000);
    vi.advanceTimersToNextTimer();
    expect(clock.now()).toBeGreaterThan(0);
    clock.stop();
  });
});
