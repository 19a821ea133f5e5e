/** A restart that a pause left, or that failed before it began, is taken back wherever it was told as one. */
import { describe, expect, it } from 'vitest';
import { createRedactor } from '../../../src/lib/redaction.js';
import { EventCounters } from '../../../src/status/counters.js';
import { LoopLag } from '../../../src/status/event-loop-lag.js';
import { Instruments } from '../../../src/status/instruments.js';
import { collect } from '../../../src/status/report/collect.js';
import { StatusView } from '../../../src/status/view.js';
import type { EventFields, EventName } from '../../../src/telemetry/catalogue/events.js';
import type { LogLine } from '../../../src/telemetry/log-line.js';
import { createTelemetry } from '../../../src/telemetry/logger.js';
import { TerminalFilter } from '../../../src/telemetry/terminal-filter.js';
import { FakeClock } from '../../support/fake-clock.js';
import { TestSource } from '../../support/status-world.js';

/** Everything that tells people of restarts, fed with the same events. */
function told() {
  const clock = new FakeClock();
  const lag = new LoopLag(clock);
  const redactor = createRedactor([]);
  const source = new TestSource();
  const view = new StatusView({ source, clock, redactor, lag, version: '1', url: 'http://x' });
  const make = new Instruments();
  const counters = new EventCounters(make, source);
  const filter = new TerminalFilter();
  const lines: LogLine[] = [];
  const shown: string[] = [];
  const stream = { write: () => {} };
  const common = { level: 'error', format: 'json', secrets: [], clock, stream } as const;
  const telemetry = createTelemetry({ ...common, server: 'x' });
  telemetry.subscribe((record) => {
    lines.push(record as unknown as LogLine);
    view.take(record);
    counters.take(record);
    if (filter.shows(record.event, record.fields)) shown.push(record.event);
  });
  const say = <E extends EventName>(event: E, fields: EventFields[E]) =>
    telemetry.emit(event, fields);
  say('server.healthy', { version: '1.18.33' });
  return {
    say,
    clock,
    shown,
    state: () => view.history.states.at(-1)?.[1],
    restarts: () => view.history.restarts,
    counted: () => view.counters.restarts,
    incidents: () => view.incidents.list.map(({ kind, outcome }) => [kind, outcome]),
    report: () => collect(lines, 0, clock.epoch()),
    recoveries: async () => {
      const name = 'opencode_watchdog_server_recovery_duration_seconds';
      const text = await make.registry.getSingleMetricAsString(name);
      return Number(/_count (\d+)/.exec(text)?.[1]);
    },
  };
}
const restarting = (
  reason: EventFields['server.restarting']['reason'],
): EventFields['server.restarting'] => ({
  reason,
  interrupted: ['ses_1'],
  restarts: 1,
  detail: '',
});
const left = (reason: string) => ({ act: 'restart', reason, because: 'paused' }) as const;
const failed = (reason: 'memory' | 'manual') => ({ reason, error: 'no' }) as const;

describe('a restart that a pause left', () => {
  it('was none, and the server is as it was', async () => {
    const { say, clock, shown, recoveries, ...all } = told();
    say('server.restarting', restarting('memory'));
    expect([all.state(), all.counted(), all.restarts().length]).toEqual(['restarting', 1, 1]);
    say('act.skipped', left('memory'));
    expect([all.state(), all.counted(), all.restarts()]).toEqual(['healthy', 0, []]);
    expect(all.report().restarts).toEqual([]);
    await clock.advance(60_000);
    say('server.healthy', { version: '1.18.33' });
    expect(shown.at(-1)).toBe('server.healthy');
    expect(await recoveries()).toBe(0);
  });

  it('ends the incident that it began, so that the next trouble is one of its own', () => {
    const { say, incidents } = told();
    say('server.restarting', restarting('memory'));
    say('act.skipped', left('memory'));
    say('server.unresponsive', { failures: 3, lastError: 'timeout' });
    expect(incidents()).toEqual([
      ['unresponsive', undefined],
      ['recycle', 'skipped'],
    ]);
  });

  it('does not end the incident that asked for it, nor the time that the server was away', async () => {
    const { say, clock, incidents, state, recoveries } = told();
    say('server.unresponsive', { failures: 3, lastError: 'timeout' });
    say('server.restarting', restarting('unresponsive'));
    say('act.skipped', left('unresponsive'));
    expect([state(), incidents()]).toEqual(['unresponsive', [['unresponsive', undefined]]]);
    await clock.advance(60_000);
    say('server.healthy', {});
    expect(await recoveries()).toBe(1);
  });

  it('leaves an earlier one, and what a dry run left changes nothing', () => {
    const { say, restarts, counted, report } = told();
    say('server.restarting', restarting('manual'));
    say('server.restarted', { reason: 'manual', tookMs: 40 });
    say('act.skipped', { act: 'restart', reason: 'memory', because: 'dryRun' });
    say('act.skipped', { act: 'abort', sessionID: 'ses_1', because: 'paused' });
    expect([restarts().length, counted(), report().restarts.length]).toEqual([1, 1, 1]);
  });
});

describe('a restart that failed and left the server running', () => {
  it('cut nothing, and the server is as it was', async () => {
    const { say, clock, state, restarts, report, recoveries } = told();
    say('server.restarting', restarting('manual'));
    say('server.restart_failed', { ...failed('manual'), serverAlive: true });
    expect(state()).toBe('healthy');
    expect(restarts()).toMatchObject([{ error: 'no', interrupted: 0 }]);
    expect(report().restarts).toMatchObject([{ error: 'no', cut: [] }]);
    await clock.advance(60_000);
    say('server.healthy', {});
    expect(await recoveries()).toBe(0);
  });

  it('ends the incident that it began', () => {
    const { say, incidents } = told();
    say('server.restarting', restarting('memory'));
    say('server.restart_failed', { ...failed('memory'), serverAlive: true });
    expect(incidents()).toEqual([['recycle', 'failed']]);
  });

  it('is down where nothing is alive', () => {
    const { say, state, restarts } = told();
    say('server.restarting', restarting('manual'));
    say('server.restart_failed', failed('manual'));
    expect(state()).toBe('down');
    expect(restarts()).toMatchObject([{ error: 'no', interrupted: 1 }]);
  });
});

describe('an open breaker', () => {
  const open = { reason: 'wedged', restarts: 1, cooldownMs: 9 } as const;

  it('holds only a server that is away', () => {
    const { say, state } = told();
    say('server.breaker_open', open);
    expect(state()).toBe('healthy');
    say('server.exited', { code: 1, signal: null });
    say('server.breaker_open', open);
    expect(state()).toBe('held');
  });
});
