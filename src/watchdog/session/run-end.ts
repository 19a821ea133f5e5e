/** How a run ended: judged once, by its error, by who ended it, and by the results of its steps. */

import type { RunOutcome } from '../decision.js';
import type { FinishedStep, SessionObservation } from '../observation.js';
import { continueAfterFailure } from './recovery.js';
import type { Context } from './rule-context.js';
import { abortWorked } from './send-abort.js';
import { fieldsOf, newRun, type Run, type RunEnd, type Session } from './state.js';

/** opencode's name for the end that an abort brings, a person's or ours. */
const ABORTED = 'MessageAbortedError';
/**
 * After a failure a second error with another text may follow (facts, section 14). Within this time (ms) it counts as
 * the same.
 */
const SAME_FAILURE = 5_000;
/** A poll may show the end before the stream has reported the last step. We wait this long (ms) for it. */
const LAST_WORDS = 2_000;
/**
 * If a request was answered at most this long (ms) before the end, the answer was no, which ends the run (facts,
 * section 7).
 */
const ANSWERED_NO = 5_000;
/**
 * An end this long (ms) after the decision to abort is not followed up as an abort that worked late: somebody else may
 * have ended the run.
 */
const LATE_ABORT_WINDOW = 120_000;
/** opencode's tool for an answer in a given shape: a run may end with its call (facts, section 11). */
const STRUCTURED_TOOL = 'StructuredOutput';

/** Whether opencode says that somebody aborted the run. */
export function wasAborted({ error }: Run): boolean {
  return error?.name === ABORTED;
}

/** A step of the run has ended. Without `step`, nothing is known of its content. */
export function noteStep(run: Run, step: FinishedStep | undefined): void {
  const { totals } = run;
  totals.steps += 1;
  if (step === undefined) {
    run.missed = true;
    return;
  }
  totals.tools += step.tools;
  totals.toolErrors += step.toolErrors;
  totals.fileChanges += step.fileChanges;
  totals.hasText ||= step.hasText;
  totals.finish = step.finish;
  totals.lastTool = step.tool;
}

export function errorHeard(
  context: Context,
  session: Session,
  o: Extract<SessionObservation, { kind: 'session.error' }>,
): void {
  const { name, message, statusCode } = o;
  const error = { name, message, ...(statusCode === undefined ? {} : { statusCode }) };
  // An error is a run's end only once the run ends: a run may survive its error. A poll may also show the end before
  // the error comes.
  const run = session.run ?? session.runEnd?.run;
  if (run !== undefined) {
    // An error that follows the first, with no progress in between, reports the same failure again.
    if (run.error === undefined || name === ABORTED) run.error = error;
  }
  // Without a run (an unknown model fails before it is busy) there is nothing but the error. But an error of a run that
  // we are ending, or of a deleted session that can no longer be written, is no failure of its own.
  else if (name !== ABORTED && session.aborting === undefined && !session.deleted) {
    if (!sayFailed(context, session, error, 0, o.at)) return;
    const never = { ...newRun(o.at, o.directory), error };
    const fields = fieldsOf(session);
    sayEnded(context, { run: never, at: o.at, fields, withParent: false }, 'failed');
  }
}

/** The run is over. `parent`: its parent, if that is active. */
export function runEnded(
  context: Context,
  session: Session,
  run: Run,
  parent: Session | undefined,
  at: number,
): void {
  const withParent = parent?.aborting !== undefined;
  session.runEnd = { run, at, fields: fieldsOf(session), withParent };
  settleEnd(context, session, at);
}

/** Reports how the last run ended, as soon as that is known. `now`: at once, with what is known so far. */
export function settleEnd(context: Context, session: Session, at: number, when?: 'now'): void {
  const { runEnd } = session;
  if (runEnd === undefined) return;
  const { run } = runEnd;
  // The executor's result will show who ended it.
  if (session.aborting?.run === run && when !== 'now') return;
  if (isUntold(run) && at - runEnd.at < LAST_WORDS && when !== 'now') {
    context.wakeAt(runEnd.at + LAST_WORDS, session);
    return;
  }
  session.runEnd = undefined;
  const { error, episode, endedBy, abortFlow } = run;
  if (endedBy !== undefined) {
    sayEnded(context, runEnd, CUT_BY[endedBy]);
  } else if (error === undefined) {
    const outcome = quietEnd(runEnd);
    if (wasAbortSent(run) && outcome !== 'completed') abortedLate(context, session, runEnd, when);
    else sayEnded(context, runEnd, outcome);
  } else if (error.name !== ABORTED) {
    if (episode !== undefined) context.outages.endedBadly(session.id, run, at);
    sayFailed(context, session, error, episode?.attempts ?? 0, at);
    sayEnded(context, runEnd, 'failed');
    // With `now`, a new run has already begun in its place, and the old one is not continued.
    if (when !== 'now') continueAfterFailure(context, session, run, at);
  } else if (wasAbortSent(run)) {
    abortedLate(context, session, runEnd, when);
  } else if (runEnd.withParent) {
    sayEnded(context, runEnd, 'aborted');
  } else if (abortFlow !== undefined) {
    sayEnded(context, runEnd, 'aborted_elsewhere');
  } else {
    context.cuts.aborted(session, runEnd.fields, run.directory, runEnd.at, (by, together) =>
      sayEnded(context, runEnd, by === 'dispose' ? 'interrupted' : 'aborted_elsewhere', together),
    );
  }
}

