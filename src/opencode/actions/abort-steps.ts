/**
 * The steps of one session's abort: find where it runs, check its status, send, check until it is idle.
 *
 * The steps are written once and have two drivers: `abort.ts` with the real client, and the simulation of the property
 * tests with its own server. Only the status in the session's own directory is believed, never the answer `true`
 * (facts, section 6).
 */
import type { ActObservation, SessionStatus, WithdrawnAs } from '../../watchdog/observation.js';

/**
 * The last check before sending may hold up an abort for this long, or for this share of its limit if that is longer.
 */
const MAX_CHECK_MS = 2_000;
const CHECK_SHARE = 0.25;
/** If the run is known to wait, the check only has to notice that somebody else ended the run at the same moment. */
const SHORT_CHECK_MS = 10;
/** An abort usually takes effect within 50 ms (seen on 1.18.33), so the first checks come quickly. */
const FIRST_CHECK_MS = 20;
const MAX_CHECK_PAUSE_MS = 250;

export interface AbortOptions {
  /** The session's own directory. If it is undefined, the server is asked for it. */
  directory: string | undefined;
  /** The session must be seen idle within this time after sending. */
  verifyTimeoutMs: number;
  /**
   * What the last check must show. With `retry`, a session that is busy at that moment is left alone, because the
   * attempt in flight may be the one that works.
   */
  expect?: 'retry' | 'active';
  /** A status that has just come says that the next attempt is still some time away, so the last check may be short. */
  waits?: boolean;
}

export type AbortOutcome =
  | { outcome: 'done'; tookMs: number; directory?: string }
  | { outcome: 'withdrawn'; seen: WithdrawnAs }
  | { outcome: 'failed'; error: string };

/** The observation that tells the state machine how the abort ended. */
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

/** The session's directory; null: there is no such session; undefined: it could not be read. */
export type Found = string | null | undefined;

export interface StatusCheck {
  seen: SessionStatus['type'] | 'nothing';
  words: string;
}

/** What is known of the request so far. */
export interface SendAnswer {
  words: string;
  /** Nobody listens, or the server refuses our credentials: this try cannot succeed. */
  hopeless: boolean;
  /** The server said that there was no run to end. */
  nothingRan: boolean;
}

/** One step to carry out. The driver gives its result to `take` before it asks for the next step. */
export type AbortStep =
  | { step: 'find'; take(found: Found): void }
  | {
      step: 'check';
      directory: string | undefined;
      /** The check itself may take this long. */
      withinMs: number;
      /**
       * The abort waits for the check no longer than this. The check is not cancelled, so that the abort can use its
       * connection.
       */
      waitMs?: number;
      take(status: StatusCheck): void;
    }
  /**
   * Starts to send, and does not wait for the answer: an abort that hangs may have worked, and the status will show it.
   */
  | { step: 'send'; directory: string | undefined; withinMs: number }
  | { step: 'wait'; ms: number };

/** What the steps need to know from their driver. */
export interface AbortDriver {
  /** A status list covers one directory. Every directory except its own shows the session as idle. */
  readonly listsOneDirectory: boolean;
  now(): number;
  /** Nobody wants the abort any more. Asked only before it is sent. */
  isWithdrawn(): boolean;
  /** The driver does not wait for the proof any more. */
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
  const isActive = before.seen !== 'idle' && before.seen !== 'nothing';
  const isLost = driver.listsOneDirectory && found === undefined && !isActive;
  if (isLost || (before.seen === 'idle' && options.directory !== undefined)) {
    // Idle is only believed in its own directory.
    const own = yield* find();
    const isElsewhere = typeof own === 'string' && own !== found;
    if (own !== undefined) found = own;
    if (isElsewhere) before = yield* checkBefore(own, options);
  }
  if (driver.isWithdrawn()) return { outcome: 'withdrawn', seen: 'withdrawn' };
  if (isLost && found === undefined) {
    const also = before.seen === 'nothing' ? `, and ${before.words}` : '';
    return { outcome: 'failed', error: `its directory could not be read${also}` };
  }
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
    // A status that could not be read does not replace one that was read before.
    if (seen.seen !== 'nothing') last = seen;
    if (last.seen === 'idle') {
      const tookMs = Math.round(driver.now() - sentAt);
      return { outcome: 'done', tookMs, ...(directory !== undefined && { directory }) };
    }
    const { hopeless, nothingRan, words } = driver.answer();
    // If no status can be read, this is the only proof there is (1.0.0).
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
