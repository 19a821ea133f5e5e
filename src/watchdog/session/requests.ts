/** Permissions and questions: which ones a run waits for, for how long, and what is done if nobody answers. */

import type { PendingRequest } from '../observation.js';
import { sayStuck } from './abort-flow.js';
import type { Context } from './rule-context.js';
import { type LimitExceeded, oldestUnhandled } from './rules.js';
import { fieldsOf, type Run, type Session } from './state.js';

/**
 * Open permissions and questions of one run. At the limit: further ones are not noted; an inspection finds them once
 * the known ones are answered.
 */
export const MAX_REQUESTS = 100;

/** Returns true if the request is new and was noted. `heard`: it was asked just now; otherwise it may be much older. */
export function requestAsked(
  context: Context,
  session: Session,
  run: Run,
  request: PendingRequest,
  heard: boolean,
  at: number,
): boolean {
  if (run.requests.has(request.requestID) || run.requests.size >= MAX_REQUESTS) return false;
  run.requests.set(request.requestID, { ...request, since: at, heard, handled: undefined });
  run.preparing = false;
  context.emit({
    note: 'session.waiting',
    ...fieldsOf(session),
    on: request.on,
    requestID: request.requestID,
  });
  return true;
}

/** A request was answered, perhaps one that we did not hear being asked. */
export function requestAnswered(
  context: Context,
  session: Session,
  run: Run,
  requestID: string,
  at: number,
): void {
  const request = run.requests.get(requestID);
  run.requests.delete(requestID);
  run.answeredAt = at;
  // opencode starts a tool's clock before it asks. The time that a person took does not count for the tool.
  const waited = request?.heard ? at - request.since : Number.POSITIVE_INFINITY;
  for (const [id, tool] of run.tools) {
    run.tools.set(id, { ...tool, startedAt: Math.min(at, tool.startedAt + waited) });
  }
  if (request === undefined) return;
  context.emit({
    note: 'session.answered',
    ...fieldsOf(session),
    on: request.on,
    requestID,
    by: request.handled === 'rejected' ? 'watchdog' : 'person',
    forMs: at - request.since,
  });
}

/**
 * Carries out the actions `report` and `reject` of `waiting.action`, once for each request. (`abort` is decided like
 * any other abort.)
 */
export function answerForPeople(context: Context, session: Session, run: Run, at: number): void {
  const { maxDuration, action } = context.policy.waiting;
  if (maxDuration === 0 || action === 'abort') return;
  for (;;) {
    const request = oldestUnhandled(run);
    if (request === undefined || at - request.since < maxDuration) return;
    // A server that does not work cannot be told. Once it is healthy, this is decided again.
    if (action === 'reject' && !context.canAct()) return;
    request.handled = action === 'reject' ? 'rejected' : 'reported';
    const value = at - request.since;
    const exceeded: LimitExceeded = { reason: 'waiting', limit: maxDuration, value };
    sayStuck(context, session, run, exceeded, at);
    if (action === 'reject') {
      context.emit({
        act: 'reject',
        sessionID: session.id,
        directory: run.directory ?? session.info.directory,
        request: { requestID: request.requestID, on: request.on },
      });
    }
  }
}
