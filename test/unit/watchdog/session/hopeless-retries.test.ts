/** Which failing requests no waiting can mend, and which waits a provider names for the others. */
import { describe, expect, test } from 'vitest';
import { DEFAULT_POLICY } from '../../../../src/watchdog/policy.js';
import { isHopeless, namedInText, namedWait } from '../../../../src/watchdog/session/hopeless.js';
import type { Episode } from '../../../../src/watchdog/session/state.js';
import { MINUTE, SECOND, world } from '../driver.js';

const of = (message: string, rest: Partial<Episode> = {}): Episode => ({
  startedAt: 0,
  attempts: 1,
  message,
  nextAt: undefined,
  needsPerson: false,
  named: undefined,
  namedBeforeMs: 0,
  holds: 0,
  progressed: false,
  ...rest,
});

test.each([
  // 1.2.27, from opencode's own `FreeUsageLimitError`.
  'Free usage exceeded, add credits https://opencode.ai/zen',
  'You exceeded your current quota, please check your plan and billing details.',
  'Insufficient balance. Add credits to continue.',
  'Usage exhausted',
  'Usage limit reached',
  'Claude usage limit reached. Your limit will reset at 5pm.',
  'You have reached your usage limit',
  "You've hit the free plan usage limit",
  'Quota exceeded',
  'quota has been exhausted for this project',
  'You have exceeded the free tier quota',
  'Monthly limit reached',
  'You have reached your monthly spending limit',
  'This request would exceed your weekly usage limit.',
  'Workspace spend limit reached',
  'Monthly token quota used up',
  'Billing hard limit has been reached',
])('%s is hopeless', (message) => {
  expect(isHopeless(of(message))).toBe(true);
});

test.each([
  'Rate limit reached',
  'Too many requests, please try again later',
  'Service Unavailable',
  'The server is overloaded',
  'Connection reset by server',
  'Request limit of 5 reached for your month-old key',
  'Quota exceeded for quota metric requests and limit requests per minute per project',
  "Quota exceeded for limit 'GenerateContentRequestsPerMinutePerProject'",
  'You exceeded your current quota of 60000 TPM'.replace('TPM', 'tpm'),
])('%s may heal', (message) => {
  expect(isHopeless(of(message))).toBe(false);
});

test('whatever opencode asks a person for is hopeless without one', () => {
  expect(isHopeless(of('Rate limit reached', { needsPerson: true }))).toBe(true);
});

test('neither words nor a wish for a person count where a near time is named', () => {
  const named = { from: 0, until: 6_000 };
  expect(isHopeless(of('You exceeded your current quota', { named }))).toBe(false);
  expect(isHopeless(of('Usage limit reached', { named, needsPerson: true }))).toBe(false);
});

test.each([
  ['You exceeded your current quota. Please retry in 6s', 6 * SECOND],
  ['Quota exceeded. Please retry in 6.734652384s.', 6_734.652384],
  ['Rate limit reached. Please try again in 20 seconds.', 20 * SECOND],
  ['Please try again in 7m12s. Visit https://x.example', 7 * MINUTE + 12 * SECOND],
  ['Please try again in 1 minute and 30 seconds', 90 * SECOND],
  ['try again in 850ms', 850],
  ['Limit reached, please wait 30 seconds before retrying', 30 * SECOND],
  ['Your quota resets in 2 hours', 120 * MINUTE],
  ['It will reset in 3 days', 3 * 24 * 60 * MINUTE],
  ['{"retryDelay": "38s"}', 38 * SECOND],
  ['429: retry-after: 12', 12 * SECOND],
  ['Retry after 45', 45 * SECOND],
  ['Retry after 45 seconds', 45 * SECOND],
])('%s names a time', (message, ms) => {
  expect(namedInText(message)).toBeCloseTo(ms, 6);
});

test.each([
  'Rate limit reached',
  'Please try again later',
  'Limit of 15 requests per minute reached, try again later',
  'You used 100 s of compute',
  'Your limit will reset at 5pm',
  'try again with model m4.5 super',
])('%s names no time', (message) => {
  expect(namedInText(message)).toBeUndefined();
});

test.each(['daily-', 'hit the a-', 'retry after ', 'wait 1', 'again '])(
  'many %j take no longer than other words',
  (words) => {
    // Milliseconds; were the time quadratic, the runner's limit would be passed.
    const message = words.repeat(2 ** 16 / words.length);
    expect(isHopeless(of(message))).toBe(false);
    expect(namedInText(message)).toBeUndefined();
  },
);

test('a time after many blanks is not looked for', () => {
  expect(namedInText(`retry after ${' '.repeat(2 ** 20)}7`)).toBeUndefined();
});

describe("opencode's own backoff names no time", () => {
  test.each([
    [1, 2_000],
    [1, 2_500],
    [1, 1_700],
    [2, 4_800],
    [3, 9_999],
    [4, 19_500],
    [5, 30_000],
    [9, 30_000],
    // Older versions, if the headers name no time.
    [6, 64_000],
    [7, 150_000],
  ])('attempt %i in %i ms', (attempt, waitMs) => {
    expect(namedWait(attempt, 'Rate limit reached', waitMs)).toBeUndefined();
  });

  test.each([
    [1, 6_000],
    [1, 3_000],
    [2, 20_000],
    [5, 60_000],
    [1, 3_600_000],
  ])('but attempt %i in %i ms is somebody else’s idea', (attempt, waitMs) => {
    expect(namedWait(attempt, 'Rate limit reached', waitMs)).toBe(waitMs);
  });
});

