/**
 * Brings sessions to rest: aborts them and checks that they are idle, deletes them and checks that they are gone. So no
 * run goes on unseen.
 */
import { type Clock, sleep } from '../../lib/clock.js';
import { abortSession } from '../actions/abort.js';
import type { DriverApi } from '../driver-api.js';
import { isNotFound, messageOf } from '../http/errors.js';
import { asDriverError, DriverError } from './error.js';
import type { SessionRef } from './types.js';

/** Contract, `abort.verifyTimeout` and `abort.maxTries`. */
const VERIFY_TIMEOUT_MS = 5_000;
/**
 * Failed aborts of one session. See the contract, `abort.maxTries`. At the limit: the command fails, and says that the
 * session goes on.
 */
const MAX_TRIES = 3;
/**
 * An abort in the first 300 ms of a run can be lost (facts, section 6), so a session that is idle then is checked
 * again.
 */
const EARLY_MS = 1_000;

export interface RestDeps {
  client: DriverApi;
  clock: Clock;
}

/**
 * Long enough for the health route of a server on a busy machine (2 s were not). A frozen server must not double a
 * caller's limit.
 */
const ANSWER_MS = 5_000;

/** `sweep` would not end it while the process lives that made the session. */
export const unanswered = (sessionID: string, act: 'abort' | 'delete' = 'abort') =>
  `The server does not answer, so nothing could be ended: the run may go on. "opencode-watchdog ${act} ${sessionID}" ` +
  'ends it when the server answers again.';

/** Whether the server answers at all. If it is frozen or gone, an abort with three tries is no use. */
export async function answers(client: DriverApi): Promise<boolean> {
  return (await client.probe(undefined, ANSWER_MS)).kind !== 'failed';
}

/** Returns true if there was something to abort. @throws DriverError `abort_failed` */
export async function bringToRest(
  { client, clock }: RestDeps,
  session: SessionRef,
  /** On the clock; only known if the driver itself sent the prompt. */
  sentAt?: number,
): Promise<boolean> {
  let aborted = false;
  let error = '';
  for (let failures = 0; failures < MAX_TRIES; ) {
    const outcome = await abortSession(client, clock, {
      sessionID: session.id,
      directory: session.directory,
      verifyTimeoutMs: VERIFY_TIMEOUT_MS,
    });
    if (outcome.outcome === 'failed') {
      failures += 1;
      error = outcome.error;
      continue;
    }
    aborted ||= outcome.outcome === 'done';
    const early = sentAt === undefined ? 0 : sentAt + EARLY_MS - clock.now();
    if (early <= 0) return aborted;
    await sleep(clock, early);
  }
  throw new DriverError(
    'abort_failed',
    `the session ${session.id} could not be aborted (${MAX_TRIES} tries: ${error}): it goes on. ` +
      'The watchdog ends it by a restart ("opencode-watchdog run").',
    { sessionID: session.id, aborted: false },
  );
}

/**
 * Aborts first, because the run of a session that is only deleted goes on unseen (facts, section 6). @throws
 * DriverError
 */
export async function removeSession(
  deps: RestDeps,
  session: SessionRef,
  { sentAt, isAtRest = false }: { sentAt?: number | undefined; isAtRest?: boolean } = {},
): Promise<void> {
  // The reply of its run was read, so there is nothing to abort unless it has begun to run again.
  if (!isAtRest) await bringToRest(deps, session, sentAt);
  const { client } = deps;
  const { id, directory } = session;
  try {
    await client.remove(id, directory);
  } catch (error) {
    if (!isNotFound(error)) throw deleteFailed(id, messageOf(error));
  }
  const [left, statuses] = await Promise.all([
    client.session(id, directory),
    client.statuses(directory),
  ]).catch((error: unknown) => {
    throw asDriverError(error, { sessionID: id });
  });
  if (left) throw deleteFailed(id, 'it is still there');
  // The session began to run again before the delete (a plugin may prompt it when it is idle: facts, section 10). It is
  // a ghost now, which an abort in its directory ends.
  if ((statuses.get(id)?.type ?? 'idle') !== 'idle') await bringToRest(deps, session);
}

function deleteFailed(sessionID: string, why: string): DriverError {
  return new DriverError(
    'delete_failed',
    `the session ${sessionID} could not be deleted: ${why}. "opencode-watchdog delete ${sessionID}" tries again.`,
    { sessionID, deleted: false },
  );
}
