/** Calling something every so often: on the wall clock where the period divides an hour, by a timer elsewhere. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { at, every } from '../../../src/daemon/scheduler.js';
import { SystemClock } from '../../../src/lib/clock.js';
import { FakeClock } from '../../support/fake-clock.js';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

describe('a task with a period that does not divide an hour', () => {
  it('runs at each period, and no more once it is ended', async () => {
    const clock = new FakeClock();
    const at: number[] = [];
    const end = every(clock, 7 * SECOND, () => at.push(clock.now()));
    await clock.advance(6_999);
    expect(at).toEqual([]);
    await clock.advance(14_001);
    expect(at).toEqual([7_000, 14_000, 21_000]);
    end();
    expect(clock.pending).toBe(0);
    await clock.advance(HOUR);
    expect(at).toHaveLength(3);
  });

  it('goes on after a time when it threw', async () => {
    const clock = new FakeClock();
    let runs = 0;
    const end = every(clock, 1_500, () => {
      runs += 1;
      if (runs === 1) throw new Error('once');
    });
    await expect(clock.advance(1_500)).rejects.toThrow('once');
    await clock.advance(1_500);
    expect(runs).toBe(2);
    end();
  });

  it('may end itself', async () => {
    const clock = new FakeClock();
    let runs = 0;
    const end = every(clock, 1_500, () => {
      runs += 1;
      end();
    });
    await clock.advance(MINUTE);
    expect(runs).toBe(1);
    expect(clock.pending).toBe(0);
  });
});

describe('a task whose period divides an hour', () => {
  it.each([SECOND, 5 * SECOND, 30 * SECOND, MINUTE, 5 * MINUTE, 30 * MINUTE, HOUR])(
    'of %d ms runs on the wall clock',
    async (period) => {
      // 1_700_000_000 s since the epoch is 22:13:20 UTC.
      const clock = new FakeClock(-1_234);
      const times: number[] = [];
      const end = every(clock, period, () => times.push(clock.epoch()));
      await clock.advance(3 * period);
      expect(times).toHaveLength(3);
      expect(times.map((time) => time % period)).toEqual([0, 0, 0]);
      end();
      expect(clock.pending).toBe(0);
    },
  );

  it('runs once where its timer is a moment early', async () => {
    const clock = new FakeClock();
    const { after } = clock;
    clock.after = (ms, fn) => after.call(clock, ms - 1, fn);
    let runs = 0;
    every(clock, MINUTE, () => {
      runs += 1;
    });
    await clock.advance(5 * MINUTE);
    expect(runs).toBe(5);
  });

  it('follows a wall clock that is set', async () => {
    const clock = new FakeClock();
    const { epoch } = clock;
    let step = 0;
    clock.epoch = () => epoch.call(clock) + step;
    const times: number[] = [];
    every(clock, MINUTE, () => times.push(clock.epoch()));
    await clock.advance(MINUTE);
    step = 12_345;
    await clock.advance(2 * MINUTE);
    expect(times.at(-1)! % MINUTE).toBe(0);
  });
});

describe('a task at the times of a cron expression', () => {
  beforeEach(() => vi.useFakeTimers({ now: new Date(2026, 5, 1, 13) }));
  afterEach(() => vi.useRealTimers());

  function watched(expression: string) {
    const times: string[] = [];
    const end = at(new SystemClock(), expression, () => {
      times.push(new Date().toTimeString().slice(0, 8));
    });
    return { times, end };
  }
  /** The wall clock goes on while no timer does. */
  const suspend = (ms: number) => vi.setSystemTime(Date.now() + ms);

  it('runs at each of them, and leaves no timer behind when it is ended', () => {
    const { times, end } = watched('0 4,12 * * *');
    vi.advanceTimersByTime(48 * HOUR);
    expect(times).toEqual(['04:00:00', '12:00:00', '04:00:00', '12:00:00']);
    end();
    expect(vi.getTimerCount()).toBe(0);
  });

  it('runs at them on a machine that is suspended every night', () => {
    const { times, end } = watched('0 12 * * *');
    for (let day = 0; day < 3; day += 1) {
      vi.advanceTimersByTime(10 * HOUR);
      suspend(8 * HOUR);
      vi.advanceTimersByTime(6 * HOUR);
    }
    expect(times).toEqual(['12:00:00', '12:00:00', '12:00:00']);
    end();
  });

  it('runs once, within a minute of the wake-up, where a suspend has missed some', () => {
    const { times, end } = watched('0 2,4 * * *');
    vi.advanceTimersByTime(10 * HOUR);
    suspend(8 * HOUR);
    vi.advanceTimersByTime(HOUR);
    expect(times).toEqual([expect.stringMatching(/^07:0[01]:/)]);
    end();
  });

  it('runs at the next of them after the clock was set back by days', () => {
    const { times, end } = watched('0 14 * * *');
    vi.advanceTimersByTime(10 * MINUTE);
    suspend(-72 * HOUR);
    vi.advanceTimersByTime(2 * HOUR);
    expect(times).toEqual(['14:00:00']);
    end();
  });

  it('runs once where the clock is corrected by seconds right after it', () => {
    const { times, end } = watched('0 14 * * *');
    vi.advanceTimersByTime(HOUR);
    suspend(-5 * SECOND);
    vi.advanceTimersByTime(2 * HOUR);
    expect(times).toEqual(['14:00:00']);
    end();
  });

  it('runs after a step of the clock', () => {
    const { times, end } = watched('0 14 * * *');
    suspend(5 * SECOND);
    vi.advanceTimersByTime(2 * HOUR);
    expect(times).toEqual(['14:00:00']);
    end();
  });
});
