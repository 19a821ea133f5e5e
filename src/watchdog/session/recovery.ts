/**
 * Recovery (`recover`, off by default): a run that the watchdog aborted, or that a restart cut while it was healthy, is
 * prompted to go on.
 *
 * A subagent is never continued (its parent goes on), nor is a ghost, a run that waited for a person or has new input
 * since, or a run that exceeded its time or a budget. Each session is continued at most `recover.maxPerSession` times.
 */

import type { ContinueAct, ContinueReason, StuckReason } from '../decision.js';
import type { ActObservation } from '../observation.js';
import type { Context } from './rule-context.js';
import { isRetryReason } from './rules.js';
import { fieldsOf, promptWaits, type Run, type Session } from './state.js';

/** A program must not begin a run again that ended for one of these reasons. */
const NOT_CONTINUED: ReadonlySet<StuckReason> = new Set(['ghost', 'waiting', 'run_time', 'budget']);

/** Called with the verified end of an abort. */
export function continueAfterAbort(
  context: Context,
  session: Session,
  run: Run,
  reason: StuckReason,
  at: number,
): void {
  // Another run has begun since: somebody wanted something else.
  if (session.run !== undefined && session.run !== run) return;
  // It was told to go on a moment ago, and no prompt was heard since. A late event of the run before, whose end a status
  // had proven, was taken for a new run.
  if (session.continuing === 'told') return;
  if (isRetryReason(reason)) noteFailure(context, session, run, at);
  if (parkForQuota(context, session, run, reason, at)) return;
  if (context.policy.recover.afterAbort === 'none' || NOT_CONTINUED.has(reason)) return;
  // The same model does not help if an account is empty, the next attempt is far away, or the run went round in
  // circles.
  const needsOther = reason === 'hopeless' || reason === 'wait' || reason === 'loop';
  const isAlone = !context.policy.recover.models.some((model) => model !== run.model);
  if (needsOther && isAlone) return;
  const hasFailed = needsOther || isRetryReason(reason) || reason === 'silence';
  proceed(context, session, run, { because: 'abort', hasFailed }, at);
}

/** Statuses that no other model mends: a wrong request, a refused key, a missing model. */
const NO_FAILOVER: ReadonlySet<number> = new Set([400, 401, 404]);

/**
 * opencode itself gave the run up because its provider fails. The run goes on with another model of the chain, if there
 * is one.
 */
export function continueAfterFailure(
  context: Context,
  session: Session,
  run: Run,
  at: number,
): void {
  const { afterAbort, models } = context.policy.recover;
  const { error, episode } = run;
  const status = error?.statusCode;
  const isProvider = status === undefined ? episode !== undefined : !NO_FAILOVER.has(status);
  if (!isProvider) return;
  noteFailure(context, session, run, at);
  const hasOther = models.some((model) => model !== run.model);
  const isReplaced = session.run !== undefined && session.run !== run;
  if (afterAbort === 'none' || !hasOther || isReplaced) return;
  proceed(context, session, run, { because: 'abort', hasFailed: true }, at);
}

function noteFailure(
  { policy, failover }: Context,
  { id }: Session,
  { model, episode }: Run,
  at: number,
): void {
  if (model === undefined || policy.recover.models.length === 0) return;
  failover.failed(model, id, at, episode?.backAt);
}

/**
 * Parks the run, if that is possible. If another model can be used at once (`recover.models`), it does not wait for its
 * quota.
 */
function parkForQuota(
  context: Context,
  session: Session,
  run: Run,
  reason: StuckReason,
  at: number,
): boolean {
  if (reason !== 'wait' && reason !== 'hopeless') return false;
  const { afterAbort, models } = context.policy.recover;
  if (afterAbort === 'continue' && models.some((model) => model !== run.model)) return false;
  if (!mayBeContinued(context, session, run)) return false;
  const { episode } = run;
  const until = episode?.backAt ?? (reason === 'wait' ? episode?.nextAt : undefined);
  return until !== undefined && until > at && context.park(session, run, until, at);
}

