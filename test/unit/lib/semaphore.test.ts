/** Work that is limited in how much of it runs at once. */
import { describe, expect, it } from 'vitest';
import { eachLimited } from '../../../src/lib/semaphore.js';
import { settle } from '../../support/fake-clock.js';

describe('limited work', () => {
  it('does everything, never more at once than allowed', async () => {
    let now = 0;
    let most = 0;
    const done: number[] = [];
    await eachLimited([1, 2, 3, 4, 5, 6, 7], 3, async (item) => {
      now += 1;
      most = Math.max(most, now);
      await settle();
      now -= 1;
      done.push(item);
    });
    expect(most).toBe(3);
    expect(done.sort()).toEqual([1, 2, 3, 4, 5, 6, 7]);
  });
});
