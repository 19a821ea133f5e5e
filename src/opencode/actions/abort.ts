/** Aborts one session of a real server and verifies it, by driving the steps of `abort-steps.ts` with its client. */
import { type Clock, sleep } from '../../lib/clock.js';
import { messageOf, OpencodeError } from '../http/errors.js';
import type { ServerApi } from '../server-api.js';
import {
  type AbortOptions,
  type AbortOutcome,
  type AbortStep,
  abortSteps,
  describeStatus,
  type Found,
  type SendAnswer,
  type StatusCheck,
  UNSEEN,
} from './abort-steps.js';

export type { AbortOutcome } from './abort-steps.js';

export interface AbortRequest extends AbortOptions {
  sessionID: string;
  /** Withdraws the abort if it is not sent yet. */
  signal?: AbortSignal;
  /** Ends the wait for the verification, because the daemon is told to stop. */
  stop?: AbortSignal;
  onSent?: () => void;
}

/** Never rejects. */
export async function abortSession(
  client: ServerApi,
  clock: Clock,
  request: AbortRequest,
): Promise<AbortOutcome> {
  const { sessionID, signal, stop } = request;
  let sent: SendAnswer | undefined;
  const steps = abortSteps(
    {
      listsOneDirectory: client.statusScope === 'directory',
      now: () => clock.now(),
      isWithdrawn: () => signal?.aborted ?? false,
      isStopping: () => stop?.aborted ?? false,
      answer: () => sent ?? UNSENT,
    },
    request,
  );
  const perform = async (step: AbortStep): Promise<void> => {
    switch (step.step) {
      case 'find':
        step.take(await findDirectory(client, sessionID, signal));
        return;
      case 'check': {
        const { directory, withinMs, waitMs } = step;
        const checking = check(client, sessionID, directory, withinMs, sent ? stop : signal);
        step.take(await (waitMs === undefined ? checking : within(clock, waitMs, checking)));
        return;
      }
      case 'send':
        sent = send(client, sessionID, step.directory, step.withinMs);
        request.onSent?.();
        return;
      case 'wait':
        await sleep(clock, step.ms, stop).catch(() => {});
    }
  };
  let next = steps.next();
  for (; !next.done; next = steps.next()) await perform(next.value);
  return next.value;
}

const UNSENT: SendAnswer = { words: 'was not sent', hopeless: false, nothingRan: false };

function within(clock: Clock, ms: number, checking: Promise<StatusCheck>): Promise<StatusCheck> {
  const seen = new AbortController();
  const tooLate = sleep(clock, ms, seen.signal).then(
    () => UNSEEN,
    () => UNSEEN,
  );
  return Promise.race([checking, tooLate]).finally(() => seen.abort());
}

async function check(
  client: ServerApi,
  sessionID: string,
  directory: string | undefined,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<StatusCheck> {
  try {
    return describeStatus((await client.statuses(directory, signal, timeoutMs)).get(sessionID));
  } catch (error) {
    return { seen: 'nothing', words: `its status could not be read (${messageOf(error)})` };
  }
}

function send(
  client: ServerApi,
  sessionID: string,
  directory: string | undefined,
  timeoutMs: number,
): SendAnswer {
  const answer: SendAnswer = {
    words: 'was sent and not answered',
    hopeless: false,
    nothingRan: false,
  };
  const post = () => client.abort(sessionID, directory, undefined, timeoutMs);
  const onError = (error: unknown) => {
    if (error instanceof OpencodeError && error.kind === 'timeout') return;
    answer.words = `failed: ${messageOf(error)}`;
    answer.hopeless =
      error instanceof OpencodeError && (error.kind === 'refused' || error.kind === 'unauthorized');
  };
  post()
    // The server may have closed an idle connection at the same moment: send once more, on a new one.
    .catch((error: unknown) => {
      if (error instanceof OpencodeError && error.kind === 'network') return post();
      throw error;
    })
    .then((said) => {
      answer.words = 'was answered';
      answer.nothingRan = said === 'nothing_ran';
    })
    .catch(onError);
  return answer;
}

async function findDirectory(
  client: ServerApi,
  sessionID: string,
  signal?: AbortSignal,
): Promise<Found> {
  try {
    const session = await client.session(sessionID, undefined, signal);
    return session === null ? null : session.directory;
  } catch {
    return undefined;
  }
}
