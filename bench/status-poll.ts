/**
 * 10,000 sessions in one answer of `/session/status`: from its bytes to statuses that are checked and bounded, against
 * `JSON.parse` of the same bytes. What the state machine then does with a poll that tells nothing new is told beside it.
 */
import { defaultConfig } from '../src/config/schema.js';
import * as schemas from '../src/opencode/v1/schemas.js';
import { ParseStats } from '../src/opencode/v1/status.js';
import { readStatuses } from '../src/opencode/v1/status-list.js';
import type { SessionStatus } from '../src/watchdog/observation.js';
import { Watchdog } from '../src/watchdog/watchdog.js';
import { median, ms, type Row } from './figures.js';

const SESSIONS = 10_000;
const REPETITIONS = 200;
/** Not counted: until the compiler is done. */
const WARM_UP = 50;
const EPOCH = 1_795_343_500_000;
const DIRECTORY = '/home/me/code/api';
const MESSAGES = [
  'Rate limit reached',
  'Service Unavailable',
  'Too many tokens per minute: please try again in 20s. Visit https://example.com/limits to raise yours.',
];

/** As opencode 1.18.33 writes it; two of three sessions work, the third waits for its next attempt. */
function body(): Buffer {
  const entries = Array.from({ length: SESSIONS }, (_, index) => [
    `ses_dfc9${String(index).padStart(8, '0')}QFqraUiTSNhzGd`,
    index % 3 > 0
      ? { type: 'busy' }
      : {
          type: 'retry',
          attempt: 1 + (index % 5),
          message: MESSAGES[index % MESSAGES.length],
          next: EPOCH + 1_000 * (index % 30),
        },
  ]);
  return Buffer.from(JSON.stringify(Object.fromEntries(entries)));
}

const parse = (bytes: Buffer): unknown => JSON.parse(bytes.toString('utf8'));

function read(bytes: Buffer, oddities: ParseStats): Map<string, SessionStatus> {
  const answer = schemas.statuses.safeParse(parse(bytes));
  const list = answer.success ? readStatuses(answer.data, EPOCH, oddities) : undefined;
  if (list?.kind !== 'read' || list.statuses.size !== SESSIONS)
    throw new Error('not all were read');
  return list.statuses;
}

export function statusPoll(): Row {
  const bytes = body();
  const oddities = new ParseStats();
  const watchdog = new Watchdog({ policy: defaultConfig(), acts: false });
  let at = 0;
  const observe = (statuses: Map<string, SessionStatus>) =>
    watchdog.observe({ kind: 'status.polled', at, startedAt: at, directory: DIRECTORY, statuses });
  const bare: number[] = [];
  const ours: number[] = [];
  const machine: number[] = [];
  for (let round = -WARM_UP; round < REPETITIONS; round += 1) {
    const own = took(() => read(bytes, oddities));
    const theirs = took(() => parse(bytes));
    const statuses = read(bytes, oddities);
    // A moment later each: no limit is crossed, nothing has changed.
    at += 1;
    const observed = took(() => observe(statuses));
    if (round < 0) continue;
    ours.push(own);
    bare.push(theirs);
    machine.push(observed);
  }
  if (oddities.garbage > 0) throw new Error('some were not understood');
  return {
    measure: '10,000 status entries in one poll',
    result: `${ms(median(ours))} (and ${ms(median(machine))} in the state machine)`,
    against: `JSON.parse ${ms(median(bare))}`,
    ratio: `${(median(ours) / median(bare)).toFixed(2)}x`,
    goal: '≤ 2x',
  };
}

/** Milliseconds. */
function took(work: () => unknown): number {
  const from = performance.now();
  work();
  return performance.now() - from;
}
