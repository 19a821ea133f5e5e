/** The history on disk: kept within its bounds, read at the next start, whatever a crash left of its last line. */
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  HistoryStore,
  MAX_EVENTS,
  MAX_HEALTH_BYTES,
  MAX_HISTORY_BYTES,
  readHistory,
} from '../../../src/status/history-store.js';
import type { EventFields, EventName } from '../../../src/telemetry/catalogue/events.js';
import { createTelemetry } from '../../../src/telemetry/logger.js';
import { FakeClock } from '../../support/fake-clock.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'watchdog-history-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function opened(directory: string | null = folder, clock = new FakeClock()) {
  const problems: string[] = [];
  const store = new HistoryStore({
    directory: directory ?? undefined,
    clock,
    onProblem: (says) => problems.push(says),
  });
  const stream = { write: () => {} };
  const common = { level: 'error', format: 'json', secrets: [], clock, stream } as const;
  const telemetry = createTelemetry({ ...common, server: 'x' });
  telemetry.subscribe((record) => store.take(record));
  const say = <E extends EventName>(event: E, fields: EventFields[E]) =>
    telemetry.emit(event, fields);
  return { store, clock, problems, say };
}
const eventsOf = (store: HistoryStore) =>
  store.since(0, true).events.map((json) => JSON.parse(json) as { event: string });
const names = (lines: readonly { event: string }[]) => lines.map(({ event }) => event);
const ses = { sessionID: 'ses_1', title: 'Fix it', directory: '/home/ada/shop' };
const stuck = { ...ses, reason: 'attempts', limit: 5, value: 5 } as const;
const current = () => join(folder, 'history.ndjson');

describe('what is kept', () => {
  it('is what happened to sessions and the server, and is there after a restart of the daemon', () => {
    const first = opened();
    first.say('daemon.started', {
      version: '0.2.0',
      pid: 7,
      config: { secret: 'x'.repeat(5_000) },
    });
    first.say('session.stuck', stuck);
    first.say('server.output', { stream: 'stdout', line: 'chatter' });
    first.say('session.health', { ...ses, health: 'stuck', previous: 'busy', forMs: 1 });
    first.say('session.health', { ...ses, health: 'stuck', forMs: 60_000 });
    first.store.close();

    const { store, problems } = opened();
    const past = store.takePast();
    expect(names(past)).toEqual(['daemon.started', 'session.stuck', 'session.health']);
    expect(past[1]).toMatchObject({
      level: 'warn',
      fields: { sessionID: 'ses_1', title: 'Fix it' },
    });
    expect(names(eventsOf(store))).toEqual(['daemon.started', 'session.stuck']);
    expect(problems).toEqual([]);
    // Let go of: the view has taken it.
    expect(store.takePast()).toEqual([]);
    // Nobody else may read what sessions were about.
    expect(statSync(current()).mode & 0o077).toBe(0);
    expect(readFileSync(current(), 'utf8')).not.toContain('xxxxx');
  });

  it('survives a last line that a crash cut, also within a character', () => {
    const first = opened();
    first.say('session.stuck', stuck);
    first.store.close();
    const torn = Buffer.from('{"level":"warn","time":"2026-01-01T00:00:00.000Z","title":"müde"}');
    appendFileSync(current(), torn.subarray(0, torn.indexOf(0xc3) + 1));

    const second = opened();
    expect(second.problems).toEqual([]);
    expect(names(second.store.takePast())).toEqual(['session.stuck']);
    second.say('session.recovered', { ...ses, attempts: 3, episodeMs: 9_000 });
    second.store.close();
    expect(names(readHistory(folder).lines)).toEqual(['session.stuck', 'session.recovered']);
  });
});

