/**
 * What is done about a stuck run: it is declared stuck once, then aborted; the abort is verified and tried again, and
 * if nothing helps the run is wedged. At most one abort is under way for a session.
 */

import type { StuckReason } from '../decision.js';
import { manualAbortEnded, tellPerson } from './manual-abort.js';
import type { Context } from './rule-context.js';
import { isRetryReason, type LimitExceeded } from './rules.js';
import { type AbortEnd, abortWorked, sendAbort } from './send-abort.js';
import { type Aborting, fieldsOf, type Run, type Session } from './state.js';
import { wedge } from './wedged.js';

/**
 * Aborts of one run held back because an attempt was in flight. If attempts follow each other closely, the run is never
 * seen waiting. At the limit: the abort is sent.
 */
const MAX_HOLDS = 2;
/** If a run is back within this many ms of its verified abort, unprompted, the abort was lost (facts, section 6). */
const LOST_ABORT_WINDOW = 60_000;

/**
 * If the next attempt is at least this far away (ms), the status is sure to hold: before it, no attempt can succeed.
 */
const SURE_WAIT = 1_000;

/**
 * While the server is not responding, an abort is reconsidered after this many ms: by then a try may be worth while.
 */
const RECHECK_UNRESPONSIVE = 1_000;

/** Reports that the run is stuck, and aborts it as soon as the server can be asked. */
export function declareStuck(
  context: Context,
  session: Session,
  run: Run,
  exceeded: LimitExceeded,
  at: number,
): void {
  run.abortFlow = { phase: 'pending', reason: exceeded.reason, since: at, tries: 0 };
  if (run.said !== exceeded.reason) {
    run.said = exceeded.reason;
    if (!exceeded.reported) sayStuck(context, session, run, exceeded, at);
  }
  abortIfPossible(context, session, run, at);
}

export function sayStuck(
  context: Context,
  session: Session,
  run: Run,
  exceeded: LimitExceeded,
  at: number,
): void {
  const { episode } = run;
  context.emit({
    note: 'session.stuck',
    ...fieldsOf(session),
    reason: exceeded.reason,
    ...(exceeded.kind === undefined ? {} : { kind: exceeded.kind }),
    ...(exceeded.unit === undefined ? {} : { unit: exceeded.unit }),
    limit: exceeded.limit,
    value: exceeded.value,
    ...(exceeded.tool === undefined ? {} : { tool: exceeded.tool }),
    ...(episode === undefined
      ? {}
      : {
          attempt: episode.attempts,
          message: episode.message,
          episodeMs: at - episode.startedAt,
          ...(episode.nextAt === undefined ? {} : { nextInMs: Math.max(0, episode.nextAt - at) }),
        }),
  });
}

/** Sends the abort of a run that waits for one, if nothing stands in its way. */
export function abortIfPossible(context: Context, session: Session, run: Run, at: number): void {
  const { abortFlow } = run;
  if (abortFlow?.phase !== 'pending' || session.aborting !== undefined || !context.canAct()) return;
  if (context.isUnresponsive()) {
    context.wakeAt(at + RECHECK_UNRESPONSIVE, session);
    return;
  }
  const tries = abortFlow.tries + 1;
  run.abortFlow = { ...abortFlow, phase: 'aborting', tries, withdrawn: false };
  // An abort that was decided while an attempt was in flight is meant for that attempt too, so the attempt is not
  // spared.
  const spared =
    isRetryReason(abortFlow.reason) &&
    run.status === 'retry' &&
    (run.episode?.holds ?? 0) < MAX_HOLDS;
  const aborting = { reason: abortFlow.reason, try: tries, run, since: at };
  const expect = spared ? 'retry' : 'active';
  sendAbort(context, session, aborting, { expect, waits: waitsForSure(run, at) });
}

