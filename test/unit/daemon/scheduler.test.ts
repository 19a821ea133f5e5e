/** Calling something every so often: on the wall clock where the period divides an hour, by a timer elsewhere. */
import { describe, expect, it } from 'vitest';
import { at, every } from '../../../src/daemon/scheduler.js';
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
  it('leaves no timer behind when it is ended', () => {
    const timers = () =>
      process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
    const before = timers();
    const end = at('0 4 * * *', () => {});
    expect(timers()).toBe(before + 1);
    end();
    expect(timers()).toBe(before);
  });
});
