/** Incidents: each from its start to its end with what was done, made of log events. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { INCIDENT_OUTCOMES, Incidents, MAX_INCIDENTS } from '../../../src/status/incidents.js';
import type { EventFields, EventName } from '../../../src/telemetry/catalogue/events.js';
import { createTelemetry } from '../../../src/telemetry/logger.js';
import { FakeClock } from '../../support/fake-clock.js';

function told() {
  const incidents = new Incidents();
  const clock = new FakeClock();
  const stream = { write: () => {} };
  const telemetry = createTelemetry({
    level: 'error',
    format: 'json',
    server: 'x',
    secrets: [],
    clock,
    stream,
  });
  telemetry.subscribe((record) => incidents.take(record));
  const say = <E extends EventName>(event: E, fields: EventFields[E]) =>
    telemetry.emit(event, fields);
  const brief = () =>
    incidents.list.map(({ kind, outcome, steps }) => [
      kind,
      outcome,
      ...steps.map(({ event }) => event),
    ]);
  return { incidents, clock, say, brief };
}
const ses = { sessionID: 'ses_1', title: 'Fix it', directory: '/d' };
const stuck = { ...ses, reason: 'attempts', limit: 5, value: 5 } as const;
const idle = { ...ses, health: 'idle', previous: 'stuck', forMs: 1 } as const;

describe('an incident of a session', () => {
  it('begins stuck and ends aborted, also where the stream shows the end before the proof is in', async () => {
    const { say, brief, incidents, clock } = told();
    say('session.stuck', stuck);
    say('session.aborting', { ...ses, reason: 'attempts', try: 1 });
    expect(incidents.openCount).toBe(1);
    await clock.advance(700);
    say('session.health', idle);
    expect(brief()).toEqual([['stuck', 'idle', 'session.aborting']]);
    say('session.aborted', { ...ses, reason: 'attempts', try: 1, tookMs: 40 });
    expect(brief()).toEqual([['stuck', 'aborted', 'session.aborting', 'session.aborted']]);
    expect(incidents.list[0]).toMatchObject({
      reason: 'attempts',
      sessionID: 'ses_1',
      title: 'Fix it',
      directory: '/d',
    });
    const [{ startedAt, endedAt } = { startedAt: '' }] = incidents.list;
    expect(Date.parse(endedAt ?? '') - Date.parse(startedAt)).toBe(700);
    expect(incidents.openCount).toBe(0);
  });

  it('becomes wedged, and ends with the restart that it led to', () => {
    const { say, brief } = told();
    say('session.stuck', stuck);
    say('session.abort_failed', { ...ses, reason: 'attempts', try: 1, error: 'still busy' });
    say('session.wedged', { ...ses, reason: 'attempts', tries: 1, next: 'restart' });
    say('session.interrupted', {
      ...ses,
      by: 'restart',
      restartReason: 'wedged',
      health: 'wedged',
    });
    expect(brief()).toEqual([
      ['wedged', 'restarted', 'session.abort_failed', 'session.wedged', 'session.interrupted'],
    ]);
  });

  it.each([
    ['stop', 'stopped'],
    ['dispose', 'disposed'],
    ['elsewhere', 'interrupted'],
    ['restart', 'restarted'],
  ] as const)('says who cut its run: %s', (by, outcome) => {
    const { say, brief } = told();
    say('session.stuck', stuck);
    say('session.interrupted', { ...ses, by, health: 'stuck' });
    expect(brief()).toEqual([['stuck', outcome, 'session.interrupted']]);
  });

  it('ends recovered where the run came back to life', () => {
    const { say, brief } = told();
    say('session.stuck', { ...stuck, reason: 'silence' });
    say('session.recovered', { ...ses, reason: 'silence', attempts: 0, episodeMs: 9 });
    expect(brief()).toEqual([['stuck', 'recovered', 'session.recovered']]);
  });

  it('ends answered where it was stuck because it waited, unless an abort is on its way', () => {
    const answered = { ...ses, on: 'question', requestID: 'q', by: 'person', forMs: 9 } as const;
    const { say, brief } = told();
    say('session.stuck', { ...stuck, reason: 'waiting' });
    say('session.answered', answered);
    say('session.stuck', { ...stuck, reason: 'waiting' });
    say('session.aborting', { ...ses, reason: 'waiting', try: 1 });
    say('session.answered', answered);
    say('session.aborted', { ...ses, reason: 'waiting', try: 1, tookMs: 40 });
    say('session.stuck', stuck);
    say('session.answered', answered);
    expect(brief()).toEqual([
      ['stuck', undefined],
      ['stuck', 'aborted', 'session.aborting', 'session.aborted'],
      ['stuck', 'answered', 'session.answered'],
    ]);
  });

  it('goes on where it waits too long for another answer too', () => {
    const answered = { ...ses, on: 'question', by: 'person', forMs: 9 } as const;
    const { say, brief } = told();
    for (let i = 0; i < 2; i += 1) say('session.stuck', { ...stuck, reason: 'waiting' });
    say('session.answered', { ...answered, requestID: 'q1', overdue: 1 });
    expect(brief()).toEqual([['stuck', undefined, 'session.stuck', 'session.answered']]);
    say('session.answered', { ...answered, requestID: 'q2' });
    expect(brief()).toEqual([
      ['stuck', 'answered', 'session.stuck', 'session.answered', 'session.answered'],
    ]);
  });

  it('is not rewritten by what a person aborts later', () => {
    const { say, brief } = told();
    say('session.stuck', { ...stuck, reason: 'loop' });
    say('session.health', idle);
    say('session.aborting', { ...ses, reason: 'manual', try: 1 });
    say('session.aborted', { ...ses, reason: 'manual', try: 1, tookMs: 40 });
    expect(brief()).toEqual([['stuck', 'idle']]);
  });

  it('ends aborted where it was a person who did it', () => {
    const { say, brief } = told();
    say('session.stuck', { ...stuck, reason: 'loop' });
    say('session.aborting', { ...ses, reason: 'manual', try: 1 });
    say('session.health', idle);
    say('session.aborted', { ...ses, reason: 'manual', try: 1, tookMs: 40 });
    expect(brief()).toEqual([['stuck', 'aborted', 'session.aborting', 'session.aborted']]);
  });

  it('tells what a dry run left, and what a person did', () => {
    const { say, brief } = told();
    say('session.stuck', stuck);
    say('act.skipped', { act: 'abort', sessionID: 'ses_1', because: 'dryRun' });
    say('act.requested', { act: 'abort', by: 'page', sessionID: 'ses_1' });
    say('session.health', idle);
    expect(brief()).toEqual([['stuck', 'idle', 'act.skipped', 'act.requested']]);
  });

  it('is another one for each session and each time', () => {
    const { say, brief } = told();
    say('session.stuck', stuck);
    say('session.stuck', { ...stuck, sessionID: 'ses_2' });
    say('session.aborted', { ...ses, reason: 'attempts', try: 1, tookMs: 1 });
    say('session.stuck', stuck);
    expect(brief()).toEqual([
      ['stuck', undefined],
      ['stuck', undefined],
      ['stuck', 'aborted', 'session.aborted'],
    ]);
  });
});

it('docs/report.md names every end', () => {
  const page = readFileSync(new URL('../../../docs/report.md', import.meta.url), 'utf8');
  const [, table = ''] = /^\| end \| means \|\n(.*?)\n\n/ms.exec(page) ?? [];
  const named = [...table.matchAll(/^\| `([a-z]+)` \|/gm)].map(([, end]) => end);
  expect(named.sort()).toEqual([...INCIDENT_OUTCOMES].sort());
});

describe('an incident of the server', () => {
  it('ends with the restart that helped', () => {
    const { say, brief } = told();
    say('server.exited', { code: 1, signal: null });
    const restarting: EventFields['server.restarting'] = {
      reason: 'exited',
      interrupted: [],
      restarts: 1,
      detail: '',
    };
    say('server.restarting', restarting);
    say('server.restart_failed', { reason: 'exited', error: 'no' });
    say('server.restarting', restarting);
    say('server.breaker_open', { reason: 'exited', restarts: 5, cooldownMs: 9 });
    say('server.restarted', { reason: 'exited', tookMs: 9 });
    say('server.breaker_closed', { restarts: 5 });
    expect(brief()).toEqual([
      ['breaker_open', 'closed', 'server.breaker_closed'],
      [
        'exited',
        'restarted',
        'server.restarting',
        'server.restart_failed',
        'server.restarting',
        'server.restarted',
      ],
    ]);
  });

  it('is the provider’s where it is', () => {
    const { say, brief, incidents } = told();
    const provider = { provider: 'openai', model: 'gpt-5' };
    say('provider.outage', { ...provider, sessions: 3, message: 'x' });
    expect(incidents.list[0]?.reason).toBe('openai/gpt-5');
    say('provider.back', { ...provider, outageMs: 9 });
    expect(brief()).toEqual([['outage', 'back', 'provider.back']]);
  });
});

it('keeps the newest, and the open ones before those that are over', () => {
  const { say, incidents } = told();
  say('server.exited', { code: 1, signal: null });
  for (let i = 0; i < MAX_INCIDENTS * 2; i += 1) {
    say('session.stuck', { ...stuck, sessionID: `s${i}` });
    say('session.recovered', { sessionID: `s${i}`, reason: 'attempts', attempts: 1, episodeMs: 1 });
  }
  expect(incidents.list).toHaveLength(MAX_INCIDENTS);
  expect(incidents.list.at(-1)?.kind).toBe('exited');
  // All open: the oldest goes, and is open no more.
  for (let i = 0; i < MAX_INCIDENTS * 2; i += 1)
    say('session.stuck', { ...stuck, sessionID: `o${i}` });
  expect(incidents.list).toHaveLength(MAX_INCIDENTS);
  expect(incidents.openCount).toBe(MAX_INCIDENTS);
});

describe('evidence', () => {
  const restarting = { interrupted: [], restarts: 1, detail: '' };

  it('is named in the incident that it was gathered for', () => {
    const { say, incidents } = told();
    say('server.unresponsive', { failures: 3, lastError: 'timeout' });
    say('server.restarting', { ...restarting, reason: 'unresponsive' });
    say('server.evidence', { reason: 'unresponsive', folder: '/s/evidence/x', tookMs: 9 });
    say('server.restarted', { reason: 'unresponsive', tookMs: 5 });
    expect(incidents.list).toMatchObject([{ kind: 'unresponsive', evidence: '/s/evidence/x' }]);
  });

  it('of a restart for memory, too, which is an incident from its begin to health', () => {
    const { say, incidents } = told();
    say('server.restarting', { ...restarting, reason: 'memory' });
    say('server.restarted', { reason: 'memory', tookMs: 5 });
    // Written late, on a slow disk.
    say('server.evidence', { reason: 'memory', folder: '/s/evidence/y', tookMs: 900 });
    expect(incidents.list).toMatchObject([
      { kind: 'recycle', reason: 'memory', outcome: 'restarted', evidence: '/s/evidence/y' },
    ]);
    expect(incidents.openCount).toBe(0);
  });
});