function waitsForSure(run: Run, at: number): boolean {
  const nextAt = run.episode?.nextAt;
  return (
    run.status === 'retry' &&
    run.statusAt === at &&
    nextAt !== undefined &&
    nextAt - at >= SURE_WAIT
  );
}

/** The run shows life again. The decision against it is taken back, unless the abort has already done its work. */
export function takeBack(context: Context, session: Session, run: Run, at: number): void {
  const { abortFlow } = run;
  if (abortFlow === undefined) return;
  if (abortFlow.phase !== 'aborting') {
    letGo(context, session, run, at);
  } else if (!abortFlow.withdrawn) {
    abortFlow.withdrawn = true;
    context.emit({ act: 'withdraw', sessionID: session.id });
  }
}

/** Another run has begun. An abort of the run before it that is not sent yet would end this one. */
export function runFollows(context: Context, session: Session, at: number): void {
  const { aborting } = session;
  if (aborting === undefined || aborting.reason === 'manual') return;
  aborting.followed = true;
  takeBack(context, session, aborting.run, at);
}

/**
 * The run is not stuck any more. This is reported, unless the run was stuck in a retry episode: a sign of life does not
 * end an episode, and `episodeEnded` reports its end.
 */
function letGo(context: Context, session: Session, run: Run, at: number): void {
  const { abortFlow } = run;
  run.abortFlow = undefined;
  run.endedFor = undefined;
  if (abortFlow === undefined || isRetryReason(abortFlow.reason)) return;
  run.said = undefined;
  context.emit({
    note: 'session.recovered',
    ...fieldsOf(session),
    reason: abortFlow.reason,
    attempts: 0,
    episodeMs: at - abortFlow.since,
  });
}

/** The run's retry episode ended by itself. */
export function episodeEnded(context: Context, session: Session, run: Run, at: number): void {
  const { abortFlow, episode } = run;
  if (episode === undefined) return;
  const ofEpisode = abortFlow !== undefined && isRetryReason(abortFlow.reason);
  const reason = ofEpisode ? abortFlow.reason : run.said;
  run.episode = undefined;
  run.said = undefined;
  context.emit({
    note: 'session.recovered',
    ...fieldsOf(session),
    ...(reason === undefined ? {} : { reason }),
    attempts: episode.attempts,
    episodeMs: at - episode.startedAt,
  });
  if (ofEpisode) takeBack(context, session, run, at);
}

/** It is not known whether the run's retry episode goes on, so its next failure begins a new one. */
export function episodeUnheard(context: Context, session: Session, run: Run, at: number): void {
  if (run.episode === undefined) return;
  run.episode = undefined;
  if (run.abortFlow && isRetryReason(run.abortFlow.reason)) takeBack(context, session, run, at);
}

/**
 * The executor reports the end of an abort. Returns true if the run is known to have ended; only its directory's status
 * counts as evidence.
 */
export function abortEnded(context: Context, session: Session, o: AbortEnd): boolean {
  const { aborting } = session;
  if (aborting === undefined) return false;
  session.aborting = undefined;
  const isOver =
    aborting.reason === 'manual'
      ? manualAbortEnded(context, session, o, aborting)
      : ownAbortEnded(context, session, o, aborting);
  if (session.abortAskedBy !== undefined) tellPerson(context, session, o, aborting);
  return isOver;
}

