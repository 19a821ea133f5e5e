/** Permissions and questions: which ones a run waits for, for how long, and what is done if nobody answers. */

import type { ActObservation, PendingRequest } from '../observation.js';
import { sayStuck } from './abort-flow.js';
import { requestInspection } from './inspection.js';
import type { Context } from './rule-context.js';
import { nextWaiting } from './rules.js';
import { fieldsOf, type Run, type Session } from './state.js';

/**
 * Open permissions and questions of one run. At the limit: further ones are not noted; an inspection finds them once
 * the known ones are answered.
 */
export const MAX_REQUESTS = 100;
/**
 * A rejection that failed is tried again after this many ms. Meanwhile an inspection shows whether it is still wanted.
 */
const REJECT_AGAIN_MS = 30_000;

const UNTOUCHED = { reported: false, rejected: false, notBefore: 0 } as const;

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
  run.requests.set(request.requestID, { ...request, since: at, heard, ...UNTOUCHED });
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
  const overdue = [...run.requests.values()].filter(({ reported }) => reported).length;
  context.emit({
    note: 'session.answered',
    ...fieldsOf(session),
    on: request.on,
    requestID,
    by: request.rejected ? 'watchdog' : 'person',
    forMs: at - request.since,
    ...(overdue > 0 && { overdue }),
  });
}

/**
 * Carries out the actions `report` and `reject` of `waiting.action`, once for each request. (`abort` is decided like
 * any other abort.)
 */
export function answerForPeople(context: Context, session: Session, run: Run, at: number): void {
  const { maxDuration, action } = context.policy.waiting;
  if (action === 'abort') return;
  for (;;) {
    const next = nextWaiting(run, context.policy.waiting);
    if (next === undefined || at < next.dueAt) return;
    // A server that does not work cannot be told. Once it is healthy, this is decided again.
    if (action === 'reject' && !context.canAct()) return;
    const { request } = next;
    if (!request.reported) {
      request.reported = true;
      const value = at - request.since;
      sayStuck(context, session, run, { reason: 'waiting', limit: maxDuration, value }, at);
    }
    if (action === 'reject') {
      request.rejected = true;
      context.emit({
        act: 'reject',
        sessionID: session.id,
        directory: run.directory ?? session.info.directory,
        request: { requestID: request.requestID, on: request.on },
      });
    }
  }
}

/** The executor reports that it has not rejected a request. */
export function notRejected(
  context: Context,
  session: Session,
  run: Run,
  o: Extract<ActObservation, { kind: 'reject.failed' | 'reject.skipped' }>,
): void {
  const request = run.requests.get(o.requestID);
  if (request === undefined) return;
  request.rejected = false;
  if (o.kind === 'reject.skipped') {
    request.notBefore = Number.POSITIVE_INFINITY;
    return;
  }
  request.notBefore = o.at + REJECT_AGAIN_MS;
  // Perhaps a person was quicker.
  requestInspection(context, session, run, o.at);
}

/** What `dryRun` or a pause left undone may be done now. */
export function takeUpRequests(run: Run): void {
  for (const request of run.requests.values()) request.notBefore = 0;
}
