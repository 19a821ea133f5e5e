/** Waits until a prompt that was just sent shows in its session. */
import type { Clock } from '../../lib/clock.js';
import type { PromptOwnership } from './prompt-ownership.js';
import type { SessionReader } from './session-reader.js';

/** An event may make a check earlier. */
const CHECK_EVERY_MS = 500;
/** A prompt that was just sent is among the newest messages. */
const SEEN_MESSAGES = 20;

/** The run of the prompt, as far as it is followed. */
export interface SentRun {
  clock: Clock;
  reader: SessionReader;
  ownership: PromptOwnership;
  hasFailed(): boolean;
  /** Resolves at the next event, after `ms`, or when the signal is aborted. */
  nextEvent(ms: number, signal: AbortSignal | undefined): Promise<void>;
}

/**
 * Resolves to true when the prompt shows, so that somebody else who asks finds it and not the run before it. Resolves to
 * false if it does not show within `limitMs`, or the signal ends the wait. Never rejects.
 */
export async function waitUntilShown(
  run: SentRun,
  limitMs: number,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const end = run.clock.now() + limitMs;
  for (;;) {
    // A prompt that has failed already may leave no trace (facts, section 14).
    if (run.hasFailed() || (await isShown(run, signal))) return true;
    const leftMs = end - run.clock.now();
    if (leftMs <= 0 || signal?.aborted) return false;
    await run.nextEvent(Math.min(leftMs, CHECK_EVERY_MS), signal);
  }
}

async function isShown(
  { reader, ownership }: SentRun,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  try {
    if (ownership.isShownIn(await reader.transcript(signal, SEEN_MESSAGES))) return true;
    // OpenCode 2 keeps a queued prompt out of the transcript until its turn. The run that is under way shows it.
    return ownership.isNamed && (await reader.status(signal)).type !== 'idle';
  } catch {
    // The next check asks again.
    return false;
  }
}
