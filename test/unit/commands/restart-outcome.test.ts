/** `restart` ends with what became of the restart, read from two looks at the daemon's status. */
import { expect, it } from 'vitest';
import { outcomeOfRestart } from '../../../src/commands/daemon-acts.js';

const HEALTHY = { health: 'healthy', pid: 7 };
const BEFORE = { at: '2026-01-01T00:00:00.000Z', reason: 'memory', tookMs: 5 };
const UNDER_WAY = { at: '2026-01-01T00:00:01.000Z', reason: 'manual' };
const LATER = { at: '2026-01-01T00:00:02.000Z', reason: 'wedged' };

const look = (server: object, ...restarts: object[]) =>
  ({ server, restarts }) as unknown as Parameters<typeof outcomeOfRestart>[0];

it.each([
  [
    'is under way',
    look(HEALTHY, BEFORE),
    look({ health: 'restarting' }, UNDER_WAY, BEFORE),
    undefined,
  ],
  ['has not begun', look(HEALTHY, BEFORE), look(HEALTHY, BEFORE), undefined],
  [
    'worked',
    look(HEALTHY, BEFORE),
    look(HEALTHY, { ...UNDER_WAY, tookMs: 9 }, BEFORE),
    { ok: true, says: 'the server is healthy again, pid 7', tookMs: 9 },
  ],
  [
    'failed',
    look(HEALTHY),
    look(HEALTHY, { ...UNDER_WAY, error: 'exit code 7' }),
    { ok: false, says: 'the restart failed: exit code 7', error: 'exit code 7' },
  ],
  [
    'failed, and another follows',
    look(HEALTHY),
    look({ health: 'restarting' }, LATER, { ...UNDER_WAY, error: 'exit code 7' }),
    { ok: false, says: 'the restart failed: exit code 7', error: 'exit code 7' },
  ],
  [
    'was under way when it was asked for',
    look({ health: 'restarting' }, UNDER_WAY),
    look(HEALTHY, { ...UNDER_WAY, tookMs: 9 }),
    { ok: true, says: 'the server is healthy again, pid 7', tookMs: 9 },
  ],
  [
    'was the start of a server that was not there',
    look({ health: 'down' }),
    look(HEALTHY),
    { ok: true, says: 'the server is healthy again, pid 7' },
  ],
])('a restart that %s', (_, before, now, outcome) => {
  expect(outcomeOfRestart(before, now)).toEqual(outcome);
});
