/**
 * The steps of one session's abort: find where it runs, check its status, send, check until it is idle.
 *
 * Written once and carried out by whoever drives them: `abort.ts` with the real client, the simulation of the property
 * tests with its own server. Believed is only the status of the session's own directory, never the answer `true`
 * (facts, section 6).
 */
import type { ActObservation, SessionStatus, WithdrawnAs } from '../../watchdog/observation.js';

/** The last check before sending must not hold up an abort for longer than this, or this share of its limit. */
const MAX_CHECK_MS = 2_000;
const CHECK_SHARE = 0.25;
/** Where the run is known to wait, the check is a courtesy to whoever ended it in the same moment, and no more. */
const SHORT_CHECK_MS = 10;
/** An abort takes effect within 50 ms as a rule (seen on 1.18.33): the first checks come quickly. */
const FIRST_CHECK_MS = 20;
const MAX_CHECK_PAUSE_MS = 250;

export interface AbortOptions {
  /** The session's own; undefined is found out by asking. */
  directory: string | undefined;
  /** The session must be seen idle within this time after sending. */
  verifyTimeoutMs: number;
  /**
   * What the last check must show: with `retry`, a session that is busy just now is left alone, as the attempt in
   * flight may be the one that works.
   */
  expect?: 'retry' | 'active';
  /** The status of this very moment said that the next attempt is still some time away: the last check may be short. */
  waits?: boolean;
}

export type AbortOutcome =
  | { outcome: 'done'; tookMs: number; directory?: string }
  | { outcome: 'withdrawn'; seen: WithdrawnAs }
  | { outcome: 'failed'; error: string };

/** How the state machine is told of it. */
export function abortEnd(end: AbortOutcome, sessionID: string, at: number): ActObservation {
  switch (end.outcome) {
    case 'done':
      return { kind: 'abort.done', at, sessionID, tookMs: end.tookMs };
    case 'withdrawn':
      return { kind: 'abort.withdrawn', at, sessionID, seen: end.seen };
    case 'failed':
      return { kind: 'abort.failed', at, sessionID, error: end.error };
  }
}

/** The session's directory; null: there is no such session; undefined: it cannot be had. */
export type Found = string | null | undefined;

export interface StatusCheck {
  seen: SessionStatus['type'] | 'nothing';
  words: string;
}

/** What came of the request so far. */
export interface SendAnswer {
  words: string;
  /** Nobody listens, or nobody lets us in: it will not get better in this try. */
  hopeless: boolean;
  /** The server said that there was no run to end. */
  nothingRan: boolean;
}

/** One step to carry out; `take` is given what it showed before the next one is asked for. */
export type AbortStep =
  | { step: 'find'; take(found: Found): void }
  | {
      step: 'check';
      directory: string | undefined;
      /** The check itself may take this long. */
      withinMs: number;
      /** It is waited for no longer than this, and not cut off: the abort wants its connection. */
      waitMs?: number;
      take(status: StatusCheck): void;
    }
  /** Begins to send, and does not wait for the answer: an abort that hangs may have worked, and the status will show it. */
  | { step: 'send'; directory: string | undefined; withinMs: number }
  | { step: 'wait'; ms: number };

/** What the steps ask of their driver between two of them. */
export interface AbortDriver {
  now(): number;
  /** Nobody wants it any more; asked for as long as it was not sent. */
  isWithdrawn(): boolean;
  /** The proof is not waited for any more. */
  isStopping(): boolean;
  answer(): SendAnswer;
}

export const UNSEEN: StatusCheck = { seen: 'nothing', words: 'its status was not read in time' };

export function describeStatus(status: SessionStatus | undefined): StatusCheck {
  const words =
    status?.type === 'retry'
      ? `still retry, attempt ${status.attempt}`
      : `still ${status?.type ?? 'idle'}`;
  return { seen: status?.type ?? 'idle', words };
}

export function* abortSteps(
  driver: AbortDriver,
  options: AbortOptions,
): Generator<AbortStep, AbortOutcome, void> {
  const { verifyTimeoutMs, expect = 'active' } = options;
  let found: Found = options.directory ?? (yield* find());
  let before = yield* checkBefore(found ?? undefined, options);
  if (before.seen === 'idle' && options.directory !== undefined) {
    // Every directory but its own shows it as idle: only where it lives is that believed.
    const own = yield* find();
    const isElsewhere = typeof own === 'string' && own !== found;
    if (own !== undefined) found = own;
    if (isElsewhere) before = yield* checkBefore(own, options);
  }
  if (driver.isWithdrawn()) return { outcome: 'withdrawn', seen: 'withdrawn' };
  // A check that failed shows nothing, and does not stop the abort.
  if (before.seen === 'idle') {
    return { outcome: 'withdrawn', seen: found === null ? 'missing' : 'idle' };
  }
  if (before.seen === 'busy' && expect === 'retry') return { outcome: 'withdrawn', seen: 'busy' };

  const directory = found ?? options.directory;
  const sentAt = driver.now();
  const end = sentAt + verifyTimeoutMs;
  yield { step: 'send', directory, withinMs: verifyTimeoutMs };
  let last = before;
  for (let pause = FIRST_CHECK_MS; ; pause = Math.min(MAX_CHECK_PAUSE_MS, pause * 2)) {
    const left = end - driver.now();
    if (left <= 0) break;
    yield { step: 'wait', ms: Math.min(pause, left) };
    if (driver.isStopping()) break;
    const seen = yield* check(directory, Math.max(MAX_CHECK_PAUSE_MS, end - driver.now()));
    // What could not be read says less than what was read before.
    if (seen.seen !== 'nothing') last = seen;
    if (last.seen === 'idle') {
      const tookMs = Math.round(driver.now() - sentAt);
      return { outcome: 'done', tookMs, ...(directory !== undefined && { directory }) };
    }
    const { hopeless, nothingRan, words } = driver.answer();
    // Where no status can be had, this is all the proof there is (1.0.0).
    if (last.seen === 'nothing' && nothingRan) return { outcome: 'withdrawn', seen: 'idle' };
    if (hopeless) return { outcome: 'failed', error: words };
  }
  const tookMs = Math.round(driver.now() - sentAt);
  const { words } = driver.answer();
  return { outcome: 'failed', error: `${last.words}, ${tookMs} ms after the abort ${words}` };
}

function* find(): Generator<AbortStep, Found, void> {
  let found: Found;
  yield {
    step: 'find',
    take: (answer) => {
      found = answer;
    },
  };
  return found;
}

function* check(
  directory: string | undefined,
  withinMs: number,
  waitMs?: number,
): Generator<AbortStep, StatusCheck, void> {
  let shown = UNSEEN;
  yield {
    step: 'check',
    directory,
    withinMs,
    ...(waitMs !== undefined && { waitMs }),
    take: (answer) => {
      shown = answer;
    },
  };
  return shown;
}

function checkBefore(
  directory: string | undefined,
  { verifyTimeoutMs, waits }: AbortOptions,
): Generator<AbortStep, StatusCheck, void> {
  const withinMs = Math.max(MAX_CHECK_MS, verifyTimeoutMs * CHECK_SHARE);
  return check(directory, withinMs, waits ? SHORT_CHECK_MS : undefined);
}
