/** Calling something every so often: on the wall clock where the period divides it, by a timer elsewhere. */
import cron from 'node-cron';
import { describe, expect, it } from 'vitest';
import { cronFor, every } from '../../../src/schedule.js';
import { FakeClock } from '../../support/fake-clock.js';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

describe('the cron expression of a period', () => {
  it.each([
    [SECOND, '*/1 * * * * *'],
    [5 * SECOND, '*/5 * * * * *'],
    [30 * SECOND, '*/30 * * * * *'],
    [MINUTE, '0 */1 * * * *'],
    [5 * MINUTE, '0 */5 * * * *'],
    [30 * MINUTE, '0 */30 * * * *'],
    [HOUR, '0 0 * * * *'],
  ])('of %d ms is %s, which node-cron takes', (period, expression) => {
    expect(cronFor(period)).toBe(expression);
    expect(cron.validate(expression)).toBe(true);
  });

  it.each([
    ['nothing at all', 0],
    ['less than a second', 500],
    ['a second and a half', 1_500],
    ['seconds that do not divide a minute', 7 * SECOND],
    ['a minute and a half', 90 * SECOND],
    ['minutes that do not divide an hour', 7 * MINUTE],
    ['more than an hour', 2 * HOUR],
    ['no number', Number.NaN],
    ['for ever', Number.POSITIVE_INFINITY],
  ])('is none for %s', (_, period) => {
    expect(cronFor(period)).toBeUndefined();
  });
});

describe('a task with a period that cron cannot say', () => {
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

describe('a task on the wall clock', () => {
  it('sets no timer of ours, and leaves none behind', () => {
    const clock = new FakeClock();
    const timers = () =>
      process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
    const before = timers();
    const end = every(clock, 30 * SECOND, () => {});
    expect(clock.pending).toBe(0);
    end();
    expect(timers()).toBe(before);
  });
});
