/**
 * The sessions' side of the state machine: what each observation changes, in one session or in all.
 *
 * How a run begins, is judged and ends is in `runs.ts`, what is done about a stuck one in `abort-flow.ts`, inspections
 * are in `inspection.ts`, people's answers in `requests.ts`.
 */

import { ClockGaps } from '../clock-gaps.js';
import type { Interrupted, RestartReason } from '../decision.js';
import { DISPOSE_HEARD_WITHIN } from '../group/cuts-elsewhere.js';
import type { Disposed } from '../group/disposal.js';
import { Pileups } from '../group/pileup.js';
import type {
  ActObservation,
  FinishedStep,
  Observation,
  RunningTool,
  SessionInfo,
  SessionObservation,
  Spent,
} from '../observation.js';
import { abortEnded, episodeEnded, episodeUnheard } from './abort-flow.js';
import { Crashes, type Cut, isUnwanted } from './crashes.js';
import { inspectionAnswered, inspectionFailed, noteTool, requestInspection } from './inspection.js';
import { LeftContinuations } from './left-continuations.js';
import { compacted, countAnew, stepFinished } from './loops.js';
import { abortRequested, answerPerson } from './manual-abort.js';
import { Parking } from './parking.js';
import { continueAfterAbort, continued } from './recovery.js';
import type { SessionRegistry } from './registry.js';
import { notRejected, requestAnswered, requestAsked } from './requests.js';
import type { Context } from './rule-context.js';
import { hasExcuse, isRetrying } from './rules.js';
import { disposedUnder, errorHeard, noteStep, runEnded, settleEnd, wasAborted } from './run-end.js';
import { Runs } from './runs.js';
import { fieldsOf, heardFrom, type Run, type Session } from './state.js';

/** Ends of the server that nobody ordered. One of the runs may have brought it down. */
const CRASHES: ReadonlySet<RestartReason> = new Set(['exited', 'unresponsive']);
/** Shortest time between two reports that there is no room for more sessions, ms. */
const SAY_FULL_EVERY = 60_000;
/** After a reconnect, a run that was quiet for this share of `stall.maxSilence` is inspected. */
const QUIET_SHARE = 0.25;

/**
 * Prompts of one session that are recognised when they come again. opencode sends the last few again and again. At the
 * limit: the oldest is forgotten, and counts as new if it is sent again.
 */
const MAX_KNOWN_PROMPTS = 50;

type OfOneSession = Exclude<
  SessionObservation | ActObservation,
  { kind: 'status.polled' | 'directory.disposed' }
>;

export class SessionWatch {
  readonly registry: SessionRegistry;
  readonly pileups: Pileups;
  readonly parking: Parking;
  readonly crashes: Crashes;
  readonly left: LeftContinuations;
  readonly #gaps = new ClockGaps();
  readonly #context: Context;
  readonly #runs: Runs;
  #saidFullAt = Number.NEGATIVE_INFINITY;

