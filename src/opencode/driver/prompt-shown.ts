/** Waits until a prompt that was just sent shows in its session. */
import type { Clock } from '../../lib/clock.js';
import type { PromptOwnership } from './prompt-ownership.js';
import type { SessionReader } from './session-reader.js';

/** An event may make a check earlier. */
const CHECK_EVERY_MS = 500;
/** What was heard to fail may be the run before, whose error can come twice (facts, section 14). */
const DOUBT_MS = 3_000;
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
 * `shown`: somebody else who asks finds the prompt, and not the run before it. `failed`: its run has failed, and it left
 * no trace (facts, section 14). `unseen`: neither within the limit.
 */
export type Seen = 'shown' | 'failed' | 'unseen';

/** Resolves to `unseen` after `limitMs`, or when the signal ends the wait. Never rejects. */
export async function waitUntilShown(
  run: SentRun,
  limitMs: number,
  signal: AbortSignal | undefined,
): Promise<Seen> {
  const { clock } = run;
  const end = clock.now() + limitMs;
  let failedAt: number | undefined;
  for (;;) {
    const shows = await isShown(run, signal);
    if (shows) return 'shown';
    if (run.hasFailed()) failedAt ??= clock.now();
    const isDoubtful = failedAt === undefined || clock.now() - failedAt < DOUBT_MS;
    if (shows === false && !isDoubtful) return 'failed';
    const leftMs = end - clock.now();
    if (leftMs <= 0 || signal?.aborted) return 'unseen';
    await run.nextEvent(Math.min(leftMs, CHECK_EVERY_MS), signal);
  }
}

/** Undefined if the session cannot be read: the next check asks again. */
async function isShown(
  { reader, ownership }: SentRun,
  signal: AbortSignal | undefined,
): Promise<boolean | undefined> {
  try {
    if (ownership.isShownIn(await reader.transcript(signal, SEEN_MESSAGES))) return true;
    // OpenCode 2 keeps a queued prompt out of the transcript until its turn. The run that is under way shows it.
    return ownership.isNamed && (await reader.status(signal)).type !== 'idle';
  } catch {
    return undefined;
  }
}
