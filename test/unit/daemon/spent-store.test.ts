/** What the day has spent survives the daemon, a gap between two daemons, and midnight. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { SpentStore } from '../../../src/daemon/spent-store.js';
import { SystemClock } from '../../../src/lib/clock.js';
import type { Observation, Spent } from '../../../src/watchdog/observation.js';
import { Watchdog } from '../../../src/watchdog/watchdog.js';
import { policyWith } from '../watchdog/driver.js';

const HOUR = 60 * 60_000;
const NOON = new Date(2026, 10, 28, 12).getTime();
/** A session that has cost so much in all since it was created. */
const total = (sessionID: string, costUsd: number, ageMs: number): Observation => ({
  kind: 'session.info',
  at: performance.now(),
  sessionID,
  info: { spent: { costUsd, tokens: costUsd * 1_000 }, ageMs },
});

let directory: string;
let problems: string[];

beforeEach(() => {
  vi.useFakeTimers({ now: NOON });
  directory = mkdtempSync(join(tmpdir(), 'spent-'));
  problems = [];
});
afterEach(() => {
  vi.useRealTimers();
  rmSync(directory, { recursive: true });
});

function daemon(where: string | undefined = directory) {
  const watchdog = new Watchdog({ policy: policyWith(), acts: true });
  const store = new SpentStore({
    directory: where,
    clock: new SystemClock(),
    watchdog,
    observe: (o) => void watchdog.observe(o),
    onProblem: (why) => problems.push(why),
  });
  store.start();
  const hear = (id: string, cost: number, ageMs = HOUR) => watchdog.observe(total(id, cost, ageMs));
  return { store, hear, today: (): Readonly<Spent> => watchdog.spentToday };
}

describe('what the day has spent', () => {
  it('is known to the next daemon, with what was spent between the two', () => {
    const first = daemon();
    first.hear('a', 2);
    first.hear('old', 7, 48 * HOUR);
    expect(first.today()).toEqual({ costUsd: 2, tokens: 2_000 });
    first.store.stop();
    vi.advanceTimersByTime(HOUR);
    const next = daemon();
    expect(next.today().costUsd).toBe(2);
    next.hear('a', 5);
    next.hear('old', 8, 49 * HOUR);
    expect(next.today()).toEqual({ costUsd: 6, tokens: 6_000 });
    next.store.stop();
    expect(problems).toEqual([]);
  });

  it('is written while the daemon lives, so that its sudden end loses a minute at most', () => {
    const first = daemon();
    first.hear('a', 2);
    vi.advanceTimersByTime(60_000);
    expect(daemon().today().costUsd).toBe(2);
  });

  it('begins anew at midnight, and what sessions have cost before stays yesterday’s', () => {
    const { store, hear, today } = daemon();
    hear('a', 2);
    vi.advanceTimersByTime(12 * HOUR);
    expect(today()).toEqual({ costUsd: 0, tokens: 0 });
    hear('a', 3);
    expect(today().costUsd).toBe(1);
    store.stop();
  });

  it('of yesterday is not today’s', () => {
    const first = daemon();
    first.hear('a', 2);
    first.store.stop();
    vi.advanceTimersByTime(24 * HOUR);
    const next = daemon();
    expect(next.today().costUsd).toBe(0);
    next.hear('a', 2.5);
    expect(next.today().costUsd).toBe(0.5);
  });

  it('lives in memory where nothing can be kept', () => {
    const { store, hear, today } = daemon(undefined);
    hear('a', 2);
    store.stop();
    expect(today().costUsd).toBe(2);
    expect(problems).toEqual([]);
  });

  it('is read where an earlier version wrote a negative amount', () => {
    const spent = { costUsd: 4, tokens: 4_000 };
    const totals = { a: { costUsd: -0.001, tokens: 80_000 } };
    const file = JSON.stringify({ day: '2026-11-28', spent, totals });
    writeFileSync(join(directory, 'spent.json'), file, { mode: 0o600 });
    const { store, today } = daemon();
    expect(today()).toEqual(spent);
    expect(problems).toEqual([]);
    store.stop();
  });

  it.each(['{', '{"day":1}'])('is nothing where the file holds %s, and that is said', (text) => {
    writeFileSync(join(directory, 'spent.json'), text, { mode: 0o600 });
    const { store, today } = daemon();
    expect(today().costUsd).toBe(0);
    expect(problems).toHaveLength(1);
    store.stop();
    expect(JSON.parse(readFileSync(join(directory, 'spent.json'), 'utf8'))).toMatchObject({
      spent: { costUsd: 0 },
    });
  });
});