/**
 * Whether the run may be continued: not that of a subagent, a ghost or a quarantined session, and not one that waited
 * for a person, has new input, or that a person wants aborted too, while our own abort is under way.
 */
function mayBeContinued(context: Context, session: Session, run: Run, wasCut = false): boolean {
  const { id, deleted, info, abortAskedBy } = session;
  if (context.isQuarantined(id) || abortAskedBy !== undefined) return false;
  if (!wasCut && promptWaits(session)) return false;
  return !deleted && info.parentID === undefined && run.requests.size === 0;
}

interface Way {
  because: ContinueReason;
  /** The run failed on its model, or that model does not help: it goes on with another one of the chain. */
  hasFailed: boolean;
  cutMessageID?: string | undefined;
  onlyIfOpen?: boolean;
}

/** Returns true if the session is told to go on. */
export function proceed(
  context: Context,
  session: Session,
  run: Run,
  { because, hasFailed, cutMessageID, onlyIfOpen = false }: Way,
  at: number,
): boolean {
  const { maxPerSession } = context.policy.recover;
  // A prompt that waited behind a cut run is in the transcript, and is answered when that run goes on.
  const wasCut = because === 'restart' || because === 'crash';
  if (!mayBeContinued(context, session, run, wasCut) || session.continues >= maxPerSession)
    return false;
  const choice = chooseModel(context, session, run, hasFailed, at);
  if (choice === 'none') {
    const error = 'every model of recover.models is out just now';
    const count = session.continues;
    context.emit({ note: 'session.continue_failed', ...fieldsOf(session), error, count });
    return false;
  }
  const { model } = choice;
  session.continuedOn = model;
  // A run that follows is wanted. It is not the old one coming back.
  session.lastAbort = undefined;
  // In a pause it is sent later, when somebody may have used the session. Its answer before a gap may not be its last.
  const lastMessageID =
    because === 'abort' && context.isPaused() && !run.askedBeforeGap
      ? run.askedMessageID
      : undefined;
  tellToGoOn(context, session, {
    act: 'continue',
    because,
    sessionID: session.id,
    directory: run.directory ?? session.info.directory,
    ...(model === undefined ? {} : { model }),
    ...(run.agent === undefined ? {} : { agent: run.agent }),
    ...(lastMessageID !== undefined && { lastMessageID }),
    ...(cutMessageID !== undefined && { cutMessageID }),
    ...(onlyIfOpen && { onlyIfOpen }),
    count: session.continues + 1,
  });
  return true;
}

export function tellToGoOn({ emit }: Context, session: Session, act: ContinueAct): void {
  session.continuing = 'told';
  session.continues += 1;
  session.told = act;
  emit(act);
}

/**
 * `none`: no model of the chain is left. If a provider is known to be out, a healthy run goes on with another model,
 * too.
 */
function chooseModel(
  { policy, failover }: Context,
  session: Session,
  run: Run,
  hasFailed: boolean,
  at: number,
): { model: string | undefined } | 'none' {
  const { models: chain } = policy.recover;
  const own = run.model;
  if (chain.length === 0) return { model: own };
  if (!hasFailed) {
    const wanted = own === undefined ? [] : [own, ...chain];
    return { model: failover.choose(wanted, session.id, at) ?? own };
  }
  for (const failed of [own, session.continuedOn]) {
    if (failed !== undefined) session.failedOn.add(failed);
  }
  const left = chain.filter((model) => !session.failedOn.has(model));
  const model = failover.choose(left, session.id, at);
  return model === undefined ? 'none' : { model };
}

/** The executor reports whether the continued run has begun. */
export function continued(
  context: Context,
  session: Session,
  o: Extract<ActObservation, { kind: 'continue.done' | 'continue.failed' }>,
): void {
  const { model } = o;
  const fields = {
    ...fieldsOf(session),
    ...(model === undefined ? {} : { model }),
    count: session.continues,
  };
  if (o.kind === 'continue.done') context.emit({ note: 'session.continued', ...fields });
  else context.emit({ note: 'session.continue_failed', ...fields, error: o.error });
}
