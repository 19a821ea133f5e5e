/** Checks a session that exists already, before it is prompted or waited for. */
import { sleep } from '../../lib/clock.js';
import { bringToRest, type RestDeps } from './end-session.js';
import { DriverError } from './error.js';
import type { Message } from './transcript.js';
import type { SessionRef } from './types.js';

/** A session that shows nothing is checked this many times before it counts as one that never ran. */
const NEVER_RAN_CHECKS = 3;
const NEVER_RAN_PAUSE_MS = 500;

export interface Claim {
  /** When the driver itself last prompted the session, on the clock, if it did. */
  sentAt: number | undefined;
  /** A session at work accepts the prompt, too: opencode queues it. */
  queue: boolean;
  signal?: AbortSignal | undefined;
}

/**
 * Makes sure that the session can take a prompt: it is not at work, not in retry, and its last run did not fail in
 * retry. A session in retry is aborted.
 * @returns the id of its last message, if it has one
 * @throws DriverError `session_busy`, `session_in_retry`
 */
export async function claimSession(
  deps: RestDeps,
  session: SessionRef,
  { sentAt, queue, signal }: Claim,
): Promise<string | undefined> {
  const { client } = deps;
  const { id, directory } = session;
  const status = (await client.statuses(directory, signal)).get(id);
  if (status?.type === 'retry') {
    await bringToRest(deps, session, sentAt);
    throw inRetry(id, `is in retry (attempt ${status.attempt}: ${status.message}): it was aborted`);
  }
  // A session in a state that this program does not know is not at rest.
  const isAtWork = status !== undefined && status.type !== 'idle';
  if (isAtWork && !queue) {
    throw new DriverError(
      'session_busy',
      `the session ${id} is at work on another prompt, and this one was not sent: wait for it ` +
        `("opencode-watchdog wait ${id}"), abort it, or send behind it with --queue (queue).`,
      { sessionID: id },
    );
  }
  const messages = await client.transcript(id, directory, { limit: 1, ...(signal && { signal }) });
  const last = messages.at(-1);
  if (!isAtWork && failedInRetry(last)) {
    throw inRetry(id, 'failed in retry the last time');
  }
  return last?.id;
}

/** Checks that there is a run to wait for. @throws DriverError `usage` */
export async function assertRan(
  { client, clock }: RestDeps,
  { id, directory }: SessionRef,
  signal: AbortSignal,
): Promise<void> {
  for (let checks = 0; checks < NEVER_RAN_CHECKS; checks += 1) {
    // A prompt that was just accepted may not be written yet.
    // If the caller ends it, so does the next request.
    if (checks > 0) await sleep(clock, NEVER_RAN_PAUSE_MS, signal).catch(() => {});
    const [statuses, messages] = await Promise.all([
      client.statuses(directory, signal),
      client.transcript(id, directory, { limit: 1, signal }),
    ]);
    if (statuses.has(id) || messages.length > 0) return;
  }
  throw new DriverError(
    'usage',
    `the session ${id} has never run: there is nothing to wait for. "opencode-watchdog send" prompts it.`,
    { sessionID: id },
  );
}

function inRetry(sessionID: string, how: string): DriverError {
  return new DriverError(
    'session_in_retry',
    `the session ${sessionID} ${how}, and the prompt was not sent. Prompt in a new session.`,
    { sessionID, aborted: true },
  );
}

/**
 * Whether the last answer failed in retry: opencode gave up on an error that may pass, or the retry was aborted, which
 * ends the answer without a finish reason and without an error (facts, section 6; seen on 1.18.33). Other processes see
 * this as well.
 */
function failedInRetry(last: Message | undefined): boolean {
  if (last?.role !== 'assistant') return false;
  if (last.error !== undefined) return last.error.isRetryable === true;
  const isBlank = last.text === '' && last.tools.length === 0;
  return last.completed !== undefined && last.finish === undefined && isBlank;
}
