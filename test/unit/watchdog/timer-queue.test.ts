import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TimerQueue } from '../../../src/watchdog/timer-queue.js';

const taken = (timers: TimerQueue<string>, at: number) => {
  const items: string[] = [];
  for (let item = timers.take(at); item !== undefined; item = timers.take(at)) items.push(item);
  return items;
};

describe('a timer queue', () => {
  it('gives who is due, the earliest first, and nobody else', () => {
    const timers = new TimerQueue<string>();
    timers.ask('c', 30);
    timers.ask('a', 10);
    timers.ask('b', 20);
    expect(timers.next).toBe(10);
    expect(taken(timers, 20)).toEqual(['a', 'b']);
    expect(timers.next).toBe(30);
  });

  it('keeps the earlier of two times, and gives it once', () => {
    const timers = new TimerQueue<string>();
    timers.ask('a', 50);
    timers.ask('a', 10);
    timers.ask('a', 90);
    expect(taken(timers, 10)).toEqual(['a']);
    expect(taken(timers, 1_000)).toEqual([]);
  });

  it('gives those of one moment in the order in which they asked', () => {
    const timers = new TimerQueue<string>();
    for (const item of ['d', 'b', 'a', 'c']) timers.ask(item, 5);
    expect(taken(timers, 5)).toEqual(['d', 'b', 'a', 'c']);
  });

  it('does what a plain list would do', () => {
    const step = fc.record({ item: fc.nat(8), at: fc.nat(100), take: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const timers = new TimerQueue<number>();
        const plain = new Map<number, number>();
        for (const { item, at, take } of steps) {
          if (!take) {
            timers.ask(item, at);
            plain.set(item, Math.min(at, plain.get(item) ?? at));
            continue;
          }
          const got: number[] = [];
          for (let due = timers.take(at); due !== undefined; due = timers.take(at)) got.push(due);
          const due = [...plain].filter(([, time]) => time <= at);
          expect(new Set(got)).toEqual(new Set(due.map(([each]) => each)));
          expect(got.map((each) => plain.get(each))).toEqual(
            due.map(([, time]) => time).sort((a, b) => a - b),
          );
          for (const [each] of due) plain.delete(each);
          expect(timers.next).toBeGreaterThan(at);
        }
      }),
    );
  });
});