/** Whether an abort was sent for the run, and the decision against it stands. */
function wasAbortSent({ abortFlow, endedFor }: Run): boolean {
  if (abortFlow === undefined) return false;
  const { phase, tries } = abortFlow;
  // The try that was left undone was not sent. A try that the server was too ill to answer does not count, but was sent.
  return phase === 'left' ? tries > 1 : tries > 0 || endedFor !== undefined;
}

/**
 * An abort that was sent has ended the run, later than any try waited for it. If an act is under way that is to end the
 * run too, that act's result is followed up instead.
 */
function abortedLate(context: Context, session: Session, runEnd: RunEnd, when?: 'now'): void {
  const { run, at } = runEnd;
  const { abortFlow } = run;
  const isFollowedUp = session.aborting?.run === run || context.isDisposing(run.directory);
  if (abortFlow !== undefined && !isFollowedUp && at - abortFlow.since <= LATE_ABORT_WINDOW) {
    const { reason, since, tries } = abortFlow;
    run.endedFor = reason;
    const aborting = { reason, run, since, try: Math.max(1, tries) };
    const followed = when === 'now' && ({ followed: true } as const);
    abortWorked(context, session, at - since, at, { ...aborting, ...followed });
  }
  sayEnded(context, runEnd, 'aborted');
}

const CUT_BY = { watchdog: 'aborted', restart: 'interrupted', dispose: 'interrupted' } as const;

/** Nothing explains the end yet: the end of a step, or an error, may still come. */
function isUntold({ endedBy, error, missed, totals }: Run): boolean {
  const { finish } = totals;
  return (
    endedBy === undefined &&
    error === undefined &&
    !missed &&
    (finish === undefined || finish === 'tool-calls')
  );
}

/** The outcome of a run without an error that nobody is known to have ended. */
function quietEnd({ run, at }: RunEnd): RunOutcome {
  const { totals, missed, tools, episode, answeredAt } = run;
  const { finish, steps, hasText, fileChanges, lastTool, toolsEnded } = totals;
  const isBare = !hasText && fileChanges === 0 && totals.tools === 0 && toolsEnded === 0;
  if (tools.size > 0 && !missed) return 'interrupted';
  switch (finish) {
    case 'length':
    case 'content-filter':
      return 'truncated';
    case 'error':
      return 'failed';
    case 'tool-calls':
      if (lastTool === STRUCTURED_TOOL) return 'completed';
      // Otherwise the model never got the results, for example because a parent was not woken.
      return at - answeredAt <= ANSWERED_NO ? 'aborted_elsewhere' : 'interrupted';
    case undefined:
    case 'unknown':
    case 'other':
      // opencode reports nothing when a person aborts a retry (facts, section 6).
      if (episode !== undefined) return 'aborted_elsewhere';
      if (missed && finish === undefined) return 'completed';
      if (isBare) return 'empty';
      // A command that a person runs in the session asks no model.
      return steps === 0 && toolsEnded > 0 ? 'completed' : 'truncated';
    default:
      return isBare && !missed ? 'empty' : 'completed';
  }
}

/**
 * The directory was disposed while the run was active. Its end is no failure, unless opencode had already given the run
 * up.
 */
export function disposedUnder(
  context: Context,
  session: Session,
  run: Run,
  by: 'dispose' | 'restart',
): void {
  if (run.error !== undefined && run.error.name !== ABORTED) return;
  if (session.aborting !== undefined) return;
  run.endedBy = wasAbortSent(run) ? 'watchdog' : by;
  run.endedFor ??= run.abortFlow?.reason;
  if (run.abortFlow !== undefined) return;
  run.error = undefined;
  const { health } = session;
  context.emit({ note: 'session.interrupted', ...fieldsOf(session), by, health });
}

/** Returns true if it was not a repetition. */
function sayFailed(
  context: Context,
  session: Session,
  error: NonNullable<Run['error']>,
  attempts: number,
  at: number,
): boolean {
  const text = textOf(error);
  const known = session.lastFailure;
  if (known?.text === text || (known !== undefined && at - known.at <= SAME_FAILURE)) return false;
  session.lastFailure = { text, at };
  context.emit({
    note: 'session.failed',
    ...fieldsOf(session),
    error: text,
    ...(error.statusCode === undefined ? {} : { statusCode: error.statusCode }),
    attempts,
  });
  return true;
}

function sayEnded(
  context: Context,
  { run, at, fields }: RunEnd,
  outcome: RunOutcome,
  together = 1,
): void {
  const { totals, spent, error, endedFor } = run;
  const { finish, steps, tools, toolErrors } = totals;
  const { costUsd, tokens } = spent;
  context.emit({
    note: 'session.ended',
    ...fields,
    outcome,
    ...(outcome === 'aborted' && endedFor !== undefined && { reason: endedFor }),
    ...(finish !== undefined && { finish }),
    steps,
    tools,
    toolErrors,
    costUsd,
    tokens,
    tookMs: at - run.startedAt,
    ...(outcome === 'failed' && error !== undefined && { error: textOf(error) }),
    ...(together > 1 && { together }),
  });
}

const textOf = ({ name, message }: NonNullable<Run['error']>): string => `${name}: ${message}`;
