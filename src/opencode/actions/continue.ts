/**
 * Prompts a session whose run ended to go on, and checks whether a run really begins: the 204 alone is no evidence
 * (facts, section 8).
 */
import { type Clock, sleep } from '../../lib/clock.js';
import type { Unreachable } from '../../watchdog/observation.js';
import { messageOf, OpencodeError } from '../http/errors.js';
import type { ServerApi } from '../server-api.js';

const CHECK_EVERY_MS = 100;

export interface ContinueRequest {
  sessionID: string;
  directory: string | undefined;
  prompt: string;
  /** `provider/model`; if absent, opencode chooses. */
  model?: string;
  agent?: string;
  /** The last message that its run wrote. If there is a newer one, somebody has used the session since. */
  lastMessageID?: string;
  /**
   * The message that its run was writing when it was cut. If there is a newer message and it is complete, somebody has
   * used the session since.
   */
  cutMessageID?: string;
  /** Continue only if its last run is unfinished. */
  onlyIfOpen?: boolean;
  /** How long reading the session may take, and after that how long its run may take to begin. */
  timeoutMs: number;
  signal: AbortSignal;
  /** The session must not go on any more. Once the prompt is sent, it is too late for that. */
  withdrawn?: AbortSignal;
}

export type ContinueOutcome =
  | { outcome: 'started' }
  /** The session is in use, or has nothing left to continue. Nothing was sent. */
  | { outcome: 'superseded'; error: string }
  /**
   * `unreachable`: nothing listens, or the connection broke, before or after the prompt was sent; or nothing answered
   * before it was.
   */
  | { outcome: 'failed'; error: string; unreachable?: Unreachable };

export async function continueSession(
  client: Pick<ServerApi, 'session' | 'statuses' | 'lastMessage' | 'prompt'>,
  clock: Clock,
  request: ContinueRequest,
): Promise<ContinueOutcome> {
  const { sessionID, directory, prompt, model, agent, timeoutMs, signal, withdrawn } = request;
  const untilSent = withdrawn === undefined ? signal : AbortSignal.any([signal, withdrawn]);
  let isSent = false;
  const failed = (error: string): ContinueOutcome => ({ outcome: 'failed', error });
  const readBy = clock.now() + timeoutMs;
  // Nothing is sent yet, and a server that was just restarted may be busy, so it is asked again.
  const patiently = async <T>(ask: () => Promise<T>): Promise<T> => {
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        if (!isLate(error) || clock.now() >= readBy) throw error;
        await sleep(clock, CHECK_EVERY_MS, untilSent);
      }
    }
  };
  try {
    const session = await patiently(() => client.session(sessionID, directory, untilSent));
    if (session === null) return failed('there is no such session any more');
    // A daemon that has just started may not know yet that it is a subagent.
    if (session.parentID !== undefined) {
      return { outcome: 'superseded', error: 'it is a subagent, which its parent sets to work' };
    }
    if ((await patiently(() => client.statuses(directory, untilSent))).has(sessionID)) {
      return { outcome: 'superseded', error: 'somebody else set it to work meanwhile' };
    }
    const last = await patiently(() => client.lastMessage(sessionID, directory, untilSent));
    const before = last?.id;
    const { lastMessageID, cutMessageID, onlyIfOpen = false } = request;
    // opencode's ids grow with time.
    const isNewerThan = (id?: string) => id !== undefined && before !== undefined && before > id;
    if (isNewerThan(lastMessageID) || (isNewerThan(cutMessageID) && last?.isOpen === false)) {
      return { outcome: 'superseded', error: 'somebody has used the session meanwhile' };
    }
    // The run may have ended by itself at the very moment when it was aborted or when the server died.
    if (last?.isFinal === true || (onlyIfOpen && last?.isOpen !== true)) {
      return { outcome: 'superseded', error: 'its last run had come to its end' };
    }
    const says = {
      text: prompt,
      ...(model === undefined ? {} : { model }),
      ...(agent === undefined ? {} : { agent }),
    };
    const end = clock.now() + timeoutMs;
    let unanswered: string | undefined;
    // A busy server may accept the prompt and answer too late. Then what it shows afterwards counts.
    const unlessLate = async <T>(asked: Promise<T>): Promise<T | undefined> => {
      try {
        return await asked;
      } catch (error) {
        if (!isLate(error)) throw error;
        unanswered = messageOf(error);
        return undefined;
      }
    };
    untilSent.throwIfAborted();
    isSent = true;
    const prompted = client.prompt(sessionID, directory, says, signal).catch((error: unknown) => {
      // Nobody listened, so nothing went out.
      isSent = !(error instanceof OpencodeError && error.kind === 'refused');
      throw error;
    });
    await unlessLate(prompted);
    do {
      const seen = await unlessLate(hasBegun(client, request, before));
      if (seen !== undefined) return seen;
      await sleep(clock, CHECK_EVERY_MS, signal);
    } while (clock.now() < end);
    return failed(
      unanswered ?? `the prompt was accepted, and nothing had begun after ${timeoutMs} ms`,
    );
  } catch (error) {
    if (signal.aborted) throw error;
    if (!isSent && withdrawn?.aborted) {
      return { outcome: 'superseded', error: 'a person wants the session aborted' };
    }
    const isBroken =
      error instanceof OpencodeError && (error.kind === 'refused' || error.kind === 'network');
    const isGone = isBroken || (!isSent && isLate(error));
    const unreachable = isSent ? 'sent' : 'unsent';
    return { outcome: 'failed', error: messageOf(error), ...(isGone && { unreachable }) };
  }
}

const isLate = (error: unknown): error is OpencodeError =>
  error instanceof OpencodeError && error.kind === 'timeout';

/** @param before the session's last message before the prompt */
async function hasBegun(
  client: Pick<ServerApi, 'statuses' | 'lastMessage'>,
  { sessionID, directory, signal }: ContinueRequest,
  before: string | undefined,
): Promise<ContinueOutcome | undefined> {
  if ((await client.statuses(directory, signal)).has(sessionID)) return { outcome: 'started' };
  // A short run may begin and end between two checks. Then its answer is the evidence.
  const last = await client.lastMessage(sessionID, directory, signal);
  if (last === undefined || last.id === before || !last.byAssistant) return undefined;
  return last.failed
    ? { outcome: 'failed', error: 'its run failed at once' }
    : { outcome: 'started' };
}
