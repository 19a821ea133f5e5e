/**
 * Reports a run that goes round in circles: half way to a limit, and again at the limit if nothing is done about it.
 */
import { sayStuck } from './abort-flow.js';
import { isLooping, nearestLoop } from './loops.js';
import type { Context } from './rule-context.js';
import { fieldsOf, type Run, type Session } from './state.js';

/** Reports each row of repetitions once. If it ends and begins again, it is reported again. */
export function sayLoop(context: Context, session: Session, run: Run, at: number): void {
  const { loop: policy } = context.policy;
  const loop = nearestLoop(run.steps, policy);
  if (loop === undefined || !isLooping(run.steps, policy)) {
    run.saidLoop = undefined;
    return;
  }
  const { kind, count, limit, tool } = loop;
  if (run.saidLoop?.kind !== kind) {
    run.saidLoop = { kind, whole: false };
    const named = tool === undefined ? {} : { tool };
    context.emit({ note: 'session.looping', ...fieldsOf(session), kind, count, limit, ...named });
  }
  if (count < limit || policy.action !== 'report' || run.saidLoop.whole) return;
  run.saidLoop.whole = true;
  sayStuck(context, session, run, { reason: 'loop', kind, limit, value: count }, at);
}

/**
 * Reports runs that a program begins right after each other. They are only reported, as a program may have good reason
 * to.
 */
export function sayFastRuns(context: Context, session: Session, count: number): void {
  const { action, maxRuns } = context.policy.loop;
  if (action === 'off' || maxRuns === 0) return;
  const fields = { ...fieldsOf(session), kind: 'runs', limit: maxRuns } as const;
  if (count === Math.ceil(maxRuns / 2)) context.emit({ note: 'session.looping', ...fields, count });
  if (count === maxRuns)
    context.emit({ note: 'session.stuck', ...fields, reason: 'loop', value: count });
}