  constructor(context: Context) {
    this.#context = context;
    this.#runs = new Runs(context);
    this.registry = this.#runs.registry;
    this.parking = new Parking(context, this.registry);
    this.crashes = new Crashes(context, this.registry);
    this.left = new LeftContinuations(context);
    this.pileups = new Pileups(context, this.#runs);
  }

  /**
   * Text is most of the traffic. For a run that is busy and nothing else, it changes one number only. Returns false if
   * there is more to do.
   */
  plainProgress(sessionID: string, at: number): boolean {
    const session = this.registry.find(sessionID);
    const run = session?.run;
    if (run === undefined || session?.health !== 'busy') return false;
    if (run.episode || run.preparing || run.error) return false;
    heardFrom(run, at);
    return true;
  }

  streamLost(): void {
    this.#runs.stopListening();
  }

  /** There is no event stream, but the server answers. From here on runs are judged by inspections. */
  streamUnavailable(at: number): void {
    this.#runs.inspectInstead();
    this.reviewAll(at);
  }

  /**
   * The stream is back. A session's silence counts from now, unless its transcript proves that nothing was missed. What
   * explained a silence may have ended meanwhile, so such runs are inspected.
   */
  resynced(at: number): void {
    this.#runs.listen(at);
    const { maxSilence } = this.#context.policy.stall;
    for (const session of [...this.registry.active]) {
      const { run } = session;
      if (run === undefined) continue;
      const quiet = maxSilence > 0 && at - run.progressAt > maxSilence * QUIET_SHARE;
      // An inspection from before the reconnect does not show what happened between the two.
      if (quiet || run.unheard || hasExcuse(run))
        requestInspection(this.#context, session, run, at);
      run.unheard = false;
      run.vouchedSince = at;
      this.#runs.review(session, at);
    }
  }

  /** The server answers again. The silence meanwhile was the server's, not the sessions'. */
  serverBack(at: number): void {
    for (const session of [...this.registry.active]) {
      if (session.run) session.run.vouchedSince = at;
      this.#runs.review(session, at);
    }
  }

  /** A reload. `adopt` puts the new policy in force. */
  policyChanges(adopt: () => void, at: number): void {
    this.#runs.policyChanges(adopt, at);
  }

  /** Aborts that `dryRun` or a pause left undone are wanted again, if they are still due. */
  takeUpLeft(at: number): void {
    for (const session of this.registry.active) this.#runs.takeUpLeft(session, at);
  }

  /** A person wants the session aborted, whatever it does, even if it is not known to run. */
  abortRequested({ sessionID, by, at }: Extract<Observation, { kind: 'abort.requested' }>): void {
    const session = this.#enter(sessionID, at);
    if (session !== undefined) {
      this.parking.usedBy(sessionID, 'let_go');
      this.crashes.abortRequested(sessionID);
      this.left.usedBy(sessionID);
      session.told = undefined;
      abortRequested(this.#context, session, by, at);
    } else {
      const error = `${this.registry.active.size} sessions are active, more than can be watched`;
      this.#context.emit({
        note: 'act.done',
        act: 'abort',
        by,
        sessionID,
        outcome: 'failed',
        error,
      });
    }
  }

  dayBegan(o: Extract<Observation, { kind: 'budget.day' }>): void {
    this.#runs.spending.dayBegan(o);
    this.reviewAll(o.at);
  }

  /** What the whole server has spent since midnight. */
  get spentToday(): Readonly<Spent> {
    return this.#runs.spending.day;
  }

  get spentTotals(): ReadonlyMap<string, Spent> {
    return this.#runs.spending.totals;
  }

  review(session: Session, at: number): void {
    this.#runs.review(session, at);
  }

  reviewAll(at: number): void {
    for (const session of [...this.registry.active]) this.#runs.review(session, at);
  }

  polled(o: Extract<SessionObservation, { kind: 'status.polled' }>): void {
    for (const [id, status] of o.statuses) {
      if (status.type === 'unknown' || this.registry.isGoneSince(id, o.startedAt)) continue;
      const session = this.#enter(id, o.at);
      if (session === undefined) continue;
      // An event that came after the poll was sent is newer.
      if (session.eventStatusAt > o.startedAt) continue;
      const known = session.run;
      // Without an event stream, a busy session may have recovered without our hearing it.
      if (status.type === 'busy' && !this.#runs.listening && known) {
        episodeUnheard(this.#context, session, known, o.at);
      }
      this.#runs.status(session, status, o.directory, o.at);
      // Its beginning was not seen. Tools may already be running, and people may already have been asked.
      if (known === undefined && session.run)
        requestInspection(this.#context, session, session.run, o.at);
      this.#runs.review(session, o.at);
    }
    for (const session of [...this.registry.active]) {
      const { run } = session;
      if (run === undefined || o.statuses.has(session.id)) continue;
      if (o.directory !== undefined && run.directory !== o.directory) continue;
      if (session.eventStatusAt > o.startedAt || run.startedAt > o.startedAt) continue;
      this.#runs.end(session, o.at);
    }
  }

  disposed(directory: string, by: 'dispose' | 'restart', at: number): void {
    this.#context.cuts.disposed(directory, at);
    for (const { session, run } of this.#disposedRuns(directory, by, at)) {
      disposedUnder(this.#context, session, run, by);
      this.#runs.end(session, at);
    }
  }

  /** The sessions whose runs a dispose of this directory has ended. */
  disposedIn(directory: string, at: number): string[] {
    return this.#disposedRuns(directory, 'dispose', at).map(({ session }) => session.id);
  }

  /**
   * The event comes late: a run that has just begun may have begun after the dispose. The next poll tells whether it
   * goes on.
   */
  #disposedRuns(directory: string, by: 'dispose' | 'restart', at: number) {
    return [...this.registry.active].flatMap((session) => {
      const { run } = session;
      if (run?.directory !== directory) return [];
      const mayBeNew = by === 'dispose' && at - run.startedAt <= DISPOSE_HEARD_WITHIN;
      return mayBeNew ? [] : [{ session, run }];
    });
  }

  /** A dispose by the watchdog has ended these runs. The stream may have reported some of that already. */
  disposedByUs({ directory, wedged, others }: Disposed, at: number): void {
    this.#context.cuts.disposed(directory, at);
    for (const { session, run } of wedged) {
      run.endedBy = 'watchdog';
      if (session.run === run) this.#runs.end(session, at);
      if (run.endedFor !== undefined && run.endedFor !== 'manual') {
        continueAfterAbort(this.#context, session, run, run.endedFor, at);
      }
    }
    const cut = others.filter(({ session, run }) => session.run === run || wasAborted(run));
    for (const { session, run } of cut) {
      if (session.run !== run) continue;
      disposedUnder(this.#context, session, run, 'dispose');
      this.#runs.end(session, at);
    }
    this.crashes.disposed(cut, at);
  }

  observe(o: OfOneSession): void {
    // opencode reports an error at the end of a deleted session's run (1.18.33). That is no failure.
    if (o.kind === 'session.error' && this.registry.isGone(o.sessionID)) return;
    const session = this.#enter(o.sessionID, o.at);
    if (session === undefined) return;
    const { run } = session;
    const context = this.#context;
    switch (o.kind) {
      case 'session.info':
        this.#learn(session, o.info, o.askedAt ?? o.at, o.at);
        this.#runs.reviewParent(session, o.at);
        break;
      case 'session.status': {
        // An idle status for a directory other than the run's is no evidence (facts, section 6).
        const elsewhere = run?.directory !== undefined && o.directory !== run.directory;
        if (o.status.type === 'idle' && o.directory !== undefined && elsewhere) return;
        session.eventStatusAt = o.at;
        this.#runs.status(session, o.status, o.directory, o.at);
        break;
      }
      case 'session.prompted':
        if (isKnownPrompt(session, o.messageID)) return;
        this.parking.usedBy(session.id, 'superseded');
        this.crashes.prompted(session.id);
        this.left.usedBy(session.id);
        session.lastPrompt = {
          messageID: o.messageID,
          at: o.at,
          model: o.model,
          agent: o.agent,
          taken: false,
          parks: o.parks === true,
        };
        if (session.continuing !== undefined) session.continuing = 'prompted';
        session.lastAbort = undefined;
        session.lastFailure = undefined;
        break;
      case 'session.asking_model':
        if (session.lastPrompt) session.lastPrompt.taken = true;
        if (run) this.#asksModel(session, run, o);
        break;
      case 'session.progress':
        if (run) this.#runs.progressed(session, run, o.at);
        break;
      case 'session.text_sampled':
        if (run) run.steps.textRepeats = o.textRepeats;
        break;
      case 'session.step_finished':
        this.parking.worked(session.id);
        this.crashes.worked(session.id, o.at);
        session.failedOn.clear();
        if (run?.model !== undefined) context.failover.worked(run.model);
        if (run === undefined) {
          // The poll that showed the end was faster than the stream.
          if (session.runEnd) noteStep(session.runEnd.run, o.step);
          break;
        }
        noteStep(run, o.step);
        context.outages.stepFinished(run, o.at);
        if (o.step) this.#stepFinished(session, run, o.step, o.at);
        episodeEnded(context, session, run, o.at);
        this.#runs.progressed(session, run, o.at);
        break;
      case 'tool.running':
        if (run === undefined) break;
        if (!run.tools.has(o.tool.callID)) this.#runs.progressed(session, run, o.at);
        noteTool(run, this.#placed(o.tool));
        this.#adopt(session, o.tool, o.at);
        break;
      case 'tool.ended':
        if (run === undefined) break;
        run.tools.delete(o.callID);
        run.totals.toolsEnded += 1;
        this.#runs.progressed(session, run, o.at);
        break;
      case 'request.asked':
        if (run === undefined) break;
        if (requestAsked(context, session, run, o.request, this.#runs.listening, o.at)) {
          this.#runs.reconsider(session, run, o.at);
        }
        break;
      case 'request.answered':
        if (run === undefined) break;
        requestAnswered(context, session, run, o.requestID, o.at);
        this.#runs.progressed(session, run, o.at);
        break;
      case 'session.spoken_to':
        if (session.spokenMessageID === o.messageID) return;
        session.spokenMessageID = o.messageID;
        if (run) countAnew(run.steps);
        break;
      case 'session.compacting':
        if (o.auto === false) session.manualCompaction = true;
        if (run) run.compactingSince ??= o.at;
        break;
      case 'session.compacted':
        if (run && !session.manualCompaction) compacted(run.steps);
        session.manualCompaction = false;
        if (run === undefined) break;
        run.compactingSince = undefined;
        this.#runs.progressed(session, run, o.at);
        break;
      case 'session.error':
        errorHeard(context, session, o);
        break;
      case 'session.deleted':
        session.deleted = true;
        this.parking.usedBy(session.id, 'let_go');
        break;
      case 'session.inspected':
        this.#inspected(session, o);
        break;
      case 'session.inspect_failed':
        if (run) inspectionFailed(run, o.at);
        break;
      case 'continue.done':
      case 'continue.failed':
        session.continuing = undefined;
        session.told = undefined;
        if (!this.crashes.continued(o)) continued(context, session, o);
        this.parking.continued(o);
        break;
      case 'continue.skipped':
        session.continuing = undefined;
        this.crashes.continued(o);
        this.parking.continued(o);
        this.left.skipped(session);
        session.told = undefined;
        break;
      case 'reject.failed':
      case 'reject.skipped':
        if (run) notRejected(context, session, run, o);
        break;
      default:
        if (abortEnded(context, session, o)) this.#runs.end(session, o.at);
        else settleEnd(context, session, o.at);
        if (o.kind === 'abort.withdrawn' && o.seen === 'missing' && session.run === undefined) {
          this.registry.forget(session);
          return;
        }
    }
    if (session.deleted && session.run === undefined) this.#runs.forgetDeleted(session);
    else this.#runs.review(session, o.at);
  }

  /** What a restart of the server would cut now. */
  interrupted(): Interrupted[] {
    return [...this.registry.active].map((session) => ({
      ...fieldsOf(session),
      health: session.health,
    }));
  }

  /** The server process is gone, and every run with it. */
  cut(interrupted: readonly Interrupted[], restartReason: RestartReason, at: number): void {
    const healths = new Map(interrupted.map(({ sessionID, health }) => [sessionID, health]));
    const cut: Cut[] = [];
    /** Sessions that a person was having aborted. The end of the server does that, so they do not go on. */
    const unwanted = new Set<Session>();
    for (const each of interrupted) {
      this.#context.emit({ note: 'session.interrupted', by: 'restart', restartReason, ...each });
    }
    for (const session of [...this.registry.active]) {
      const { run } = session;
      const isPiled = restartReason === 'pileup' && this.pileups.isEnded(session.id);
      if (isPiled && run && isRetrying(run)) {
        this.#context.outages.endedBadly(session.id, run, at);
      }
      const health = healths.get(session.id) ?? session.health;
      if (run) cut.push({ session, run, health, at });
      if (isUnwanted(session)) unwanted.add(session);
      // An abort that a person asked for is answered when the abort itself ends.
      if (session.aborting?.reason !== 'manual') {
        session.aborting = undefined;
        answerPerson(this.#context, session, { outcome: 'idle' });
      }
      session.lastAbort = undefined;
      if (run) {
        run.endedBy = 'restart';
        runEnded(this.#context, session, run, undefined, at);
      }
      this.#runs.close(session, at);
    }
    this.streamLost();
    const wanted = cut.filter(({ session }) => !unwanted.has(session));
    this.crashes.cut(cut, wanted, CRASHES.has(restartReason), at);
  }

  /** The daemon did not run for `ms`, until now. */
  gap(at: number, ms: number): void {
    this.#gaps.note(at, ms);
    this.parking.gap(ms);
  }

  /**
   * Finds the session, or adds it. If there is no room, that is reported, and the session is watched with the next poll
   * or event for which there is room.
   */
  #enter(sessionID: string, at: number): Session | undefined {
    const session = this.registry.enter(sessionID, at);
    if (session === undefined && at - this.#saidFullAt >= SAY_FULL_EVERY) {
      this.#saidFullAt = at;
      this.#context.emit({
        note: 'session.unwatched',
        sessionID,
        watched: this.registry.active.size,
      });
    }
    return session;
  }

  /** The tool, with its start corrected to the observed clock. */
  #placed(tool: RunningTool): RunningTool {
    return { ...tool, startedAt: this.#gaps.correct(tool.startedAt) };
  }

  /** The tool's subagent belongs to this session, even if nothing else said so. */
  #adopt(parent: Session, tool: RunningTool, at: number): void {
    if (tool.childID === undefined) return;
    const child = this.#enter(tool.childID, at);
    if (child && child.info.parentID === undefined)
      this.registry.learn(child, { parentID: parent.id });
  }

  #learn(
    session: Session,
    { spent, ageMs, ...info }: SessionInfo,
    askedAt: number,
    at: number,
  ): void {
    this.registry.learn(session, info);
    // The polls of OpenCode 2 are for the whole server. A run that one of them found is in no directory until now.
    if (session.run) session.run.directory ??= info.directory;
    if (spent === undefined) return;
    this.#runs.spending.totalHeard(session, spent, ageMs, askedAt, at);
    this.#runs.reviewAncestors(session, at);
  }

  #stepFinished(session: Session, run: Run, step: FinishedStep, at: number): void {
    stepFinished(run.steps, step);
    this.#runs.spending.stepFinished(session, step);
    this.#runs.reviewAncestors(session, at);
  }

  #asksModel(
    session: Session,
    run: Run,
    o: Extract<SessionObservation, { kind: 'session.asking_model' }>,
  ): void {
    run.model = o.model ?? run.model;
    run.agent = o.agent ?? run.agent;
    run.preparing = false;
    // A new message is a sign of life; the repetition of a known one is not.
    if (run.askedMessageID !== o.messageID) this.#runs.alive(session, run, o.at);
    run.askedMessageID = o.messageID;
    run.askedBeforeGap = false;
  }

  #inspected(
    session: Session,
    o: Extract<SessionObservation, { kind: 'session.inspected' }>,
  ): void {
    const { result } = o;
    if (!result.found) {
      session.deleted = true;
      return;
    }
    this.#learn(session, result.info, o.startedAt, o.at);
    this.#runs.reviewParent(session, o.at);
    const { run } = session;
    // What was read before this run began is about the run before it.
    if (run === undefined || run.startedAt > o.startedAt) return;
    const tools = result.tools.map((tool) => this.#placed(tool));
    const markBefore = run.mark?.value;
    inspectionAnswered(run, { ...result, tools }, o.startedAt, this.#runs.listening, o.at);
    for (const tool of result.tools) this.#adopt(session, tool, o.at);
    const pending = new Set(result.requests.map((request) => request.requestID));
    const current = run.answeredAt <= o.startedAt ? result.requests : [];
    for (const request of current) {
      requestAsked(this.#context, session, run, request, false, o.at);
    }
    for (const { requestID, since } of [...run.requests.values()]) {
      if (since > o.startedAt || pending.has(requestID)) continue;
      requestAnswered(this.#context, session, run, requestID, o.at);
      this.#runs.progressed(session, run, o.at);
    }
    this.#runs.inspected(session, run, result.mark !== markBefore, o.at);
  }
}

/**
 * opencode sends a prompt's message again after each step, and after a compaction also the earlier ones (seen on
 * 1.18.33).
 */
function isKnownPrompt({ knownPrompts }: Session, messageID: string): boolean {
  if (knownPrompts.includes(messageID)) return true;
  knownPrompts.push(messageID);
  if (knownPrompts.length > MAX_KNOWN_PROMPTS) knownPrompts.shift();
  return false;
}
