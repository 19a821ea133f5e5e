/** How a run ends with an error: opencode gave up, or never began. Each failure is said once. */

import type { SessionObservation } from '../observation.js';
import type { Context } from './rule-context.js';
import { fieldsOf, type Run, type Session } from './state.js';

/** What opencode calls the end that an abort brings, a person's or ours. */
const ABORTED = 'MessageAbortedError';
/** After a failure a second error with another text may follow (facts, section 14): within this time, ms, it is the same. */
const SAME_FAILURE = 5_000;

export function errorHeard(
  context: Context,
  session: Session,
  o: Extract<SessionObservation, { kind: 'session.error' }>,
): void {
  const { name, message, statusCode } = o;
  const error = { name, message, ...(statusCode === undefined ? {} : { statusCode }) };
  // A run's error is its end only when it ends: it may be survived.
  if (session.run !== undefined) {
    // What comes behind the first, with nothing done in between, is the same failure told again.
    if (session.run.error === undefined || name === ABORTED) session.run.error = error;
  }
  // Without a run (an unknown model fails before it is busy) the error is all there is; but what opencode says of a
  // run that we are ending, or of a session that is deleted and can be written no more, is no failure of its own.
  else if (name !== ABORTED && session.aborting === undefined && !session.deleted) {
    sayFailed(context, session, error, 0, o.at);
  }
}

/** The run is over: where opencode ended it with an error, that is a failure, unless it was aborted. */
export function judgeRunEnd(context: Context, session: Session, run: Run, at: number): void {
  const { error, episode } = run;
  if (error === undefined || session.aborting !== undefined) return;
  if (error.name === ABORTED) {
    const { directory } = run;
    if (run.trouble === undefined) context.cuts.aborted(session, fieldsOf(session), directory, at);
    return;
  }
  if (episode !== undefined) context.outages.endedBadly(session.id, run, at);
  sayFailed(context, session, error, episode?.attempts ?? 0, at);
}

/** The directory was disposed while it ran: its end is nobody's failure, unless opencode had given it up before. */
export function disposedUnder(
  context: Context,
  session: Session,
  run: Run,
  by: 'dispose' | 'restart',
): void {
  const isOurs = session.aborting !== undefined || run.trouble !== undefined;
  if (isOurs || (run.error !== undefined && run.error.name !== ABORTED)) return;
  run.error = undefined;
  const { health } = session;
  context.say({ note: 'session.interrupted', ...fieldsOf(session), by, health });
}

function sayFailed(
  context: Context,
  session: Session,
  error: NonNullable<Run['error']>,
  attempts: number,
  at: number,
): void {
  const text = `${error.name}: ${error.message}`;
  const known = session.lastFailure;
  if (known?.text === text || (known !== undefined && at - known.at <= SAME_FAILURE)) return;
  session.lastFailure = { text, at };
  context.say({
    note: 'session.failed',
    ...fieldsOf(session),
    error: text,
    ...(error.statusCode === undefined ? {} : { statusCode: error.statusCode }),
    attempts,
  });
}
