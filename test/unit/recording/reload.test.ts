/** A replay is exact across a reload: the new policy is in the recording, and nothing else changes the machine's own. */
import { expect, test } from 'vitest';
import { observationSchema, toLine } from '../../../src/recording/format.js';
import { replay } from '../../../src/recording/replay.js';
import type { Decision } from '../../../src/watchdog/decision.js';
import type { Observation } from '../../../src/watchdog/observation.js';
import { copyPolicy, DEFAULT_POLICY } from '../../../src/watchdog/policy.js';
import { Watchdog } from '../../../src/watchdog/watchdog.js';

test('what was decided before and after a reload is decided again by a replay of the lines', () => {
  const shared = copyPolicy(DEFAULT_POLICY);
  const watchdog = new Watchdog({ policy: shared, acts: true });
  const lines: string[] = [];
  const decided: Decision[] = [];
  const tell = (o: Observation) => {
    lines.push(toLine(o, (text) => text));
    decided.push(...watchdog.observe(o));
  };
  const retry = (at: number, attempt: number): Observation => ({
    kind: 'session.status',
    at,
    sessionID: 's',
    directory: '/p',
    status: { type: 'retry', attempt, message: 'Rate limit reached', nextInMs: 2_000 },
  });
  tell({ kind: 'server.attached', at: 0, running: true });
  tell(retry(1, 1));
  // Changed behind its back: that is nothing to it.
  shared.retry.maxAttempts = 2;
  tell(retry(2, 2));
  expect(decided.filter((each) => 'act' in each && each.act === 'abort')).toEqual([]);
  tell({ kind: 'policy.changed', at: 3, policy: copyPolicy(shared) });
  expect(decided.filter((each) => 'act' in each && each.act === 'abort')).toHaveLength(1);
  const read = lines.map((line) => observationSchema.parse(JSON.parse(line)) as Observation);
  const again = [...replay(read, { policy: DEFAULT_POLICY, acts: true, asRecorded: true })];
  expect(again.map(({ decision }) => decision)).toEqual(decided);
});
