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
  if (parkForQuota(context, session, run, reason, at)) return;
  if (context.policy.recover.afterAbort === 'none' || NOT_CONTINUED.has(reason)) return;
  // The same model again is no help where an account is empty, its limit is hours away, or it went round in circles.
  const needsOther = reason === 'hopeless' || reason === 'wait' || reason === 'loop';
  const models = context.policy.recover.models.filter(
    (model) => !needsOther || model !== run.model,
  );
  if (needsOther && models.length === 0) return;
  const hasFailed = needsOther || isRetryReason(reason) || reason === 'silence';
  proceed(context, session, run, { because: 'abort', models: hasFailed ? models : [] });
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
  /** The chain that is walked, as the run failed on its model; empty where it goes on with that. */
  models: readonly string[];
  onlyIfOpen?: boolean;
}

/** True where it is told to go on. */
export function proceed(
  context: Context,
  session: Session,
  run: Run,
  { because, models, onlyIfOpen = false }: Way,
): boolean {
  const { maxPerSession } = context.policy.recover;
  // A prompt that waited behind a run which was cut is in the transcript, and answered with it.
  const wasCut = because === 'restart' || because === 'crash';
  if (!mayBeContinued(context, session, run, wasCut) || session.continues >= maxPerSession)
    return false;
  const chosen = models[Math.min(session.continues, models.length - 1)];
  const model = chosen ?? run.model;
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
    ...(onlyIfOpen && { onlyIfOpen }),
    count: session.continues,
  });
  return true;
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
