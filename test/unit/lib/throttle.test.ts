/** The throttle: each key once in an interval. */
import { describe, expect, it } from 'vitest';
import { Throttle } from '../../../src/lib/throttle.js';
import { ManualClock } from '../opencode/support.js';

describe('a throttle', () => {
  it('lets each key through once in the interval', async () => {
    const clock = new ManualClock();
    const throttle = new Throttle(clock, 250);
    expect([throttle.passes('a'), throttle.passes('a'), throttle.passes('b')]).toEqual([
      true,
      false,
      true,
    ]);
    await clock.advance(250);
    expect(throttle.passes('a')).toBe(true);
  });
});
