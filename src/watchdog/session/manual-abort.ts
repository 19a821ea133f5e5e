/** An abort that a person asks for: it is sent whatever the session does, and the person is told its result. */

import type { Note } from '../decision.js';
import type { AskedBy } from '../observation.js';
import type { Context } from './rule-context.js';
import { type AbortEnd, abortWorked, sendAbort } from './send-abort.js';
import { type Aborting, fieldsOf, type Run, type Session } from './state.js';

/** A person wants the session aborted, whatever it does. */
export function abortRequested(context: Context, session: Session, by: AskedBy, at: number): void {
  session.abortAskedBy ??= by;
  // An abort that is already under way answers this request too.
  if (session.aborting === undefined) abortForPerson(context, session, at);
}

/** Sends one abort, which goes ahead unless the status shows idle: a person has decided. */
function abortForPerson(context: Context, session: Session, at: number): void {
  const error = context.whyNoAbort();
  if (error !== undefined) {
    answerPerson(context, session, { outcome: 'failed', error });
    return;
  }
  const aborting = { reason: 'manual', try: 1, run: session.run, since: at } as const;
  sendAbort(context, session, aborting, { expect: 'active', waits: false });
}

type PersonsAnswer = Pick<Extract<Note, { note: 'act.done' }>, 'outcome' | 'tookMs' | 'error'>;

/** Tells the person who asked for an abort what its result is; does nothing if nobody asked. */
export function answerPerson(context: Context, session: Session, answer: PersonsAnswer): void {
  const by = session.abortAskedBy;
  if (by === undefined) return;
  session.abortAskedBy = undefined;
  const { parentID: _, ...fields } = fieldsOf(session);
  context.emit({ note: 'act.done', act: 'abort', by, ...fields, ...answer });
}

/** An abort has ended. Either its result answers the person, or an abort for the person follows. */
export function tellPerson(
  context: Context,
  session: Session,
  o: AbortEnd,
  aborting: Aborting,
): void {
  switch (o.kind) {
    case 'abort.done':
      answerPerson(context, session, { outcome: 'done', tookMs: o.tookMs });
      return;
    case 'abort.failed':
      if (aborting.run !== undefined && session.run !== aborting.run) {
        answerPerson(context, session, { outcome: 'done', tookMs: o.at - aborting.since });
      } else answerPerson(context, session, { outcome: 'failed', error: o.error });
      return;
    case 'abort.withdrawn':
      if (o.seen === 'missing') answerPerson(context, session, { outcome: 'unknown' });
      else if (o.seen === 'idle') answerPerson(context, session, { outcome: 'idle' });
      else if (aborting.reason !== 'manual') abortForPerson(context, session, o.at);
      else answerPerson(context, session, { outcome: 'failed', error: 'it was taken back' });
      return;
    case 'abort.skipped':
      if (aborting.reason !== 'manual') abortForPerson(context, session, o.at);
      else answerPerson(context, session, { outcome: 'failed', error: 'dryRun is on' });
      return;
  }
}

/** Returns true if the run that the abort was sent against is over. */
export function manualAbortEnded(
  context: Context,
  session: Session,
  o: AbortEnd,
  aborting: Extract<Aborting, { reason: 'manual' }>,
): boolean {
  const { run, since } = aborting;
  const isSame = run !== undefined && session.run === run;
  switch (o.kind) {
    case 'abort.done': {
      // The run that the abort found and ended may have been heard of only afterwards.
      const ended = run ?? session.run;
      if (ended) endedByPerson(ended);
      abortWorked(context, session, o.tookMs, o.at, aborting);
      return ended !== undefined && session.run === ended;
    }
    case 'abort.withdrawn':
      return isSame && (o.seen === 'idle' || o.seen === 'missing');
    case 'abort.failed':
      // The stream showed the end of the run, and the executor saw only what came after it. So the abort worked.
      if (run !== undefined && !isSame) {
        endedByPerson(run);
        abortWorked(context, session, o.at - since, o.at, aborting);
      } else {
        const { error } = o;
        const fields = { ...fieldsOf(session), reason: 'manual', try: 1, error } as const;
        context.emit({ note: 'session.abort_failed', ...fields });
      }
      return false;
    case 'abort.skipped':
      return false;
  }
}

/** Whatever error came before, this end is what the person wanted. */
function endedByPerson(run: Run): void {
  run.error = undefined;
  run.endedBy = 'watchdog';
  run.endedFor = 'manual';
}
