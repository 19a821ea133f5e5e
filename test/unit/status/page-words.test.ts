/** The words of the page are those of the log and of the commands. */
import { expect, it } from 'vitest';
import * as status from '../../../src/commands/status-text.js';
// biome-ignore lint/suspicious/noTsIgnore: a script of the page has no types
// @ts-ignore
import * as words from '../../../src/status/page/words.js';
import { REASON_WORDS } from '../../../src/telemetry/reason-words.js';
import { HEALTHS, RUN_OUTCOMES } from '../../../src/watchdog/decision.js';

const LIMITS = {
  maxSilenceMs: 600_000,
  maxAttempts: 12,
  maxToolTimeMs: 3_600_000,
  maxRunTimeMs: 0,
};
const NOW = 1_795_338_897_735;
const doing = (row: object) => words.doingWords({ health: 'busy', ...row }, LIMITS, NOW);

it('reasons are said as the log says them, and every health is known', () => {
  expect(words.REASONS).toEqual(REASON_WORDS);
  expect([...words.HEALTHS].sort()).toEqual([...HEALTHS].sort());
});

it('what is measured stands beside its limit', () => {
  expect(doing({ quietSince: NOW - 130_000 })).toBe('quiet for 2 min 10 s of 10 min');
  expect(doing({ quietSince: NOW - 5_000 })).toBe('');
  expect(doing({ health: 'retrying', attempt: 3, message: 'Overloaded' })).toBe(
    'attempt 3 of 12 · Overloaded',
  );
  expect(doing({ tool: 'bash', toolInput: 'npm test', toolSince: NOW - 100_000 })).toBe(
    'bash npm test for 1 min 40 s of 1 h',
  );
  expect(
    doing({ waitingFor: 'question', waitingSince: NOW - 60_000, question: 'Which database?' }),
  ).toBe('waits for a person to answer a question, for 1 min · Which database?');
});

it('an idle session says how its run ended', () => {
  const ended = (row: object) => doing({ health: 'idle', ...row });
  expect(ended({ outcome: 'completed' })).toBe('finished');
  expect(ended({ outcome: 'failed', message: 'bad key (401)' })).toBe('failed: bad key (401)');
  expect(ended({ outcome: 'aborted', reason: 'loop' })).toBe('aborted (going round in circles)');
  expect(ended({ outcome: 'aborted', reason: 'manual', endedBy: 'page' })).toBe(
    'aborted from this page',
  );
  expect(ended({ outcome: 'interrupted', endedAt: NOW, endedBy: 'exited' })).toMatch(
    /^cut at \d\d:\d\d by a restart \(exited\)$/,
  );
  expect(ended({ outcome: 'aborted', reason: 'hopeless', parkedUntil: NOW + 3_600_000 })).toMatch(
    /^parked until \d\d:\d\d, for 1 h$/,
  );
  expect(words.endedBadly({ health: 'idle', outcome: 'interrupted' })).toBe(true);
  expect(words.endedBadly({ health: 'idle', outcome: 'completed' })).toBe(false);
});

it('an idle session has the same words on the page and in a terminal', () => {
  const enders = [undefined, 'command', 'http', 'stop', 'dispose', 'elsewhere', 'exited'];
  for (const outcome of RUN_OUTCOMES) {
    for (const endedBy of enders) {
      for (const reason of [undefined, 'manual', 'loop']) {
        const row = { health: 'idle', outcome, endedBy, reason, endedAt: NOW, message: 'why' };
        expect(status.doing(row as never, { now: NOW, limits: undefined })).toBe(doing(row));
      }
    }
  }
});

it('a group’s cost has a subagent’s cost once, with that of its parent', () => {
  const parent = { id: 'ses_parent', costUsd: 5 };
  const child = { id: 'ses_child', parentID: 'ses_parent', costUsd: 4 };
  expect(words.costOf([parent, child, { id: 'ses_new' }])).toBe(5);
  expect(words.costOf([child])).toBe(4);
});
