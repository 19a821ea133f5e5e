/**
 * What is done about a stuck run: declared once, aborted, verified, tried again, and wedged when nothing helps.
 *
 * The steps of one session's abort; that at most one is under way for a session is kept here.
 */
import type { Decision, SessionFields, StuckReason } from './decision.js';
import { type Crossing, isRetryReason } from './judgement.js';
import type { ActObservation } from './observation.js';
import type { Policy } from './policy.js';
import type { Run, Session } from './session.js';

/** After so many aborts held back for an attempt in flight, attempts this short will never be seen waiting. */
const MAX_HOLDS = 2;

export interface TroubleContext {
  policy: Policy;
  say(decision: Decision): void;
  /** Whether the server can be asked to abort now. */
  canAct(): boolean;
}

/** The fields that every note of a session carries. */
export function fieldsOf(session: Session): SessionFields {
  const { directory, title, parentID } = session.info;
  const where = directory ?? session.run?.directory;
  return {
    sessionID: session.id,
    ...(where === undefined ? {} : { directory: where }),
    ...(title === undefined ? {} : { title }),
    ...(parentID === undefined ? {} : { parentID }),
  };
}

/** Says that the run is stuck, and aborts it as soon as the server can be asked. */
export function declareStuck(
  context: TroubleContext,
  session: Session,
  run: Run,
  crossing: Crossing,
  at: number,
): void {
  run.trouble = { phase: 'pending', reason: crossing.reason, since: at, tries: 0 };
  if (run.said !== crossing.reason) {
    run.said = crossing.reason;
    sayStuck(context, session, run, crossing, at);
  }
  abortIfPossible(context, session, run, at);
}

export function sayStuck(
  context: TroubleContext,
  session: Session,
  run: Run,
  crossing: Crossing,
  at: number,
): void {
  const { episode } = run;
  context.say({
    note: 'session.stuck',
    ...fieldsOf(session),
    reason: crossing.reason,
    limit: crossing.limit,
    value: crossing.value,
    ...(crossing.tool === undefined ? {} : { tool: crossing.tool }),
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
export function abortIfPossible(
  context: TroubleContext,
  session: Session,
  run: Run,
  at: number,
): void {
  const { trouble } = run;
  if (trouble?.phase !== 'pending' || session.aborting !== undefined || !context.canAct()) return;
  const tries = trouble.tries + 1;
  run.trouble = { ...trouble, phase: 'aborting', tries, withdrawn: false };
  session.aborting = { reason: trouble.reason, try: tries, run, since: at };
  context.say({
    note: 'session.aborting',
    ...fieldsOf(session),
    reason: trouble.reason,
    try: tries,
  });
  const spared = isRetryReason(trouble.reason) && (run.episode?.holds ?? 0) < MAX_HOLDS;
  context.say({
    act: 'abort',
    sessionID: session.id,
    directory: run.directory ?? session.info.directory,
    reason: trouble.reason,
    try: tries,
    expect: spared ? 'retry' : 'active',
  });
}

/** The run shows life again: what was decided against it is taken back, as far as it was not done yet. */
export function takeBack(context: TroubleContext, session: Session, run: Run, at: number): void {
  const { trouble } = run;
  if (trouble === undefined) return;
  if (trouble.phase === 'aborting') {
    if (trouble.withdrawn) return;
    trouble.withdrawn = true;
    context.say({ act: 'withdraw', sessionID: session.id });
    return;
  }
  recovered(context, session, run, at);
}

export function recovered(context: TroubleContext, session: Session, run: Run, at: number): void {
  const { trouble, episode } = run;
  context.say({
    note: 'session.recovered',
    ...fieldsOf(session),
    ...(trouble === undefined ? {} : { reason: trouble.reason }),
    attempts: episode?.attempts ?? 0,
    episodeMs: at - (episode?.startedAt ?? trouble?.since ?? at),
  });
  run.trouble = undefined;
  run.said = undefined;
}

/**
 * The hands report the end of an abort. Returns true where the run is known to have ended, by the only evidence that
 * counts: its directory's status.
 */
export function abortEnded(context: TroubleContext, session: Session, o: ActObservation): boolean {
  const { aborting } = session;
  if (aborting === undefined) return false;
  session.aborting = undefined;
  const { reason, try: tries, run } = aborting;
  // A run that began after the one that was aborted is another run: it is not judged by this result.
  const same = session.run === run ? run : undefined;
  switch (o.kind) {
    case 'abort.done':
      aborted(context, session, reason, tries, o.tookMs, o.at);
      return same !== undefined;
    case 'abort.withdrawn':
      if (same === undefined) return false;
      if (o.seen === 'busy') {
        same.trouble = undefined;
        if (same.status !== 'busy') {
          same.status = 'busy';
          same.statusAt = o.at;
        }
        if (same.episode) same.episode.holds += 1;
        return false;
      }
      recovered(context, session, same, o.at);
      return o.seen === 'idle';
    case 'abort.skipped':
      if (same) same.trouble = { phase: 'left', reason, since: o.at, tries };
      return false;
    case 'abort.failed':
      if (same !== undefined) retryOrWedge(context, session, same, reason, tries, o);
      // Its end was seen on the stream, only the hands saw what came after: the abort worked.
      else aborted(context, session, reason, tries, o.at - aborting.since, o.at);
      return false;
  }
}

function aborted(
  context: TroubleContext,
  session: Session,
  reason: StuckReason,
  tries: number,
  tookMs: number,
  at: number,
): void {
  session.lastAbort = { at, reason, tries };
  context.say({ note: 'session.aborted', ...fieldsOf(session), reason, try: tries, tookMs });
}

function retryOrWedge(
  context: TroubleContext,
  session: Session,
  run: Run,
  reason: StuckReason,
  tries: number,
  o: Extract<ActObservation, { kind: 'abort.failed' }>,
): void {
  const { at, error } = o;
  context.say({ note: 'session.abort_failed', ...fieldsOf(session), reason, try: tries, error });
  const since = run.trouble?.since ?? at;
  if (run.trouble?.phase === 'aborting' && run.trouble.withdrawn) {
    // It came too late to be held back and did nothing; the run is alive and well.
    recovered(context, session, run, at);
  } else if (!context.canAct()) {
    // The server is in trouble itself: this try proves nothing against the session.
    run.trouble = { phase: 'pending', reason, since, tries: tries - 1 };
  } else if (tries < context.policy.abort.maxTries) {
    run.trouble = { phase: 'pending', reason, since, tries };
    abortIfPossible(context, session, run, at);
  } else {
    run.trouble = { phase: 'wedged', reason, since, tries };
    context.say({ note: 'session.wedged', ...fieldsOf(session), reason, tries });
  }
}
