/**
 * A clock for the driver's tests. Ten seconds of its time pass in one second of real time, so that the driver's waits
 * are short. On a slow machine it runs slower, because the driver's limits must still leave time for real requests.
 */
import { performance } from 'node:perf_hooks';
import type { Clock } from '../../src/lib/clock.js';
import { measureSlowness } from './slowness.js';

const SPEED = Math.max(1, 10 / (await measureSlowness()));

export const fastClock: Clock = {
  now: () => performance.now() * SPEED,
  epoch: () => Date.now(),
  after(ms, fn) {
    const handle = setTimeout(fn, ms / SPEED);
    return { cancel: () => clearTimeout(handle) };
  },
};
