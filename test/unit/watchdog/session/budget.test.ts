/** What runs, sessions and the server's day may spend. */
import { describe, expect, it } from 'vitest';
import type { FinishedStep, Spent } from '../../../../src/watchdog/observation.js';
import { MINUTE, policyWith, SECOND, type World, world } from '../driver.js';

let next = 0;

/** A step that costs this much and repeats nothing. */
function spends(w: World, sessionID: string, costUsd: number, tokens = 1_000): World {
  next += 1;
  const step: FinishedStep = {
    messageID: `m${next}`,
    empty: false,
    fingerprint: `f${next}`,
    tools: 1,
    toolErrors: 0,
    hasText: false,
    fileChanges: 0,
    costUsd,
    tokens,
  };
  return w
    .advance(SECOND)
    .tell({ kind: 'session.step_finished', sessionID, directory: '/p', step });
}

const told = (w: World, sessionID: string, spent: Spent, more = {}) =>
  w.tell({ kind: 'session.info', sessionID, info: { spent, ...more } });

const run = { cost: 0, tokens: 0, steps: 0 };

describe('a run', () => {
  it('is warned of at 80 % of its cost and aborted when it is spent', () => {
    const w = world({ policy: { budget: { run: { ...run, cost: 1 } } } }).status('s', 'busy');
    spends(w, 's', 0.5);
    expect(w.notes('budget.warning')).toEqual([]);
    spends(w, 's', 0.3);
    expect(w.notes('budget.warning')).toMatchObject([
      { sessionID: 's', budget: 'run', unit: 'cost', value: 0.8, limit: 1 },
    ]);
    expect(w.aborts()).toEqual([]);
    spends(w, 's', 0.2);
    expect(w.notes('budget.exceeded')).toMatchObject([{ budget: 'run', unit: 'cost', value: 1 }]);
    expect(w.notes('session.stuck')).toMatchObject([
      { reason: 'budget', kind: 'run', unit: 'cost', value: 1, limit: 1 },
    ]);
    expect(w.aborts()).toHaveLength(1);
  });

  it('is not warned of where warnAt is off', () => {
    const w = world({ policy: { budget: { warnAt: 0, run: { ...run, cost: 1 } } } });
    w.status('s', 'busy');
    spends(w, 's', 0);
    spends(w, 's', 0.9);
    expect(w.notes('budget.warning')).toEqual([]);
    spends(w, 's', 0.1);
    expect(w.notes('budget.exceeded')).toHaveLength(1);
  });

  it('is only reported with budget.action report, once', () => {
    const w = world({ policy: { budget: { action: 'report', run: { ...run, steps: 3 } } } });
    w.status('s', 'busy');
    for (let n = 0; n < 9; n += 1) spends(w, 's', 0);
    expect(w.notes('budget.exceeded')).toHaveLength(1);
    expect(w.aborts()).toEqual([]);
  });

  it('is reported again at the limit of a reload, not at the one it had', () => {
    const limit = (steps: number) =>
      ({ budget: { action: 'report', run: { ...run, steps } } }) as const;
    const w = world({ policy: limit(3) }).status('s', 'busy');
    for (let n = 0; n < 4; n += 1) spends(w, 's', 0);
    w.tell({ kind: 'policy.changed', policy: policyWith(limit(10)) });
    for (let n = 0; n < 9; n += 1) spends(w, 's', 0);
    expect(w.notes('budget.warning').map((each) => each.limit)).toEqual([10]);
    expect(w.notes('budget.exceeded').map((each) => each.limit)).toEqual([3, 10]);
  });

  it('spends what its subagents spend, at any depth', () => {
    const w = world({ policy: { budget: { run: { ...run, tokens: 2_500 } } } });
    w.status('s', 'busy').status('c', 'busy').status('g', 'busy');
    w.info('c', { parentID: 's' }).info('g', { parentID: 'c' });
    spends(w, 'g', 0);
    spends(w, 'c', 0);
    expect(w.aborts('s')).toEqual([]);
    spends(w, 'g', 0);
    expect(w.aborts('s')).toHaveLength(1);
    expect(w.aborts('g')).toEqual([]);
  });

  it('begins at nothing again after a run that ended', () => {
    const w = world({ policy: { budget: { run: { ...run, cost: 1 } } } });
    for (let n = 0; n < 5; n += 1) {
      spends(w.status('s', 'busy'), 's', 0.7).status('s', 'idle').advance(MINUTE);
    }
    expect(w.aborts()).toEqual([]);
  });

  it('that a budget ended is not continued', () => {
    const w = world({
      policy: { budget: { run: { ...run, cost: 1 } }, recover: { afterAbort: 'continue' } },
    });
    spends(w.status('s', 'busy'), 's', 2).abortDone();
    expect(w.acts('continue')).toEqual([]);
  });
});

