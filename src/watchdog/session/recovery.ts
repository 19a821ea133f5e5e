/**
 * Recovery, when asked for (`recover`, off by default): a run that the watchdog aborted, or that a restart cut while it
 * was healthy, is prompted to go on.
 *
 * Never a subagent (its parent goes on), never a ghost, never one that waited for a person, that has new input since,
 * or whose whole run was over its time; and each session at most `recover.maxPerSession` times.
 */

import type { ContinueReason, StuckReason } from '../decision.js';
import type { ActObservation } from '../observation.js';
import type { Context } from './rule-context.js';
import { isRetryReason } from './rules.js';
import { fieldsOf, type Run, type Session } from './state.js';

/** A run that ended for one of these must not be begun again by a program. */
const NOT_CONTINUED: ReadonlySet<StuckReason> = new Set(['ghost', 'waiting', 'run_time', 'budget']);

/** Called with the verified end of an abort. */
export function continueAfterAbort(
  context: Context,
  session: Session,
  run: Run,
  reason: StuckReason,
  at: number,
): void {
  // Another run has begun behind it: somebody wanted something else.
  if (session.run !== undefined && session.run !== run) return;
  if (isRetryReason(reason)) noteFailure(context, run, at);
  if (parkForQuota(context, session, run, reason, at)) return;
  if (context.policy.recover.afterAbort === 'none' || NOT_CONTINUED.has(reason)) return;
  // The same model again is no help where an account is empty, its limit is hours away, or it went round in circles.
  const needsOther = reason === 'hopeless' || reason === 'wait' || reason === 'loop';
  const isAlone = !context.policy.recover.models.some((model) => model !== run.model);
  if (needsOther && isAlone) return;
  const hasFailed = needsOther || isRetryReason(reason) || reason === 'silence';
  proceed(context, session, run, { because: 'abort', hasFailed }, at);
}

/** What no other model mends: a request that is wrong, a key that is refused, a model that is not there. */
const NO_FAILOVER: ReadonlySet<number> = new Set([400, 401, 404]);

/** opencode gave the run up itself, on a provider that fails: it goes on down the chain, where there is one. */
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
  noteFailure(context, run, at);
  const hasOther = models.some((model) => model !== run.model);
  const isReplaced = session.run !== undefined && session.run !== run;
  if (afterAbort === 'none' || !hasOther || isReplaced) return;
  proceed(context, session, run, { because: 'abort', hasFailed: true }, at);
}

function noteFailure({ policy, failover }: Context, { model, episode }: Run, at: number): void {
  if (model === undefined || policy.recover.models.length === 0) return;
  failover.failed(model, at, episode?.backAt);
}

/** Where another model may be had at once (`recover.models`), nothing waits for this one's quota. */
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

/** Never a subagent, a ghost, or what waited for a person or has new input. */
function mayBeContinued(
  context: Context,
  { id, deleted, info, lastPrompt }: Session,
  run: Run,
  wasCut = false,
): boolean {
  if (context.isQuarantined(id)) return false;
  const promptWaits = !wasCut && lastPrompt?.taken === false;
  return !deleted && info.parentID === undefined && !promptWaits && run.requests.size === 0;
}

interface Way {
  because: ContinueReason;
  /** The run failed on its model, or that is no help: it goes on with another one of the chain. */
  hasFailed: boolean;
  cutMessageID?: string | undefined;
  onlyIfOpen?: boolean;
}

/** True where it is told to go on. */
export function proceed(
  context: Context,
  session: Session,
  run: Run,
  { because, hasFailed, cutMessageID, onlyIfOpen = false }: Way,
  at: number,
): boolean {
  const { maxPerSession } = context.policy.recover;
  // A prompt that waited behind a run which was cut is in the transcript, and answered with it.
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
  session.continuing = true;
  session.continues += 1;
  // A run that follows is wanted: it is not the old one come back.
  session.lastAbort = undefined;
  context.emit({
    act: 'continue',
    because,
    sessionID: session.id,
    directory: run.directory ?? session.info.directory,
    ...(model === undefined ? {} : { model }),
    ...(run.agent === undefined ? {} : { agent: run.agent }),
    ...(cutMessageID !== undefined && { cutMessageID }),
    ...(onlyIfOpen && { onlyIfOpen }),
    count: session.continues,
  });
  return true;
}

/** `none`: the chain is exhausted. Where a provider is known to be out, a run that did well goes on elsewhere, too. */
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
