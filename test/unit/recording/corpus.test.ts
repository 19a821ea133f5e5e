/**
 * The corpus: recordings of the real opencode, and of the fake OpenCode 2 (their names and headers say so), each of one
 * pattern, replayed against the rules as they are now.
 *
 * `corpus.ts` has what must be decided about each, to the millisecond; it is written by
 * `scripts/make-recordings.ts --table`, and read by whoever changes a rule.
 */
import { describe, expect, test } from 'vitest';
import type { Policy } from '../../../src/watchdog/policy.js';
import { BY_DEFAULT, DECIDED } from './corpus.js';
import {
  actsByDefault,
  decisions,
  policyOf,
  read,
  recordings,
  verdicts,
  words,
} from './decisions.js';

const names = recordings();
const saysEnd = (line: string) => line.startsWith('session.ended');

test('every recording is in the table, and every line of the table has its recording', () => {
  expect(names).toEqual(Object.keys(DECIDED).sort());
});

describe.each(names)('%s', (name) => {
  test('is decided now as the table says, to the millisecond', async () => {
    expect(verdicts(await read(name))).toEqual(DECIDED[name]);
  });

  test('is decided now as the daemon decided when it was recorded', async () => {
    const recording = await read(name);
    const then = (recording.header.decided as Record<string, unknown>[]).map(words);
    const now = decisions(recording, policyOf(recording), true)
      .map(({ decision }) => words(decision))
      // Recordings of 0.1 do not say how a run ended.
      .filter((line) => !saysEnd(line) || then.some(saysEnd))
      .filter((line) => /^(session|provider)\.|^server\.(unresponsive|exited|restart)/.test(line));
    expect(now).toEqual(then);
  });

  test('under the default limits nothing is done but what no limit holds back', async () => {
    expect(actsByDefault(await read(name))).toEqual(BY_DEFAULT[name] ?? []);
  });

  test('is a few hundred lines, and holds nothing of the machine or of a prompt', async () => {
    const { header, observations } = await read(name);
    const text = JSON.stringify([header, observations]);
    const paths = text.match(/"\/[^"]*"|\/tmp\/[^"]*|\/home\/[^"]*|\/root\/[^"]*/g) ?? [];
    const known = /^"\/(project|other|global\/event|event|api\/event|var\/run\/docker\.sock)"$/;
    expect(paths.filter((path) => !known.test(path))).toEqual([]);
    expect(text).not.toMatch(/\[\[|"title"|chunk \d|All done/);
    expect(header.about).toMatch(/\w.*\.$/);
    expect(observations.length).toBeLessThan(400);
  });
});

test('what the fake OpenCode 2 has made says so, and nothing else is of a 2.x', async () => {
  const made: string[] = [];
  for (const name of names) {
    const { header } = await read(name);
    const isOfFake =
      header.about?.startsWith('By the fake OpenCode 2, not by a real one: ') === true;
    expect([name, isOfFake, header.opencode?.startsWith('2.')]).toEqual([
      name,
      name.includes('-opencode-2-'),
      isOfFake,
    ]);
    if (isOfFake) made.push(name);
  }
  expect(made.length).toBeGreaterThan(15);
});

/** The sessions of lines like `11384 → abort ses_1 silence`. */
const sessionsOf = (lines: readonly string[], what: string) =>
  new Set(lines.filter((line) => line.includes(` ${what} `)).map((line) => line.split(' ').at(-2)));

test('what is recorded as healthy is touched by nobody', () => {
  const healthy = Object.entries(DECIDED).filter(([name]) => /^(healthy|failed)-/.test(name));
  expect(healthy.length).toBeGreaterThan(10);
  for (const [name, decided] of healthy) {
    expect([name, decided.filter((line) => /→|session\.stuck/.test(line))]).toEqual([name, []]);
  }
});

test('what is recorded as stuck is ended: every abort is followed by its proof', () => {
  const stuck = Object.entries(DECIDED).filter(([name]) => name.startsWith('stuck-'));
  expect(stuck.length).toBeGreaterThan(15);
  for (const [name, decided] of stuck) {
    const aborted = sessionsOf(decided, 'session.aborted');
    expect([name, aborted.size]).toEqual([name, 1]);
    expect([name, sessionsOf(decided, '→ abort')]).toEqual([name, aborted]);
  }
});

test('each is found within its limit and abort.verifyTimeout, and never before its limit', async () => {
  const limits: Record<string, (policy: Policy) => number> = {
    silence: ({ stall }) => stall.maxSilence,
    tool_time: ({ stall }) => stall.maxToolTime,
    run_time: ({ stall }) => stall.maxRunTime,
    duration: ({ retry }) => retry.maxDuration,
    waiting: ({ waiting }) => waiting.maxDuration,
    pileup: ({ pileup }) => pileup.minDuration,
  };
  let found = 0;
  for (const name of names) {
    const recording = await read(name);
    const policy = policyOf(recording);
    for (const { decision } of decisions(recording, policy, true)) {
      if (!('note' in decision) || decision.note !== 'session.stuck') continue;
      const limit = limits[decision.reason]?.(policy);
      if (limit === undefined) continue;
      found += 1;
      expect(decision.value).toBeGreaterThanOrEqual(limit);
      expect(decision.value).toBeLessThan(limit + policy.abort.verifyTimeout);
    }
  }
  expect(found).toBeGreaterThan(8);
});
