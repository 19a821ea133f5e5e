/**
 * The rules about one session: how healthy it is, which limit it has exceeded, and when to ask again.
 *
 * Pure functions of the data in `state.ts`. Every rule of `docs/rules.md` that concerns one session is here.
 */
import type { BudgetKind, BudgetUnit, Health, LoopKind, StuckReason } from '../decision.js';
import { TASK_TOOLS } from '../observation.js';
import type { Policy } from '../policy.js';
import { isHopeless } from './hopeless.js';
import { isLooping, nearestLoop } from './loops.js';
import type { Episode, Request, Run, Session } from './state.js';

/** What the rules about a session need to know from outside of it. */
export interface RuleContext {
  /** A subagent of it is active, at any depth. */
  delegating: boolean;
  /** The event stream is connected and resynced and the server answers: silence means silence. */
  listening: boolean;
  /**
   * There is no event stream, but the server answers: two equal inspections of a transcript prove the silence between
   * them.
   */
  inspecting: boolean;
  /** The first budget that the run has used up. */
  budgetExceeded(run: Run): LimitExceeded | undefined;
  /** How long the server was not responding since then, ms. That time is not the silence of any session. */
  unresponsiveMsSince(since: number): number;
}

export interface LimitExceeded {
  reason: StuckReason;
  /** Of a loop or a budget. */
  kind?: LoopKind | BudgetKind;
  /** Of a budget. */
  unit?: BudgetUnit;
  limit: number;
  value: number;
  tool?: string;
  /** Of a wait: it was reported before, while `waiting.action` was another one. */
  reported?: boolean;
}

/**
 * A session is `stalled` when half of `stall.maxSilence` has passed, so that it can be seen before anything is done
 * about it.
 */
const STALLED_SHARE = 0.5;

export function healthOf(
  run: Run | undefined,
  policy: Policy,
  context: RuleContext,
  at: number,
): Health {
  if (run === undefined) return 'idle';
  if (run.abortFlow !== undefined && !worksAgain(run)) {
    return run.abortFlow.phase === 'wedged' ? 'wedged' : 'stuck';
  }
  if (run.requests.size > 0) return 'waiting';
  if (isRetrying(run)) return 'retrying';
  if (isLooping(run.steps, policy.loop)) return 'looping';
  if (context.delegating) return 'delegating';
  const silence = silenceFrom(run, policy, context);
  if (silence !== undefined && at - silence >= policy.stall.maxSilence * STALLED_SHARE)
    return 'stalled';
  return 'busy';
}

/** In an episode, and not in an attempt that has shown signs of life. */
export function isRetrying(run: Run): boolean {
  return run.episode !== undefined && (run.status === 'retry' || !run.episode.progressed);
}

/**
 * No abort is under way for the run (`left`, `wedged`), and the attempt in flight shows life. The failed attempts before
 * it count no more, unless it fails too: a little text does not end an episode. Until then the run is judged like any
 * other.
 */
export function worksAgain(run: Run): boolean {
  return standsByRetries(run) && run.episode !== undefined && !isRetrying(run);
}

/** A decision for a failing provider stands, and no abort is under way (`left`, `wedged`). */
export function standsByRetries({ abortFlow }: Run): boolean {
  const isStanding = abortFlow?.phase === 'left' || abortFlow?.phase === 'wedged';
  return isStanding && isRetryReason(abortFlow.reason);
}

/** The first limit that the run has exceeded at `at`, the gravest first; undefined if it is within all of them. */
export function judge(
  session: Session,
  run: Run,
  policy: Policy,
  context: RuleContext,
  at: number,
): LimitExceeded | undefined {
  if (session.deleted) return { reason: 'ghost', limit: 0, value: at - run.startedAt };
  const { episode } = run;
  if (episode !== undefined) {
    const exceeded = judgeEpisode(run, episode, policy, context, at);
    if (exceeded !== undefined) return exceeded;
  }
  if (policy.loop.action === 'abort') {
    const loop = nearestLoop(run.steps, policy.loop);
    if (loop !== undefined && loop.count >= loop.limit) {
      const { kind, count, limit, tool } = loop;
      return { reason: 'loop', kind, limit, value: count, ...(tool === undefined ? {} : { tool }) };
    }
  }
  const overBudget = context.budgetExceeded(run);
  if (overBudget !== undefined) return overBudget;
  const { maxRunTime, maxToolTime, maxSilence } = policy.stall;
  const runMs = at - run.startedAt;
  if (maxRunTime > 0 && runMs >= maxRunTime) {
    return { reason: 'run_time', limit: maxRunTime, value: runMs };
  }
  if (run.requests.size > 0) {
    const { maxDuration, action } = policy.waiting;
    const next = nextWaiting(run, policy.waiting);
    if (action !== 'abort' || next === undefined || at < next.dueAt) return undefined;
    const { since, reported } = next.request;
    return { reason: 'waiting', limit: maxDuration, value: at - since, reported };
  }
  const slow = slowestActivity(run, context);
  if (maxToolTime > 0 && slow !== undefined && at - slow.startedAt >= maxToolTime) {
    return { reason: 'tool_time', limit: maxToolTime, value: at - slow.startedAt, tool: slow.tool };
  }
  const silence = silenceFrom(run, policy, context);
  if (silence !== undefined && at - silence >= maxSilence) {
    return { reason: 'silence', limit: maxSilence, value: at - silence };
  }
  return undefined;
}