function ownAbortEnded(
  context: Context,
  session: Session,
  o: AbortEnd,
  aborting: Exclude<Aborting, { reason: 'manual' }>,
): boolean {
  const { reason, try: tries, run } = aborting;
  // A run that began after the aborted one is another run: this result says nothing about it.
  const same = session.run === run ? run : undefined;
  const isIdle = o.kind === 'abort.withdrawn' && (o.seen === 'idle' || o.seen === 'missing');
  if (o.kind === 'abort.done' || o.kind === 'abort.failed') run.endedFor = reason;
  switch (o.kind) {
    case 'abort.done':
      // Whatever error came before, our abort ended the run.
      run.error = undefined;
      run.endedBy = 'watchdog';
      abortWorked(context, session, o.tookMs, o.at, aborting);
      return same !== undefined;
    case 'abort.withdrawn':
      // This try was not sent.
      if (run.abortFlow) {
        const { since } = run.abortFlow;
        run.abortFlow = { phase: 'pending', reason, since, tries: tries - 1 };
      }
      // Whether an earlier try has ended the run is judged by how it ended (`run-end.ts`).
      if (same === undefined) return false;
      if (isIdle) {
        // An earlier try was sent, and it ended the run late.
        if (tries > 1) {
          run.endedBy = 'watchdog';
          abortWorked(context, session, o.at - aborting.since, o.at, aborting);
        } else endedFirst(context, session, same, o.at);
        return true;
      }
      if (o.seen === 'busy' && isRetryReason(reason)) hold(same, o.at);
      else letGo(context, session, same, o.at);
      return false;
    case 'abort.skipped':
      run.abortFlow = { phase: 'left', reason, since: o.at, tries };
      return false;
    case 'abort.failed':
      if (same !== undefined) retryOrWedge(context, session, same, reason, tries, o);
      // The stream showed the end of the run, and the executor saw only what came after it. So the abort worked.
      else {
        run.endedBy = 'watchdog';
        abortWorked(context, session, o.at - aborting.since, o.at, aborting);
      }
      return false;
  }
}

/** The run ended by itself before the abort was sent. If it ended with an error, `run-end.ts` reports that. */
function endedFirst(context: Context, session: Session, run: Run, at: number): void {
  if (run.error !== undefined) return;
  if (run.episode !== undefined) episodeEnded(context, session, run, at);
  else letGo(context, session, run, at);
}

/** An attempt in flight may be the one that works, so the decision waits for its outcome. */
function hold(run: Run, at: number): void {
  run.abortFlow = undefined;
  if (run.status !== 'busy') {
    run.status = 'busy';
    run.statusAt = at;
  }
  if (run.episode) run.episode.holds += 1;
}

/** A run that comes back after a verified abort, unprompted, is the old run. The abort was lost, and is tried again. */
export function abortWasLost(
  context: Context,
  session: Session,
  run: Run,
  listeningSince: number | undefined,
  at: number,
): void {
  const last = session.lastAbort;
  if (last === undefined || run.abortFlow !== undefined || session.aborting?.run === run) return;
  session.lastAbort = undefined;
  const promptMissed = listeningSince === undefined || listeningSince > last.at;
  if (promptMissed || at - last.at > LOST_ABORT_WINDOW) return;
  const { reason, tries } = last;
  run.said = reason;
  if (tries < context.policy.abort.maxTries) {
    run.abortFlow = { phase: 'pending', reason, since: at, tries };
  } else {
    wedge(context, session, run, { reason, since: at, tries });
  }
}

function retryOrWedge(
  context: Context,
  session: Session,
  run: Run,
  reason: StuckReason,
  tries: number,
  o: Extract<AbortEnd, { kind: 'abort.failed' }>,
): void {
  const { at, error } = o;
  context.emit({ note: 'session.abort_failed', ...fieldsOf(session), reason, try: tries, error });
  const since = run.abortFlow?.since ?? at;
  if (run.abortFlow?.phase === 'aborting' && run.abortFlow.withdrawn) {
    // The abort could no longer be held back, and it failed. The run is alive and well.
    letGo(context, session, run, at);
  } else if (!context.canAct() || context.isUnresponsive()) {
    // The server itself does not work, so this try proves nothing about the session.
    run.abortFlow = { phase: 'pending', reason, since, tries: tries - 1 };
  } else if (tries < context.policy.abort.maxTries) {
    run.abortFlow = { phase: 'pending', reason, since, tries };
    abortIfPossible(context, session, run, at);
  } else {
    wedge(context, session, run, { reason, since, tries });
  }
}
