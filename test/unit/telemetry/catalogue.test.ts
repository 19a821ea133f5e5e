import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { CATALOGUE, EVENT_NAMES, messageOf } from '../../../src/telemetry/catalogue/catalogue.js';
import { logEventsPage } from '../../../src/telemetry/catalogue/docs.js';
import type { EventName } from '../../../src/telemetry/catalogue/events.js';
import type { StuckReason } from '../../../src/watchdog/decision.js';

/** The contract's table, "Structured log": each event with its fields beyond the common. */
const CONTRACT = `
daemon.started version pid config
daemon.stopping signal interrupted
daemon.stopped
server.starting pid
server.healthy version previousVersion api tookMs
server.memory_growing bytesPerHour children
server.unresponsive failures lastError
server.unsupported version answered
server.unauthorized status
server.exited pid code signal
server.restarting reason pid interrupted
server.restarted tookMs oldPid pid
server.restart_failed error
server.restart_deferred waitsFor
server.breaker_open restarts cooldownMs
server.breaker_closed
server.output stream line
directory.disposing reason directory interrupted
directory.disposed tookMs
directory.dispose_failed error
stream.connected path
stream.lost path reason silentMs
stream.unavailable path reason silentMs
session.health health previous forMs attempt model tool silentMs costUsd tokens
session.looping kind count limit tool
session.stuck reason kind limit value attempt message nextAt
session.aborting reason try
session.aborted tookMs
session.abort_failed error
session.wedged tries next
session.waiting on requestID
session.answered by forMs
session.recovered attempts episodeMs
session.ended outcome finish steps tools toolErrors costUsd tokens tookMs error
session.failed error statusCode attempts
session.interrupted by health
session.parked until
session.unparked outcome
session.continued model count
session.continue_failed error
session.quarantined crashes
budget.warning budget unit value limit
budget.exceeded budget unit value limit
provider.outage provider model sessions message
provider.back provider model
health.summary eventsPerSec serverMemoryBytes serverProcesses watchdogMemoryBytes restarts costTodayUsd tokensToday
config.invalid err
error err
`
  .trim()
  .split('\n')
  .map((line) => line.split(' ') as [EventName, ...string[]]);

describe('the catalogue', () => {
  it.each(CONTRACT)('has the contract’s event %s with its fields', (name, ...fields) => {
    expect(EVENT_NAMES).toContain(name);
    expect(Object.keys(CATALOGUE[name].fields)).toEqual(expect.arrayContaining(fields));
  });

  it('has the names in one form, and a meaning for everything', () => {
    for (const name of EVENT_NAMES) {
      expect(name).toMatch(/^[a-z]+(\.[a-z_]+)?$/);
      const { when, fields } = CATALOGUE[name];
      for (const text of [when, ...Object.values(fields)]) expect(text).toMatch(/^\S.+\S$/);
    }
  });

  it('names a field that is there where the level is that of a field', () => {
    const named = [...logEventsPage().matchAll(/^\| `(\S+)` \| as `(\w+)` \|/gm)];
    expect(named.length).toBeGreaterThan(0);
    for (const [, name, field] of named) {
      expect([name, ...Object.keys(CATALOGUE[name as EventName].fields)]).toContain(field);
    }
  });

  it('is what docs/log-events.md says (if not: npm run docs)', () => {
    const page = readFileSync(new URL('../../../docs/log-events.md', import.meta.url), 'utf8');
    expect(page).toBe(logEventsPage());
  });
});