describe('its bounds', () => {
  const bytes = (name: string) =>
    existsSync(join(folder, name)) ? statSync(join(folder, name)).size : 0;

  it('one rotation keeps each file below its size, and the newest of it', () => {
    const { say, store } = opened();
    const error = 'x'.repeat(2_000);
    const rounds = Math.ceil((2.5 * MAX_HISTORY_BYTES) / 4_000);
    for (let i = 0; i < rounds; i++) {
      say('session.abort_failed', { ...ses, reason: 'attempts', try: i, error });
    }
    expect(bytes('history.ndjson')).toBeLessThanOrEqual(MAX_HISTORY_BYTES);
    expect(bytes('history.1.ndjson')).toBeLessThanOrEqual(MAX_HISTORY_BYTES);
    expect(bytes('history.1.ndjson')).toBeGreaterThan(MAX_HISTORY_BYTES / 2);
    expect(eventsOf(store).at(-1)).toMatchObject({ try: rounds - 1 });
    store.close();
    expect(readHistory(folder).lines.at(-1)?.fields).toMatchObject({ try: rounds - 1 });
  });

  it('changes of health fill a smaller file of their own, and cannot push an incident out', async () => {
    const { say, store, clock } = opened();
    say('session.stuck', stuck);
    const fields = { ...ses, title: 't'.repeat(1_000), forMs: 1 };
    for (let i = 0; i < (2.5 * MAX_HEALTH_BYTES) / 1_200; i++) {
      // No more than the outside is let say: 2,000 at once.
      if (i === 1_500) await clock.advance(120_000);
      say('session.health', {
        ...fields,
        sessionID: `ses_${i}`,
        health: i % 2 ? 'busy' : 'idle',
        previous: 'waiting',
      });
    }
    store.close();
    expect(bytes('health.ndjson')).toBeLessThanOrEqual(MAX_HEALTH_BYTES);
    expect(bytes('health.1.ndjson')).toBeLessThanOrEqual(MAX_HEALTH_BYTES);
    expect(names(readHistory(folder).lines)).toContain('session.stuck');
  });

  it('memory holds the newest events, and says where it does not go back far enough', async () => {
    const { say, store, clock } = opened(null);
    for (let i = 0; i <= MAX_EVENTS; i++) {
      say('session.aborting', { ...ses, reason: 'attempts', try: i });
      if (i === 0) await clock.advance(10);
    }
    const begin = clock.epoch() - 10;
    expect(store.since(begin, true)).toMatchObject({ complete: false });
    expect(store.since(begin, true).events).toHaveLength(MAX_EVENTS);
    expect(store.since(begin + 5, true).complete).toBe(true);
  });
});

it('what cannot be written is remembered in memory, and said once', () => {
  const { say, store, problems } = opened(join(folder, 'is', 'not', 'there'));
  say('session.stuck', stuck);
  say('session.recovered', { ...ses, attempts: 3, episodeMs: 9_000 });
  expect(names(eventsOf(store))).toEqual(['session.stuck', 'session.recovered']);
  expect(problems).toEqual([expect.stringMatching(/ENOENT/)]);
});

describe('an answer', () => {
  afterEach(() => vi.restoreAllMocks());

  it('from the history parses no event again', () => {
    const { store, say } = opened();
    for (let n = 0; n < 20; n += 1) say('session.stuck', { ...stuck, sessionID: `ses_${n}` });
    const [bare] = store.since(0, false).events;
    expect(JSON.parse(bare ?? '')).toMatchObject({ sessionID: 'ses_0', value: 5 });
    expect(bare).not.toMatch(/Fix it|shop/);
    const parse = vi.spyOn(JSON, 'parse');
    expect(store.since(0, true).events).toHaveLength(20);
    expect(store.since(0, false).events).toHaveLength(20);
    expect(parse).not.toHaveBeenCalled();
  });

  it('about one session parses its events only', () => {
    const { store, clock, say } = opened();
    for (let n = 0; n < 20; n += 1) say('session.stuck', { ...stuck, sessionID: `ses_${n}` });
    say('session.aborting', { ...ses, reason: 'attempts', try: 1 });
    const parse = vi.spyOn(JSON, 'parse');
    const ofOne = (max: number) => names(store.ofSession('ses_1', 0, max) as { event: string }[]);
    expect(ofOne(200)).toEqual(['session.stuck', 'session.aborting']);
    expect(parse).toHaveBeenCalledTimes(2);
    expect(ofOne(1)).toEqual(['session.aborting']);
    expect(store.ofSession('ses_1', clock.epoch() + 1, 200)).toEqual([]);
  });
});
