/**
 * What is done about a stuck run: declared once, aborted, verified, tried again, and wedged when nothing helps.
 *
 * The steps of one session's abort; that at most one is under way for a session is kept here.
 */

import type { Note, StuckReason, WedgedNext } from '../decision.js';
import type { ActObservation, AskedBy } from '../observation.js';
import { continueAfterAbort } from './recovery.js';
import type { Context } from './rule-context.js';
import { isRetryReason, type LimitExceeded } from './rules.js';
import { type Aborting, fieldsOf, type Run, type Session } from './state.js';

/**
 * Aborts of one run held back because an attempt was in flight. Attempts this short are never seen waiting. At the
 * limit: the abort is sent.
 */
const MAX_HOLDS = 2;
/** A run that is back within this many ms of its verified abort, unprompted, shows that the abort was lost (facts, section 6). */
const LOST_ABORT_WINDOW = 60_000;

/** No attempt can succeed, and nothing heals, before the next one is made: that far away, the status is sure to hold. */
const SURE_WAIT = 1_000;

/** A server that is not responding is asked again after this many ms: then the next try may tell something. */
const RECHECK_UNRESPONSIVE = 1_000;

/** Says that the run is stuck, and aborts it as soon as the server can be asked. */
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
    sayStuck(context, session, run, exceeded, at);
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

/** Sends the abort of a run that waits for one, where nothing stands in its way. */
export function abortIfPossible(context: Context, session: Session, run: Run, at: number): void {
  const { abortFlow } = run;
  if (abortFlow?.phase !== 'pending' || session.aborting !== undefined || !context.canAct()) return;
  if (context.isUnresponsive()) {
    context.wakeAt(at + RECHECK_UNRESPONSIVE, session);
    return;
  }
  const tries = abortFlow.tries + 1;
  run.abortFlow = { ...abortFlow, phase: 'aborting', tries, withdrawn: false };
  session.aborting = { reason: abortFlow.reason, try: tries, run, since: at };
  context.emit({
    note: 'session.aborting',
    ...fieldsOf(session),
    reason: abortFlow.reason,
    try: tries,
  });
  // What was decided while an attempt was in flight was decided against that attempt.
  const spared =
    isRetryReason(abortFlow.reason) &&
    run.status === 'retry' &&
    (run.episode?.holds ?? 0) < MAX_HOLDS;
  context.emit({
    act: 'abort',
    sessionID: session.id,
    directory: run.directory ?? session.info.directory,
    reason: abortFlow.reason,
    try: tries,
    expect: spared ? 'retry' : 'active',
    verifyTimeoutMs: context.verifyMs(at),
    waits: waitsForSure(run, at),
  });
}

/** A person wants the session aborted, whatever it does. */
export function abortRequested(context: Context, session: Session, by: AskedBy, at: number): void {
  session.abortAskedBy ??= by;
  // The one that is under way answers for both.
  if (session.aborting === undefined) abortForPerson(context, session, at);
}

/** Once, and whatever the status shows but idle: a person has judged it. */
function abortForPerson(context: Context, session: Session, at: number): void {
  const error = context.whyNoAbort();
  if (error !== undefined) {
    answerPerson(context, session, { outcome: 'failed', error });
    return;
  }
  const { run } = session;
  session.aborting = { reason: 'manual', try: 1, run, since: at };
  context.emit({ note: 'session.aborting', ...fieldsOf(session), reason: 'manual', try: 1 });
  context.emit({
    act: 'abort',
    sessionID: session.id,
    directory: run?.directory ?? session.info.directory,
    reason: 'manual',
    try: 1,
    expect: 'active',
    verifyTimeoutMs: context.verifyMs(at),
    waits: false,
  });
}

type PersonsAnswer = Pick<Extract<Note, { note: 'act.done' }>, 'outcome' | 'tookMs' | 'error'>;

/** Tells the person who asked for an abort what became of it, where one did. */
export function answerPerson(context: Context, session: Session, answer: PersonsAnswer): void {
  const by = session.abortAskedBy;
  if (by === undefined) return;
  session.abortAskedBy = undefined;
  const { parentID: _, ...fields } = fieldsOf(session);
  context.emit({ note: 'act.done', act: 'abort', by, ...fields, ...answer });
}

