/** How a run ended: judged once, from its error, from who ended it, and from what its steps came to. */

import type { RunOutcome } from '../decision.js';
import type { FinishedStep, SessionObservation } from '../observation.js';
import { continueAfterFailure } from './recovery.js';
import type { Context } from './rule-context.js';
import { fieldsOf, newRun, type Run, type RunEnd, type Session } from './state.js';

/** What opencode calls the end that an abort brings, a person's or ours. */
const ABORTED = 'MessageAbortedError';
/** After a failure a second error with another text may follow (facts, section 14): within this time, ms, it is the same. */
const SAME_FAILURE = 5_000;
/** A poll may see the end before the stream has told of the last step: it is waited for this long, ms. */
const LAST_WORDS = 2_000;
/** A request answered this short a time (ms) before the end was answered no: that ends the run (facts, section 7). */
const ANSWERED_NO = 5_000;
/** opencode's tool for an answer in a given shape: a run may end with its call (facts, section 11). */
const STRUCTURED_TOOL = 'StructuredOutput';

/** opencode says that somebody ended it. */
export function wasAborted({ error }: Run): boolean {
  return error?.name === ABORTED;
}

/** A step of the run has ended; without `step` nothing is known of what it held. */
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
  // A run's error is its end only when it ends: it may be survived. A poll may be faster than the error.
  const run = session.run ?? session.runEnd?.run;
  if (run !== undefined) {
    // What comes behind the first, with nothing done in between, is the same failure told again.
    if (run.error === undefined || name === ABORTED) run.error = error;
  }
  // Without a run (an unknown model fails before it is busy) the error is all there is; but what opencode says of a
  // run that we are ending, or of a session that is deleted and can be written no more, is no failure of its own.
  else if (name !== ABORTED && session.aborting === undefined && !session.deleted) {
    if (!sayFailed(context, session, error, 0, o.at)) return;
    const never = { ...newRun(o.at, o.directory), error };
    const fields = fieldsOf(session);
    sayEnded(context, { run: never, at: o.at, fields, withParent: false }, 'failed');
  }
}

/** The run is over. `parent`: its parent, where that is active. */
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

/** Says how the last run ended, as soon as that can be told; `now`: at once, with what is known. */
export function settleEnd(context: Context, session: Session, at: number, when?: 'now'): void {
  const { runEnd } = session;
  if (runEnd === undefined) return;
  const { run } = runEnd;
  // What the executor finds tells who ended it.
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
    // An abort that was sent, or the dispose after it, cut it, only late.
    const wasCut = (abortFlow?.tries ?? 0) > 0 && outcome !== 'completed';
    sayEnded(context, runEnd, wasCut ? 'aborted' : outcome);
  } else if (error.name !== ABORTED) {
    if (episode !== undefined) context.outages.endedBadly(session.id, run, at);
    sayFailed(context, session, error, episode?.attempts ?? 0, at);
    sayEnded(context, runEnd, 'failed');
    // Settled at once, it has given way to a run that somebody has prompted.
    if (when !== 'now') continueAfterFailure(context, session, run, at);
  } else if (runEnd.withParent || (abortFlow?.tries ?? 0) > 0) {
    sayEnded(context, runEnd, 'aborted');
  } else if (abortFlow !== undefined) {
    sayEnded(context, runEnd, 'aborted_elsewhere');
  } else {
    context.cuts.aborted(session, runEnd.fields, run.directory, runEnd.at, (by, together) =>
      sayEnded(context, runEnd, by === 'dispose' ? 'interrupted' : 'aborted_elsewhere', together),
    );
  }
}

const CUT_BY = { watchdog: 'aborted', restart: 'interrupted', dispose: 'interrupted' } as const;

/** Nothing explains the end yet: a step's end, or an error, may be on its way. */
function isUntold({ endedBy, error, missed, totals }: Run): boolean {
  const { finish } = totals;
  return (
    endedBy === undefined &&
    error === undefined &&
    !missed &&
    (finish === undefined || finish === 'tool-calls')
  );
}

/** How a run ended that nobody is known to have ended, without an error. */
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
      // Else the model never got the results: a parent that was not woken, for one.
      return at - answeredAt <= ANSWERED_NO ? 'aborted_elsewhere' : 'interrupted';
    case undefined:
    case 'unknown':
    case 'other':
      // opencode says nothing of a retry that a person aborts (facts, section 6).
      if (episode !== undefined) return 'aborted_elsewhere';
      if (missed && finish === undefined) return 'completed';
      if (isBare) return 'empty';
      // A command that a person runs in the session asks no model.
      return steps === 0 && toolsEnded > 0 ? 'completed' : 'truncated';
    default:
      return isBare && !missed ? 'empty' : 'completed';
  }
}

/** The directory was disposed while it ran: its end is nobody's failure, unless opencode had given it up before. */
export function disposedUnder(
  context: Context,
  session: Session,
  run: Run,
  by: 'dispose' | 'restart',
): void {
  if (run.error !== undefined && run.error.name !== ABORTED) return;
  if (session.aborting !== undefined) return;
  run.endedBy = (run.abortFlow?.tries ?? 0) > 0 ? 'watchdog' : by;
  run.endedFor ??= run.abortFlow?.reason;
  if (run.abortFlow !== undefined) return;
  run.error = undefined;
  const { health } = session;
  context.emit({ note: 'session.interrupted', ...fieldsOf(session), by, health });
}

/** True where it was no repetition. */
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
