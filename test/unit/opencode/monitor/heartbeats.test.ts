/** How long the event stream may be quiet, by the heartbeats that the server sends. */
import { describe, expect, it } from 'vitest';
import { Heartbeats } from '../../../../src/opencode/monitor/heartbeats.js';

describe('heartbeats', () => {
  it('set no limit before the first one', () => {
    const heartbeats = new Heartbeats(0);
    expect(heartbeats.limitMs(30_000)).toBe(Number.POSITIVE_INFINITY);
    expect(heartbeats.intervalMs).toBeUndefined();
  });

  it('allow three intervals, and never less than was configured', () => {
    const heartbeats = new Heartbeats(0);
    heartbeats.beat(10_000);
    heartbeats.beat(20_000);
    expect(heartbeats.limitMs(5_000)).toBe(30_000);
    expect(heartbeats.limitMs(60_000)).toBe(60_000);
    expect(heartbeats.intervalMs).toBe(10_000);
  });

  it('are not taken for more frequent than usual after the first one, which OpenCode 2 sends at once', () => {
    const heartbeats = new Heartbeats(0);
    heartbeats.beat(21);
    expect(heartbeats.limitMs(5_000)).toBe(45_000);
    heartbeats.beat(15_021);
    expect(heartbeats.limitMs(5_000)).toBe(45_000);
    const slow = new Heartbeats(0);
    slow.beat(29_000);
    expect(slow.limitMs(5_000)).toBe(87_000);
  });

  it('forget the distance from the opening once a true interval is known', () => {
    const heartbeats = new Heartbeats(0);
    heartbeats.beat(29_000);
    heartbeats.beat(30_000);
    expect(heartbeats.intervalMs).toBe(1_000);
  });

  it('are not shortened by two that came together', () => {
    const heartbeats = new Heartbeats(0);
    for (const at of [30_000, 60_000, 95_000, 95_100]) heartbeats.beat(at);
    expect(heartbeats.limitMs(30_000)).toBeGreaterThanOrEqual(90_000);
  });
});
