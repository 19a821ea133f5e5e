/** Sends one abort of a session, and follows up an abort that worked, be it the watchdog's own or a person's. */

import type { Act } from '../decision.js';
import type { ActObservation } from '../observation.js';
import { continueAfterAbort } from './recovery.js';
import type { Context } from './rule-context.js';
import { isRetryReason } from './rules.js';
import { type Aborting, fieldsOf, promptWaits, type Session } from './state.js';

export type AbortEnd = Extract<ActObservation, { kind: `abort.${string}` }>;
type AbortAct = Extract<Act, { act: 'abort' }>;

export function sendAbort(
  context: Context,
  session: Session,
  aborting: Aborting,
  how: Pick<AbortAct, 'expect' | 'waits'>,
): void {
  session.aborting = aborting;
  const { run, reason, try: tries, since } = aborting;
  context.emit({ note: 'session.aborting', ...fieldsOf(session), reason, try: tries });
  context.emit({
    act: 'abort',
    sessionID: session.id,
    directory: run?.directory ?? session.info.directory,
    reason,
    try: tries,
    verifyTimeoutMs: context.verifyMs(since),
    ...how,
  });
}

export function abortWorked(
  context: Context,
  session: Session,
  tookMs: number,
  at: number,
  aborting: Aborting,
): void {
  const { reason, try: tries } = aborting;
  context.emit({ note: 'session.aborted', ...fieldsOf(session), reason, try: tries, tookMs });
  // The person who asked for the abort decides what follows.
  if (aborting.reason === 'manual') {
    session.lastAbort = undefined;
    return;
  }
  const { run, since, followed } = aborting;
  const { lastPrompt } = session;
  // The end of an abort may be known late. By then somebody may have used the session again.
  const isUsed = followed === true || (lastPrompt !== undefined && lastPrompt.at > since);
  // A prompt that waited behind the run comes next. A run that follows belongs to that prompt.
  session.lastAbort =
    isUsed || promptWaits(session) ? undefined : { at, reason: aborting.reason, tries };
  if (isRetryReason(aborting.reason)) context.outages.endedBadly(session.id, run, at);
  if (!isUsed) continueAfterAbort(context, session, run, aborting.reason, at);
}
