import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TimerQueue } from '../../../src/watchdog/timer-queue.js';

const taken = (agenda: TimerQueue<string>, at: number) => {
  const items: string[] = [];
  for (let item = agenda.take(at); item !== undefined; item = agenda.take(at)) items.push(item);
  return items;
};

describe('the agenda', () => {
  it('gives who is due, the earliest first, and nobody else', () => {
    const agenda = new TimerQueue<string>();
    agenda.ask('c', 30);
    agenda.ask('a', 10);
    agenda.ask('b', 20);
    expect(agenda.next).toBe(10);
    expect(taken(agenda, 20)).toEqual(['a', 'b']);
    expect(agenda.next).toBe(30);
  });

  it('keeps the earlier of two times, and gives it once', () => {
    const agenda = new TimerQueue<string>();
    agenda.ask('a', 50);
    agenda.ask('a', 10);
    agenda.ask('a', 90);
    expect(taken(agenda, 10)).toEqual(['a']);
    expect(taken(agenda, 1_000)).toEqual([]);
  });

  it('gives those of one moment in the order in which they asked', () => {
    const agenda = new TimerQueue<string>();
    for (const item of ['d', 'b', 'a', 'c']) agenda.ask(item, 5);
    expect(taken(agenda, 5)).toEqual(['d', 'b', 'a', 'c']);
  });

  it('does what a plain list would do', () => {
    const step = fc.record({ item: fc.nat(8), at: fc.nat(100), take: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const agenda = new TimerQueue<number>();
        const plain = new Map<number, number>();
        for (const { item, at, take } of steps) {
          if (!take) {
            agenda.ask(item, at);
            plain.set(item, Math.min(at, plain.get(item) ?? at));
            continue;
          }
          const got: number[] = [];
          for (let due = agenda.take(at); due !== undefined; due = agenda.take(at)) got.push(due);
          const due = [...plain].filter(([, time]) => time <= at);
          expect(new Set(got)).toEqual(new Set(due.map(([each]) => each)));
          expect(got.map((each) => plain.get(each))).toEqual(
            due.map(([, time]) => time).sort((a, b) => a - b),
          );
          for (const [each] of due) plain.delete(each);
          expect(agenda.next).toBeGreaterThan(at);
        }
      }),
    );
  });
});
