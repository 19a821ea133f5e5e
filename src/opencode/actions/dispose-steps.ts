/**
 * The steps of a dispose: check once more which sessions run in the directory, send, check until the sessions that it
 * is meant for are idle.
 *
 * Like the steps of an abort, they are written once and have two drivers: `dispose.ts` with the real client, and the
 * simulation of the property tests with its own server. The answer `true` is never believed (facts, section 12).
 */
import type { DisposeObservation } from '../../watchdog/observation.js';

/**
 * The last check before sending may hold up a dispose for this long. A directory whose plugins hang does not answer at
 * all.
 */
const MAX_CHECK_MS = 2_000;
/** A dispose takes 0.1–2.5 s (facts, section 12), and the check that follows may load the directory again. */
const FIRST_PAUSE_MS = 100;
const MAX_PAUSE_MS = 500;

export interface DisposeOptions {
  directory: string;
  /** The sessions that must be seen idle. */
  sessions: readonly string[];
  /** All sessions that are known to run there. */
  known: readonly string[];
  /** The sessions must be seen idle within this time after sending, ms. */
  verifyTimeoutMs: number;
}

export type DisposeOutcome =
  | { outcome: 'done'; tookMs: number }
  | { outcome: 'withdrawn'; seen: 'idle' | 'others' }
  | { outcome: 'failed'; error: string };

/** The observation that tells the state machine how the dispose ended. */
export function disposeEnd(end: DisposeOutcome, directory: string, at: number): DisposeObservation {
  switch (end.outcome) {
    case 'done':
      return { kind: 'dispose.done', at, directory, tookMs: end.tookMs };
    case 'withdrawn':
      return { kind: 'dispose.withdrawn', at, directory, seen: end.seen };
    case 'failed':
      return { kind: 'dispose.failed', at, directory, error: end.error };
  }
}

/** The sessions that run in the directory; undefined if the status could not be read in time. */
export type Running = ReadonlySet<string> | undefined;

export type DisposeStep =
  /** `take`: `unplaced` is a session that runs, and nobody can say in which directory. */
  | { step: 'check'; withinMs: number; take(running: Running, unplaced?: string): void }
  /** Starts to send, and does not wait for the answer. */
  | { step: 'send'; withinMs: number }
  | { step: 'wait'; ms: number };

export interface DisposeDriver {
  now(): number;
  isStopping(): boolean;
  /** What is known of the request so far. `isFinal`: it cannot succeed any more. */
  answer(): { words: string; isFinal: boolean };
}

export function* disposeSteps(
  driver: DisposeDriver,
  { sessions, known, verifyTimeoutMs }: DisposeOptions,
): Generator<DisposeStep, DisposeOutcome, void> {
  const stillRun = (running: ReadonlySet<string>) => sessions.filter((id) => running.has(id));
  const { running: before, unplaced } = yield* check(MAX_CHECK_MS);
  if (before !== undefined) {
    if (stillRun(before).length === 0) return { outcome: 'withdrawn', seen: 'idle' };
    if ([...before].some((id) => !known.includes(id)))
      return { outcome: 'withdrawn', seen: 'others' };
    // The dispose might cut its run. Nor would another try know more, so the next step has its turn: a restart, which
    // waits for healthy runs.
    if (unplaced !== undefined)
      return { outcome: 'failed', error: `the directory of ${unplaced} could not be read` };
  }
  const sentAt = driver.now();
  const end = sentAt + verifyTimeoutMs;
  yield { step: 'send', withinMs: verifyTimeoutMs };
  let last = 'its status was not read in time';
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(MAX_PAUSE_MS, pause * 2)) {
    const left = end - driver.now();
    if (left <= 0) break;
    yield { step: 'wait', ms: Math.min(pause, left) };
    if (driver.isStopping()) break;
    const { running } = yield* check(Math.max(MAX_PAUSE_MS, end - driver.now()));
    if (running !== undefined) {
      const still = stillRun(running);
      const tookMs = Math.round(driver.now() - sentAt);
      if (still.length === 0) return { outcome: 'done', tookMs };
      last = `${still.join(', ')} still ${still.length === 1 ? 'runs' : 'run'}`;
    }
    const { words, isFinal } = driver.answer();
    if (isFinal) return { outcome: 'failed', error: words };
  }
  const tookMs = Math.round(driver.now() - sentAt);
  return {
    outcome: 'failed',
    error: `${last}, ${tookMs} ms after the dispose ${driver.answer().words}`,
  };
}

interface Shown {
  running: Running;
  unplaced?: string | undefined;
}

function* check(withinMs: number): Generator<DisposeStep, Shown, void> {
  let shown: Shown = { running: undefined };
  yield {
    step: 'check',
    withinMs,
    take: (running, unplaced) => {
      shown = { running, unplaced };
    },
  };
  return shown;
}
