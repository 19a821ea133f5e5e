/**
 * The steps of a dispose: check once more who runs in the directory, send, check until those it is for are idle.
 *
 * Written once and carried out by whoever drives them, as the steps of an abort are: `dispose.ts` with the real client,
 * the simulation of the property tests with its own server. The answer `true` is never believed (facts, section 12).
 */
import type { DisposeObservation } from '../../watchdog/observation.js';

/** The last check before sending must not hold it up for longer. A directory whose plugins hang answers nothing at all. */
const MAX_CHECK_MS = 2_000;
/** A dispose takes 0.1–2.5 s (facts, section 12), and the check that follows may load the directory again. */
const FIRST_PAUSE_MS = 100;
const MAX_PAUSE_MS = 500;

export interface DisposeOptions {
  directory: string;
  /** They must be seen idle. */
  sessions: readonly string[];
  /** All that are known to run there. */
  known: readonly string[];
  /** After sending, ms. */
  verifyTimeoutMs: number;
}

export type DisposeOutcome =
  | { outcome: 'done'; tookMs: number }
  | { outcome: 'withdrawn'; seen: 'idle' | 'others' }
  | { outcome: 'failed'; error: string };

/** How the state machine is told of it. */
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

/** Who runs in the directory; undefined where the status could not be read in time. */
export type Running = ReadonlySet<string> | undefined;

export type DisposeStep =
  | { step: 'check'; withinMs: number; take(running: Running): void }
  /** Begins to send, and does not wait for the answer. */
  | { step: 'send'; withinMs: number }
  | { step: 'wait'; ms: number };

export interface DisposeDriver {
  now(): number;
  isStopping(): boolean;
  /** What came of the request so far; `isFinal`: it will not get better. */
  answer(): { words: string; isFinal: boolean };
}

export function* disposeSteps(
  driver: DisposeDriver,
  { sessions, known, verifyTimeoutMs }: DisposeOptions,
): Generator<DisposeStep, DisposeOutcome, void> {
  const stillRun = (running: ReadonlySet<string>) => sessions.filter((id) => running.has(id));
  const before = yield* check(MAX_CHECK_MS);
  if (before !== undefined) {
    if (stillRun(before).length === 0) return { outcome: 'withdrawn', seen: 'idle' };
    if ([...before].some((id) => !known.includes(id)))
      return { outcome: 'withdrawn', seen: 'others' };
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
    const running = yield* check(Math.max(MAX_PAUSE_MS, end - driver.now()));
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

function* check(withinMs: number): Generator<DisposeStep, Running, void> {
  let shown: Running;
  yield {
    step: 'check',
    withinMs,
    take: (running) => {
      shown = running;
    },
  };
  return shown;
}
