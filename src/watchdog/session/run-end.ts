/** How a run ends with an error: opencode gave up, or never began. Each failure is said once. */

import type { SessionObservation } from '../observation.js';
import type { Context } from './rule-context.js';
import { fieldsOf, type Run, type Session } from './state.js';

/** What opencode calls the end that an abort brings, a person's or ours. */
const ABORTED = 'MessageAbortedError';

export function errorHeard(
  context: Context,
  session: Session,
  o: Extract<SessionObservation, { kind: 'session.error' }>,
): void {
  const { name, message, statusCode } = o;
  const error = { name, message, ...(statusCode === undefined ? {} : { statusCode }) };
  // A run's error is its end only when it ends: it may be survived.
  if (session.run !== undefined) session.run.error = error;
  // Without a run (an unknown model fails before it is busy) the error is all there is; but what opencode says of a
  // run that we are ending, or of a session that is deleted and can be written no more, is no failure of its own.
  else if (name !== ABORTED && session.aborting === undefined && !session.deleted) {
    sayFailed(context, session, error, 0);
  }
}

/** The run is over: where opencode ended it with an error, that is a failure, unless it was aborted. */
export function judgeRunEnd(context: Context, session: Session, run: Run, at: number): void {
  const { error, episode } = run;
  if (error === undefined || error.name === ABORTED || session.aborting !== undefined) return;
  if (episode !== undefined) context.outages.endedBadly(session.id, run, at);
  sayFailed(context, session, error, episode?.attempts ?? 0);
}

function sayFailed(
  context: Context,
  session: Session,
  error: NonNullable<Run['error']>,
  attempts: number,
): void {
  const text = `${error.name}: ${error.message}`;
  if (session.lastFailure === text) return;
  session.lastFailure = text;
  context.say({
    note: 'session.failed',
    ...fieldsOf(session),
    error: text,
    ...(error.statusCode === undefined ? {} : { statusCode: error.statusCode }),
    attempts,
  });
}