describe('a session', () => {
  it('counts opencode’s own totals, with its subagents’', () => {
    const w = world({ policy: { budget: { session: { cost: 2, tokens: 0 } } } });
    w.status('s', 'busy').status('c', 'busy').info('c', { parentID: 's' });
    told(w, 's', { costUsd: 1, tokens: 10 });
    told(w, 'c', { costUsd: 0.9, tokens: 10 });
    expect(w.aborts()).toEqual([]);
    told(w, 'c', { costUsd: 1, tokens: 10 });
    expect(w.notes('session.stuck')).toMatchObject([{ sessionID: 's', kind: 'session', value: 2 }]);
  });

  it('does not count twice what an answer says that was asked for before a newer total came', () => {
    const w = world();
    w.tell({ kind: 'budget.day', sinceMs: MINUTE, spent: { costUsd: 0, tokens: 0 } });
    const spent = (costUsd: number) => ({ costUsd, tokens: 0 });
    told(w.status('s', 'busy'), 's', spent(1), { ageMs: SECOND });
    const startedAt = w.at;
    told(w.advance(SECOND), 's', spent(1.5));
    w.advance(SECOND).inspected('s', { info: { spent: spent(1) } }, startedAt);
    w.tell({ kind: 'session.info', sessionID: 's', askedAt: startedAt, info: { spent: spent(1) } });
    told(w.advance(SECOND), 's', spent(1.6));
    expect(w.watchdog.spentToday.costUsd).toBeCloseTo(1.6);
    // A newer answer counts as before.
    w.advance(SECOND).inspected('s', { info: { spent: spent(2) } });
    expect(w.watchdog.spentToday.costUsd).toBeCloseTo(2);
  });

  it('does not count a step twice where totals are told', () => {
    const w = world({ policy: { budget: { session: { cost: 2, tokens: 0 } } } });
    w.status('s', 'busy');
    told(w, 's', { costUsd: 0, tokens: 0 });
    for (let n = 1; n <= 3; n += 1) told(spends(w, 's', 0.5), 's', { costUsd: n / 2, tokens: n });
    expect(w.aborts()).toEqual([]);
  });
});

describe('the day', () => {
  const limits = { budget: { day: { cost: 5, tokens: 0 } } };
  const day = (w: World, spent: Spent, more = {}) =>
    w.tell({ kind: 'budget.day', sinceMs: 0, spent, ...more });

  it('counts a step once that ends before the total of a session which an earlier daemon knew', () => {
    const spent = (costUsd: number) => ({ costUsd, tokens: 0 });
    const w = day(world({ policy: limits }), spent(3), { totals: new Map([['s', spent(10)]]) });
    spends(w.status('s', 'busy'), 's', 1);
    told(w, 's', spent(11.5));
    // Half a dollar was spent while no daemon ran.
    expect(w.watchdog.spentToday.costUsd).toBeCloseTo(4.5);
    told(w.advance(SECOND), 's', spent(12));
    expect(w.watchdog.spentToday.costUsd).toBeCloseTo(5);
  });

  it('once spent, ends runs at their first step, and is said once', () => {
    const w = day(world({ policy: limits }), { costUsd: 0, tokens: 0 });
    spends(w.status('a', 'busy'), 'a', 6);
    expect(w.aborts('a')).toHaveLength(1);
    w.status('b', 'busy');
    expect(w.aborts('b')).toEqual([]);
    spends(w, 'b', 0.1);
    expect(w.aborts('b')).toHaveLength(1);
    expect(w.notes('budget.exceeded')).toHaveLength(1);
  });

  it('goes on from what the daemon knew, and begins at nothing at midnight', () => {
    const w = day(world({ policy: limits }), { costUsd: 4.5, tokens: 0 });
    spends(w.status('a', 'busy'), 'a', 0.5);
    expect(w.aborts('a')).toHaveLength(1);
    day(w, { costUsd: 0, tokens: 0 });
    expect(w.watchdog.spentToday.costUsd).toBe(0);
  });

  it('counts what a session spent while the daemon was away, and no older spending', () => {
    const w = world({ policy: limits });
    day(w, { costUsd: 1, tokens: 0 }, { totals: new Map([['a', { costUsd: 3, tokens: 0 }]]) });
    told(w.status('a', 'busy'), 'a', { costUsd: 4, tokens: 0 });
    expect(w.watchdog.spentToday.costUsd).toBe(2);
    told(w.status('b', 'busy'), 'b', { costUsd: 100, tokens: 0 }, { ageMs: 3 * MINUTE });
    expect(w.watchdog.spentToday.costUsd).toBe(2);
  });

  it('counts all that a session of today has spent', () => {
    const w = world({ policy: limits });
    w.tell({ kind: 'budget.day', sinceMs: 10 * MINUTE, spent: { costUsd: 0, tokens: 0 } });
    told(w.status('b', 'busy'), 'b', { costUsd: 2, tokens: 0 }, { ageMs: 3 * MINUTE });
    expect(w.watchdog.spentToday.costUsd).toBe(2);
  });
});

describe('a model without a price', () => {
  it('is said once where a budget of cost is set, and not where none is', () => {
    const w = world({ policy: { budget: { run: { ...run, cost: 1 } } } }).prompt('s');
    spends(w, 's', 0);
    spends(w, 's', 0);
    expect(w.notes('budget.unpriced')).toMatchObject([{ model: 'fake/m1', isBounded: false }]);
    const unbounded = world().prompt('s');
    spends(unbounded, 's', 0);
    expect(unbounded.notes('budget.unpriced')).toEqual([]);
  });
});