function judgeEpisode(
  run: Run,
  episode: Episode,
  policy: Policy,
  context: RuleContext,
  at: number,
): LimitExceeded | undefined {
  if (run.status === 'retry') {
    if (isHopeless(episode)) return { reason: 'hopeless', limit: 0, value: episode.attempts };
    const { maxAttempts, maxWait } = policy.retry;
    if (episode.attempts >= maxAttempts) {
      return { reason: 'attempts', limit: maxAttempts, value: episode.attempts };
    }
    // Measured from the moment the wait was announced, not from now: a long wait does not become short by waiting.
    const wait = episode.nextAt === undefined ? 0 : episode.nextAt - run.statusAt;
    if (maxWait > 0 && wait > maxWait && episode.nextAt !== undefined && episode.nextAt > at) {
      return { reason: 'wait', limit: maxWait, value: wait };
    }
  }
  const due = episodeDue(run, episode, policy, context);
  if (due !== undefined && at >= due) {
    const value = at - episode.startedAt - namedMs(episode, at);
    return { reason: 'duration', limit: policy.retry.maxDuration, value };
  }
  return undefined;
}

/**
 * When the episode's age exceeds its limit. An attempt in flight may be the one that works: it is left alone while it
 * makes progress, and for `abort.verifyTimeout` before it has made any. Waits for near times that the provider named do
 * not count for the age: opencode was told to wait.
 */
function episodeDue(
  run: Run,
  episode: Episode,
  policy: Policy,
  context: RuleContext,
): number | undefined {
  if (policy.retry.maxDuration === 0) return undefined;
  if (run.status === 'busy' && episode.progressed) return undefined;
  const named = namedMs(episode, Number.POSITIVE_INFINITY);
  return Math.max(
    episode.startedAt + policy.retry.maxDuration + named,
    sparedUntil(run, policy, context),
  );
}

/** How long the episode has waited, until `at`, for near times that the provider named, ms. */
export function namedMs({ named, namedBeforeMs }: Episode, at: number): number {
  return namedBeforeMs + (named === undefined ? 0 : Math.min(at, named.until) - named.from);
}

/**
 * Until when an attempt in flight that has shown nothing yet is left alone. Without an event stream its silence proves
 * nothing, and there is no such time.
 */
export function sparedUntil(run: Run, policy: Policy, context: RuleContext): number {
  if (run.episode === undefined || run.status === 'retry') return Number.NEGATIVE_INFINITY;
  return context.listening ? run.statusAt + policy.abort.verifyTimeout : Number.POSITIVE_INFINITY;
}

/**
 * When `judge` or `healthOf` may next change its answer without any news; undefined if never. Always after `at`: what
 * is due already was judged, and waits for news or for an inspection.
 */
export function deadlineOf(
  run: Run,
  policy: Policy,
  context: RuleContext,
  at: number,
): number | undefined {
  let deadline: number | undefined;
  const consider = (due: number) => {
    if (Number.isFinite(due) && due > at && (deadline === undefined || due < deadline))
      deadline = due;
  };
  const { maxRunTime, maxToolTime, maxSilence } = policy.stall;
  if (run.episode !== undefined) {
    const due = episodeDue(run, run.episode, policy, context);
    if (due !== undefined) consider(due);
  }
  if (maxRunTime > 0) consider(run.startedAt + maxRunTime);
  if (run.requests.size > 0) {
    const next = nextWaiting(run, policy.waiting);
    if (next !== undefined) consider(next.dueAt);
    return deadline;
  }
  const slow = slowestActivity(run, context);
  if (maxToolTime > 0 && slow !== undefined) consider(slow.startedAt + maxToolTime);
  const silence = silenceFrom(run, policy, context);
  if (silence !== undefined) {
    consider(silence + maxSilence * STALLED_SHARE);
    consider(silence + maxSilence);
  }
  return deadline;
}

