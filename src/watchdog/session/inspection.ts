/**
 * Inspections: reading a session's transcript and open requests when events alone do not prove that it is stuck, and
 * what the answer changes in its run.
 */

import type { RunningTool, SessionObservation } from '../observation.js';
import type { Context } from './rule-context.js';
import { type LimitExceeded, needsInspection } from './rules.js';
import type { Run, Session } from './state.js';

/**
 * Tool calls remembered of one run. One answer may call a dozen at once; more of them would show nothing new. At the
 * limit: further calls are not noted, the known ones count as before.
 */
export const MAX_TOOLS = 100;
/** An inspection that failed is tried again after this many ms. */
const INSPECT_AGAIN = 5_000;
/**
 * Failed inspections in a row, of a server that answers otherwise. At the limit: the session is judged by its events
 * alone.
 */
const MAX_INSPECTION_FAILURES = 3;
/** An inspection that was never answered is asked for again after this many ms. */
const INSPECTION_LOST = 60_000;
/** An inspection older than this (ms) proves nothing about now. */
const INSPECTION_FRESH = 10_000;
/**
 * Without an event stream, each run is inspected at this interval: a share of `stall.maxSilence`, and at least this
 * many ms.
 */
const INSPECT_SHARE = 0.25;
const MIN_INSPECT_EVERY = 5_000;

type Found = Extract<
  Extract<SessionObservation, { kind: 'session.inspected' }>['result'],
  { found: true }
>;

export function requestInspection(context: Context, session: Session, run: Run, at: number): void {
  const failures = run.inspection?.state === 'failed' ? run.inspection.failures : 0;
  run.inspection = { state: 'asked', at, failures };
  context.emit({
    act: 'inspect',
    sessionID: session.id,
    directory: run.directory ?? session.info.directory,
  });
}

/** Whether a run may be aborted for this reason. If an inspection must confirm it first, one is requested. */
export function isConfirmed(
  context: Context,
  session: Session,
  run: Run,
  { reason }: Pick<LimitExceeded, 'reason'>,
  listening: boolean,
  at: number,
): boolean {
  if (!needsInspection(reason)) return true;
  // A server that does not work cannot be asked. Once it is healthy, everything is judged again.
  if (!context.canAct()) return false;
  const last = run.inspection;
  if (last?.state === 'answered' && at - last.at <= INSPECTION_FRESH) return true;
  const inspectionFails = last?.state === 'failed' && last.failures >= MAX_INSPECTION_FAILURES;
  // Without an event stream, an inspection is the only proof.
  if (inspectionFails && listening && context.isAnswering()) return true;
  const waitMs = last?.state === 'asked' ? INSPECTION_LOST : INSPECT_AGAIN;
  if (last === undefined || last.state === 'answered' || at - last.at >= waitMs) {
    requestInspection(context, session, run, at);
  }
  context.wakeAt(Math.max((run.inspection?.at ?? at) + waitMs, at + 1), session);
  return false;
}

/**
 * Without an event stream nothing else shows what a run does. So it is inspected at intervals: signs of life are seen,
 * and tools and requests that have ended no longer explain its silence.
 */
export function inspectRegularly(context: Context, session: Session, run: Run, at: number): void {
  const { maxSilence } = context.policy.stall;
  if (maxSilence === 0 || !context.canAct()) return;
  const last = run.inspection;
  const every = Math.max(MIN_INSPECT_EVERY, maxSilence * INSPECT_SHARE);
  const waitMs =
    last?.state === 'asked' ? INSPECTION_LOST : last?.state === 'failed' ? INSPECT_AGAIN : every;
  if (last === undefined || at - last.at >= waitMs) {
    requestInspection(context, session, run, at);
    context.wakeAt(at + INSPECTION_LOST, session);
  } else context.wakeAt(last.at + waitMs, session);
}

export function inspectionFailed(run: Run, at: number): void {
  if (run.inspection === undefined) return;
  run.inspection = { state: 'failed', at, failures: run.inspection.failures + 1 };
}

/**
 * Takes in the transcript as it was between `startedAt` and `at`. Its requests are the task of `requests.ts`.
 * @param listening the event stream is connected and resynced
 */
export function inspectionAnswered(
  run: Run,
  found: Found,
  startedAt: number,
  listening: boolean,
  at: number,
): void {
  run.inspection = { state: 'answered', at, failures: 0 };
  run.model = found.model ?? run.model;
  compareMark(run, found, startedAt, listening, at);
  const present = new Map(found.tools.map((tool) => [tool.callID, tool]));
  for (const tool of run.tools.values()) {
    if (tool.startedAt <= startedAt && !present.has(tool.callID)) run.tools.delete(tool.callID);
  }
  // Its end was missed. A compaction that was heard of since then is newer.
  if (!found.compacting && run.compactingSince !== undefined && run.compactingSince <= startedAt)
    run.compactingSince = undefined;
  // What was heard since then is newer than the rest of the inspection.
  if (run.progressAt > startedAt) return;
  for (const tool of present.values()) noteTool(run, tool);
  // A prompt that waits behind an answer under way is also the last message, but nothing is being prepared for it.
  run.preparing = found.preparing && run.askedMessageID === undefined;
  run.compactingSince = found.compacting ? (run.compactingSince ?? at) : undefined;
  run.answeringSince = found.answeringSince;
}

/**
 * A tool runs. Its start may have been moved forward by the time that a person took to answer, and it is never moved
 * back. A tool that was not known yet may be the one that the last request was about, so its time counts from that
 * answer at the earliest. Its request may also have been asked and answered while nobody listened: a tool counts from
 * no time before everything of its run was heard.
 */
export function noteTool(run: Run, tool: RunningTool): void {
  const known = run.tools.get(tool.callID);
  // As long as any tool runs, the run is at work, and the limit applies to the known tool that has run longest.
  if (known === undefined && run.tools.size >= MAX_TOOLS) return;
  const earliest = known?.startedAt ?? Math.max(run.vouchedSince, run.answeredAt);
  run.tools.set(tool.callID, { ...tool, startedAt: Math.max(earliest, tool.startedAt) });
}

/**
 * A transcript that has not changed since an earlier inspection proves silence in between, even if nobody listened,
 * unless an answer was under way. A transcript that has changed while somebody listened and heard nothing proves life.
 */
function compareMark(
  run: Run,
  found: Found,
  startedAt: number,
  listening: boolean,
  at: number,
): void {
  if (run.progressAt > startedAt) return;
  const { mark } = run;
  const value = found.mark;
  const heardSince = mark !== undefined && run.progressAt > mark.since;
  if (mark !== undefined && !heardSince) {
    if (mark.value === value) {
      if (found.answeringSince === undefined) {
        run.vouchedSince = Math.min(run.vouchedSince, mark.since);
      }
      return;
    }
    if (mark.since >= run.vouchedSince) run.progressAt = startedAt;
  }
  // If somebody listened and heard nothing, the transcript was the same all that time.
  const since = listening ? Math.max(run.progressAt, run.vouchedSince) : at;
  run.mark = { value, since };
}