test('a time that is sooner than opencode’s own is named by whoever named one before', () => {
  expect(namedWait(4, 'Rate limit reached', 6_000)).toBeUndefined();
  expect(namedWait(4, 'Rate limit reached', 6_000, true)).toBe(6_000);
});

describe('a quota for each minute', () => {
  const QUOTA = 'You exceeded your current quota, please check your plan and billing details.';

  test.each([
    ['in the text', { message: `${QUOTA} Please retry in 6s`, nextInMs: 2_000 }],
    ['in a header that opencode follows', { message: QUOTA, nextInMs: 6_000 }],
    ['in both', { message: `${QUOTA} Please retry in 6s`, nextInMs: 6_000 }],
  ])('is waited for where its time is named %s', (_, retry) => {
    const w = world()
      .prompt()
      .fails('s', 1, retry)
      .advance(6 * SECOND);
    expect(w.acts()).toEqual([]);
    w.status('s', 'busy').text().stepFinished();
    expect(w.notes('session.recovered')).toHaveLength(1);
    expect(w.stuck()).toEqual([]);
  });

  test('is known again at every attempt of the episode', () => {
    const w = world({ policy: DEFAULT_POLICY }).prompt();
    for (let attempt = 1; attempt <= 4; attempt += 1) {
      w.fails('s', attempt, { message: QUOTA, nextInMs: 6_000 }).advance(6 * SECOND);
    }
    expect(w.acts()).toEqual([]);
  });

  test('is told from a spent one: words, and no time but opencode’s own', () => {
    expect(world().prompt().fails('s', 1, { message: QUOTA, nextInMs: 2_000 }).stuck()).toEqual([
      'hopeless',
    ]);
  });

  test('is told from one that comes back in hours', () => {
    const message = `${QUOTA} It resets in 5 hours`;
    expect(world().prompt().fails('s', 1, { message, nextInMs: 2_000 }).stuck()).toEqual([
      'hopeless',
    ]);
  });

  test('is judged by what was announced, not by what a poll finds left of it', () => {
    const w = world().prompt().fails('s', 1, { message: QUOTA, nextInMs: 6_000 });
    w.advance(4 * SECOND).poll({
      s: { type: 'retry', attempt: 1, message: QUOTA, nextInMs: 2_000 },
    });
    expect(w.stuck()).toEqual([]);
  });

  test('does not grow old while it waits as it was told to', () => {
    const w = world({ policy: { retry: { maxAttempts: 100 } } }).prompt();
    for (let attempt = 1; attempt <= 5; attempt += 1) {
      w.fails('s', attempt, { nextInMs: MINUTE }).advance(MINUTE);
    }
    expect(w.stuck()).toEqual([]);
    // Waits that opencode then chooses itself do count.
    w.fails('s', 6, { nextInMs: 64 * SECOND }).advance(64 * SECOND);
    w.fails('s', 7, { nextInMs: 128 * SECOND });
    expect(w.advance(MINUTE).stuck()).toEqual(['duration']);
  });
});

describe('the default limits', () => {
  test('end no run before the last request of opencode 1.18', () => {
    const w = world({ policy: DEFAULT_POLICY });
    for (const id of ['a', 'b', 'c']) w.prompt(id);
    // 5 retries, each announced with the longest possible wait (facts, section 13). The sixth request is sent and
    // fails.
    for (const [attempt, nextInMs] of [2_500, 5_000, 10_000, 20_000, 30_000].entries()) {
      for (const id of ['a', 'b', 'c']) w.fails(id, attempt + 1, { nextInMs });
      w.advance(nextInMs);
    }
    for (const id of ['a', 'b', 'c'])
      w.status(id, 'busy').advance(SECOND).error(id).status(id, 'idle');
    expect(w.acts()).toEqual([]);
    expect(w.notes('session.failed')).toHaveLength(3);
  });

  test('end no run before the eleventh request of opencode 2', () => {
    const w = world({ policy: DEFAULT_POLICY }).prompt();
    // 11 requests in about 100 s.
    for (let attempt = 1; attempt <= 10; attempt += 1) {
      w.fails('s', attempt, { nextInMs: 10 * SECOND }).advance(10 * SECOND);
    }
    w.status('s', 'busy').advance(SECOND).error('s').status('s', 'idle');
    expect(w.acts()).toEqual([]);
  });

  test('end a run that goes on after that', () => {
    const w = world({ policy: DEFAULT_POLICY }).prompt();
    for (let attempt = 1; attempt <= 12; attempt += 1) w.fails('s', attempt).advance(SECOND);
    expect(w.notes('session.stuck')).toMatchObject([{ reason: 'attempts', value: 12, limit: 12 }]);
  });
});

test('sessions that wait for a near time that was named are no pile-up', () => {
  const w = world({ policy: DEFAULT_POLICY });
  for (const id of ['a', 'b', 'c']) w.prompt(id);
  for (let attempt = 1; attempt <= 4; attempt += 1) {
    for (const id of ['a', 'b', 'c']) w.fails(id, attempt, { nextInMs: MINUTE });
    w.advance(MINUTE);
    for (const id of ['a', 'b', 'c']) w.status(id, 'busy');
    w.advance(SECOND);
  }
  expect(w.acts()).toEqual([]);
});