/** The request about which `waiting.action` must be done next, and when; undefined if there is none. */
export function nextWaiting(
  run: Run,
  { maxDuration, action }: Policy['waiting'],
): { request: Request; dueAt: number } | undefined {
  if (maxDuration === 0) return undefined;
  let next: { request: Request; dueAt: number } | undefined;
  for (const request of run.requests.values()) {
    if (action === 'report' ? request.reported : request.rejected) continue;
    const dueAt = Math.max(request.since + maxDuration, request.notBefore);
    if (next === undefined || dueAt < next.dueAt) next = { request, dueAt };
  }
  return next;
}

/**
 * Whether a reason is about a failing provider. The evidence for it is the status itself, and an attempt in flight is
 * spared.
 */
export function isRetryReason(reason: StuckReason): boolean {
  return (
    reason === 'attempts' ||
    reason === 'duration' ||
    reason === 'wait' ||
    reason === 'hopeless' ||
    reason === 'pileup'
  );
}

/** Whether a reason rests on not having heard something, and is therefore confirmed by an inspection first. */
export function needsInspection(reason: StuckReason): boolean {
  return reason === 'silence' || reason === 'tool_time' || reason === 'waiting';
}

/**
 * Whether something other than progress is thought to explain the silence. After a cut of the stream this may no longer
 * be true.
 */
export function hasExcuse(run: Run): boolean {
  const { tools, requests, preparing, compactingSince } = run;
  return tools.size > 0 || requests.size > 0 || preparing || compactingSince !== undefined;
}

/**
 * The longest-running activity that explains the silence: a tool that does not delegate, the preparation of a first
 * prompt, a compaction or, without an event stream, an answer under way. Each is bounded by `stall.maxToolTime`. (A
 * tool that delegates is explained by its subagent.)
 */
function slowestActivity(
  run: Run,
  context: RuleContext,
): { tool: string; startedAt: number } | undefined {
  let slow: { tool: string; startedAt: number } | undefined;
  const consider = (tool: string, startedAt: number) => {
    if (slow === undefined || startedAt < slow.startedAt) slow = { tool, startedAt };
  };
  // opencode does this work itself, so it stands still while the server does not respond.
  const considerOwn = (work: string, since: number) =>
    consider(work, since + context.unresponsiveMsSince(since));
  for (const tool of run.tools.values()) {
    // Not every version names the subagent's session on the tool, or names it at once.
    const delegates =
      tool.childID !== undefined || (context.delegating && TASK_TOOLS.has(tool.tool));
    if (!delegates) consider(tool.tool, tool.startedAt);
  }
  // A preparation that a transcript shows after a sign of life was heard (2.x) began with that sign or later.
  if (run.preparing) considerOwn('(preparing)', Math.max(run.startedAt, run.progressAt));
  if (run.compactingSince !== undefined) considerOwn('(compacting)', run.compactingSince);
  // Streamed text is in the transcript only at its end (seen on 1.18.33). Without an event stream it may be coming all
  // the time. While a stream that was lost is being opened again, nothing is judged: it will tell.
  if (context.inspecting && run.answeringSince !== undefined) {
    // Text that was heard before the stream broke shows that the answer was streaming then.
    considerOwn('(answering)', Math.max(run.answeringSince, run.progressAt));
  }
  return slow;
}

/** When unexplained silence began; undefined if something explains it or nobody listened. */
function silenceFrom(run: Run, policy: Policy, context: RuleContext): number | undefined {
  const quiet = quietSince(run, context);
  if (policy.stall.maxSilence === 0 || quiet === undefined || context.delegating) return undefined;
  if (run.requests.size > 0 || slowestActivity(run, context) !== undefined) return undefined;
  // In a retry wait nothing is due before the next attempt: silence until then was announced.
  const announced = run.status === 'retry' ? (run.episode?.nextAt ?? run.statusAt) : 0;
  const attempt = run.episode === undefined ? 0 : run.statusAt;
  const since = Math.max(quiet, announced, attempt);
  return since + context.unresponsiveMsSince(since);
}

/** Since when nothing was heard of the run, as far as that is known; undefined if it is not known. */
function quietSince(run: Run, context: RuleContext): number | undefined {
  if (context.listening) return Math.max(run.progressAt, run.vouchedSince);
  if (!context.inspecting || run.mark === undefined) return undefined;
  return Math.max(run.progressAt, run.mark.since);
}