/** An abort has ended: by it the person is answered, or their own follows. */
function tellPerson(context: Context, session: Session, o: AbortEnd, aborting: Aborting): void {
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

function waitsForSure(run: Run, at: number): boolean {
  const nextAt = run.episode?.nextAt;
  return (
    run.status === 'retry' &&
    run.statusAt === at &&
    nextAt !== undefined &&
    nextAt - at >= SURE_WAIT
  );
}

/** The run shows life again: what was decided against it is taken back, as far as it was not done yet. */
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

/**
 * The run is not stuck any more: said where it was silent. A retry episode is not over by a sign of life:
 * `episodeEnded` says when it is.
 */
function letGo(context: Context, session: Session, run: Run, at: number): void {
  const { abortFlow } = run;
  run.abortFlow = undefined;
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

/** Nobody knows whether the run's retry episode goes on: its next failure begins another. */
export function episodeUnheard(context: Context, session: Session, run: Run, at: number): void {
  if (run.episode === undefined) return;
  run.episode = undefined;
  if (run.abortFlow && isRetryReason(run.abortFlow.reason)) takeBack(context, session, run, at);
}

type AbortEnd = Extract<ActObservation, { kind: `abort.${string}` }>;

/**
 * The executor reports the end of an abort. Returns true where the run is known to have ended, by the only evidence that
 * counts: its directory's status.
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

/** True where the run that it was sent against is over. */
function manualAbortEnded(
  context: Context,
  session: Session,
  o: AbortEnd,
  aborting: Extract<Aborting, { reason: 'manual' }>,
): boolean {
  const { run, since } = aborting;
  const isSame = run !== undefined && session.run === run;
  switch (o.kind) {
    case 'abort.done':
      if (run) endedByPerson(run);
      aborted(context, session, o.tookMs, o.at, aborting);
      return isSame;
    case 'abort.withdrawn':
      return isSame && (o.seen === 'idle' || o.seen === 'missing');
    case 'abort.failed':
      // Its end was seen on the stream, only the executor saw what came after: the abort worked.
      if (run !== undefined && !isSame) {
        endedByPerson(run);
        aborted(context, session, o.at - since, o.at, aborting);
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

function ownAbortEnded(
  context: Context,
  session: Session,
  o: AbortEnd,
  aborting: Exclude<Aborting, { reason: 'manual' }>,
): boolean {
  const { reason, try: tries, run } = aborting;
  run.endedFor = reason;
  // A run that began after the one that was aborted is another run: it is not judged by this result.
  const same = session.run === run ? run : undefined;
  const isIdle = o.kind === 'abort.withdrawn' && (o.seen === 'idle' || o.seen === 'missing');
  switch (o.kind) {
    case 'abort.done':
      // Whatever error came before, this end is ours.
      run.error = undefined;
      run.endedBy = 'watchdog';
      aborted(context, session, o.tookMs, o.at, aborting);
      return same !== undefined;
    case 'abort.withdrawn':
      if (same === undefined) {
        if (tries > 1 && isIdle) run.endedBy = 'watchdog';
        return false;
      }
      if (isIdle) {
        // An earlier try was sent: that one ended it, only late.
        if (tries > 1) {
          run.endedBy = 'watchdog';
          aborted(context, session, o.at - aborting.since, o.at, aborting);
        } else endedFirst(context, session, same, o.at);
        return true;
      }
      if (o.seen === 'busy' && isRetryReason(reason)) hold(same, o.at);
      else letGo(context, session, same, o.at);
      return false;
    case 'abort.skipped':
      if (same) same.abortFlow = { phase: 'left', reason, since: o.at, tries };
      return false;
    case 'abort.failed':
      if (same !== undefined) retryOrWedge(context, session, same, reason, tries, o);
      // Its end was seen on the stream, only the executor saw what came after: the abort worked.
      else {
        run.endedBy = 'watchdog';
        aborted(context, session, o.at - aborting.since, o.at, aborting);
      }
      return false;
  }
}

/** The run ended by itself before the abort was sent; where it ended with an error, that is its end's to say. */
function endedFirst(context: Context, session: Session, run: Run, at: number): void {
  if (run.error !== undefined) return;
  if (run.episode !== undefined) episodeEnded(context, session, run, at);
  else letGo(context, session, run, at);
}

/** An attempt is in flight that may be the one that works: the decision waits for its outcome. */
function hold(run: Run, at: number): void {
  run.abortFlow = undefined;
  if (run.status !== 'busy') {
    run.status = 'busy';
    run.statusAt = at;
  }
  if (run.episode) run.episode.holds += 1;
}

/** A run that comes back after a verified abort, unprompted, is the old one: that abort was lost, and is tried again. */
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

function aborted(
  context: Context,
  session: Session,
  tookMs: number,
  at: number,
  aborting: Aborting,
): void {
  const { reason, try: tries } = aborting;
  context.emit({ note: 'session.aborted', ...fieldsOf(session), reason, try: tries, tookMs });
  // A person's is the person's to follow up.
  if (aborting.reason === 'manual') {
    session.lastAbort = undefined;
    return;
  }
  const { run } = aborting;
  // A prompt that waited behind the run comes next: a run that follows is its own.
  const promptWaits = session.lastPrompt?.taken === false;
  session.lastAbort = promptWaits ? undefined : { at, reason: aborting.reason, tries };
  if (isRetryReason(aborting.reason)) context.outages.endedBadly(session.id, run, at);
  continueAfterAbort(context, session, run, aborting.reason);
}

function retryOrWedge(
  context: Context,
  session: Session,
  run: Run,
  reason: StuckReason,
  tries: number,
  o: Extract<ActObservation, { kind: 'abort.failed' }>,
): void {
  const { at, error } = o;
  context.emit({ note: 'session.abort_failed', ...fieldsOf(session), reason, try: tries, error });
  const since = run.abortFlow?.since ?? at;
  if (run.abortFlow?.phase === 'aborting' && run.abortFlow.withdrawn) {
    // It came too late to be held back and did nothing; the run is alive and well.
    letGo(context, session, run, at);
  } else if (!context.canAct() || context.isUnresponsive()) {
    // The server itself does not work: this try proves nothing against the session.
    run.abortFlow = { phase: 'pending', reason, since, tries: tries - 1 };
  } else if (tries < context.policy.abort.maxTries) {
    run.abortFlow = { phase: 'pending', reason, since, tries };
    abortIfPossible(context, session, run, at);
  } else {
    wedge(context, session, run, { reason, since, tries });
  }
}

function wedge(
  context: Context,
  session: Session,
  run: Run,
  abortFlow: { reason: StuckReason; since: number; tries: number },
): void {
  const next = disposeMayHelp(context, run) ? 'dispose' : nextBut(context);
  run.abortFlow = { phase: 'wedged', ...abortFlow, next, disposed: false };
  sayWedged(context, session, abortFlow, next);
}

/** Whether the directory can be disposed for it at all. */
function disposeMayHelp({ policy }: Context, run: Run): boolean {
  return policy.abort.dispose && run.directory !== undefined;
}

const nextBut = (context: Context): WedgedNext => (context.canRestart() ? 'restart' : 'nothing');

/** The directory that is to be disposed for this wedged session; undefined where that is no step (any more). */
export function disposedFor(context: Context, { run }: Session): string | undefined {
  const abortFlow = run?.abortFlow;
  if (run === undefined || abortFlow?.phase !== 'wedged' || abortFlow.disposed) return undefined;
  return disposeMayHelp(context, run) ? run.directory : undefined;
}

/** The dispose of its directory did not end it: a restart is the next step. */
export function disposeDidNotHelp(context: Context, session: Session): void {
  const abortFlow = session.run?.abortFlow;
  if (abortFlow?.phase !== 'wedged' || abortFlow.disposed) return;
  abortFlow.disposed = true;
  abortFlow.next = nextBut(context);
  sayWedged(context, session, abortFlow, abortFlow.next);
}

/** Neither a dispose nor a restart is made for it: a person is told, once. */
export function nothingHelps(context: Context, session: Session): void {
  const abortFlow = session.run?.abortFlow;
  if (abortFlow?.phase !== 'wedged' || abortFlow.next === 'nothing') return;
  abortFlow.next = 'nothing';
  sayWedged(context, session, abortFlow, abortFlow.next);
}

function sayWedged(
  context: Context,
  session: Session,
  { reason, tries }: { reason: StuckReason; tries: number },
  next: WedgedNext,
): void {
  context.emit({ note: 'session.wedged', ...fieldsOf(session), reason, tries, next });
}
