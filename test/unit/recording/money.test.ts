/** Money in a recording is exact: what a budget has decided is decided again by a replay. */
import { expect, test } from 'vitest';
import { observationSchema, toLine } from '../../../src/recording/format.js';
import { replay } from '../../../src/recording/replay.js';
import type { Decision } from '../../../src/watchdog/decision.js';
import type { Observation } from '../../../src/watchdog/observation.js';
import { copyPolicy, DEFAULT_POLICY } from '../../../src/watchdog/policy.js';
import { Watchdog } from '../../../src/watchdog/watchdog.js';

const step = (at: number, costUsd: number): Observation => ({
  kind: 'session.step_finished',
  at,
  sessionID: 's',
  directory: '/p',
  step: {
    messageID: `m${at}`,
    empty: false,
    tools: 1,
    toolErrors: 0,
    hasText: false,
    fileChanges: 0,
    costUsd,
    tokens: 100,
  },
});

test('many steps of a small cost exceed a budget in a replay too, also one set by a reload', () => {
  const policy = copyPolicy(DEFAULT_POLICY);
  const watchdog = new Watchdog({ policy, acts: true });
  const lines: string[] = [];
  const decided: Decision[] = [];
  const tell = (o: Observation) => {
    lines.push(toLine(o, (text) => text));
    decided.push(...watchdog.observe(o));
  };
  tell({ kind: 'server.attached', at: 0, running: true });
  const status = { type: 'busy' } as const;
  tell({ kind: 'session.status', at: 1, sessionID: 's', directory: '/p', status });
  const smaller = copyPolicy(policy);
  smaller.budget.run.cost = 0.0404;
  tell({ kind: 'policy.changed', at: 2, policy: smaller });
  for (let n = 0; n < 130; n += 1) tell(step(10 + n, 0.0004));
  expect(decided).toContainEqual(expect.objectContaining({ act: 'abort', sessionID: 's' }));
  const read = lines.map((line) => observationSchema.parse(JSON.parse(line)) as Observation);
  const again = [...replay(read, { policy, acts: true, asRecorded: true })];
  expect(again.map(({ decision }) => decision)).toEqual(decided);
});