describe('a message', () => {
  const session = { sessionID: 'ses_x' };

  it.each<[StuckReason, number, number, string]>([
    ['attempts', 5, 5, '5 requests have failed, limit 5'],
    ['duration', 60_000, 61_200, 'retrying for 1 min 1 s, limit 1 min'],
    ['wait', 300_000, 3_540_000, 'the next attempt is 59 min away, limit 5 min'],
    ['hopeless', 0, 0, 'no retry can mend this error'],
    ['silence', 600_000, 600_500, 'busy without a sign of life for 10 min 1 s, limit 10 min'],
    ['tool_time', 3_600_000, 3_660_000, 'tool bash has been running for 1 h 1 min, limit 1 h'],
    ['run_time', 7_200_000, 7_200_000, 'its run has lasted 2 h, limit 2 h'],
    ['waiting', 60_000, 60_000, 'a request has waited for an answer for 1 min, limit 1 min'],
    ['ghost', 0, 0, 'it was deleted, but its run goes on'],
    ['pileup', 30_000, 31_000, 'it is part of a pile-up, retrying for 31 s'],
  ])('says what a session is stuck by: %s', (reason, limit, value, because) => {
    expect(messageOf('session.stuck', { ...session, reason, limit, value, tool: 'bash' })).toBe(
      `Session ses_x is stuck: ${because}.`,
    );
  });

  it('has the numbers of a restart', () => {
    expect(
      messageOf('server.restarting', {
        reason: 'pileup',
        interrupted: ['ses_a'],
        restarts: 1,
        detail: '3 sessions retrying for 30 s',
      }),
    ).toBe(
      'Restarting the server because sessions pile up in retries (3 sessions retrying for 30 s); this cuts 1 session, restart 1 in the window.',
    );
  });

  it.each([
    [{ act: 'abort', sessionID: 'ses_x', reason: 'loop' }, 'abort session ses_x (loop)'],
    [{ act: 'reject', sessionID: 'ses_x' }, 'answer no for session ses_x'],
    [
      { act: 'dispose', directory: '/srv/shop', reason: 'wedged' },
      'dispose directory shop (wedged)',
    ],
    [{ act: 'restart', reason: 'memory' }, 'restart the server (memory)'],
    [{ act: 'continue_process' }, 'continue the server'],
  ] as const)('says what was left undone, and for whom: %j', (act, words) => {
    expect(messageOf('act.skipped', { ...act, because: 'paused' })).toBe(
      `Paused, not done: ${words}.`,
    );
    expect(messageOf('act.skipped', { ...act, because: 'dryRun' })).toBe(
      `Dry run: would ${words}; nothing is done.`,
    );
  });

  it('says how long a recycle waits, also where nothing bounds it', () => {
    const draining = { reason: 'memory', sessions: 2 } as const;
    expect(messageOf('server.draining', { ...draining, drainTimeoutMs: 1_800_000 })).toBe(
      'A restart (memory) waits for 2 sessions at work, at most 30 min.',
    );
    expect(messageOf('server.draining', { ...draining, drainTimeoutMs: 0 })).toBe(
      'A restart (memory) waits for 2 sessions at work, as long as that takes.',
    );
  });

  it('has one full stop at its end, whatever others end their messages with', () => {
    expect(messageOf('error', { err: new Error('Boom.\nmore'), doing: 'reading' })).toBe(
      'Failed while reading: Boom.',
    );
    expect(messageOf('session.failed', { ...session, error: 'Model not found', attempts: 0 })).toBe(
      'The run of session ses_x failed: Model not found.',
    );
  });

  it('sums the sessions up', () => {
    const counts = {
      idle: 4,
      busy: 2,
      waiting: 0,
      delegating: 0,
      retrying: 1,
      looping: 0,
      stalled: 0,
      stuck: 0,
      wedged: 0,
    };
    expect(
      messageOf('health.summary', {
        ...counts,
        eventsPerSec: 12.34,
        serverMemoryBytes: 512 * 1024 ** 2,
        watchdogMemoryBytes: 60 * 1024 ** 2,
        costTodayUsd: 0,
        tokensToday: 0,
        restarts: 0,
      }),
    ).toBe(
      'Sessions: 2 busy, 1 retrying; 12.3 events/s, no restarts, server 512 MiB, watchdog 60 MiB.',
    );
  });
});
