/**
 * Recovery, when asked for (`recover`, off by default): a run that the watchdog aborted, or that a restart cut while it
 * was healthy, is prompted to go on.
 *
 * Never a subagent (its parent goes on), never a ghost, never one that waited for a person, that has new input since,
 * or whose whole run was over its time; and each session at most `recover.maxPerSession` times.
 */

import type { ContinueReason, Health, StuckReason } from '../decision.js';
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
  proceed(context, session, run, 'abort', hasFailed ? models : []);
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
  if (!mayBeContinued(session, run)) return false;
  const { episode } = run;
  const until = episode?.backAt ?? (reason === 'wait' ? episode?.nextAt : undefined);
  return until !== undefined && until > at && context.park(session, run, until, at);
}

/** Never a subagent, a ghost, or what waited for a person or has new input. */
function mayBeContinued({ deleted, info, lastPrompt }: Session, run: Run): boolean {
  const promptWaits = lastPrompt?.taken === false;
  return !deleted && info.parentID === undefined && !promptWaits && run.requests.size === 0;
}

/** What a restart cut, to be continued when the new server is healthy. */
export interface Cut {
  session: Session;
  run: Run;
  health: Health;
  at: number;
}

export function continueAfterRestart(context: Context, cut: readonly Cut[]): void {
  if (context.policy.recover.afterRestart === 'none') return;
  for (const { session, run, health, at } of cut) {
    const wasHealthy = health === 'busy' || health === 'delegating';
    const promptedSince = (session.lastPrompt?.at ?? at) > at;
    if (wasHealthy && !promptedSince && session.run === undefined) {
      proceed(context, session, run, 'restart', []);
    }
  }
}

/** `models`: the chain that is walked, as the run failed on its model; empty where it goes on with that. */
function proceed(
  context: Context,
  session: Session,
  run: Run,
  because: ContinueReason,
  models: readonly string[],
): void {
  const { maxPerSession } = context.policy.recover;
  if (!mayBeContinued(session, run) || session.continues >= maxPerSession) return;
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
    count: session.continues,
  });
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
