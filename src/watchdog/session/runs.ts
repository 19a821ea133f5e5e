/**
 * Every session's run, from its beginning to its end: a status begins and ends it, it is judged whenever something may
 * have changed, and it is given up when the server goes.
 *
 * The rules are in `rules.ts`, what is done about a stuck run in `abort-flow.ts`, and how a run ended in `run-end.ts`.
 */

import type { SessionStatus } from '../observation.js';
import {
  abortIfPossible,
  abortWasLost,
  declareStuck,
  episodeEnded,
  runFollows,
  takeBack,
} from './abort-flow.js';
import { Spending } from './budget.js';
import { namedWait } from './hopeless.js';
import { inspectRegularly, isConfirmed } from './inspection.js';
import { sayFastRuns, sayLoop } from './loop-report.js';
import { countAnew, runBegan } from './loops.js';
import { SessionRegistry } from './registry.js';
import { answerForPeople, takeUpRequests } from './requests.js';
import type { Context } from './rule-context.js';
import {
  deadlineOf,
  hasExcuse,
  healthOf,
  judge,
  namedMs,
  needsInspection,
  type RuleContext,
  sparedUntil,
  standsByRetries,
  worksAgain,
} from './rules.js';
import { runEnded, settleEnd } from './run-end.js';
import {
  type Episode,
  fieldsOf,
  heardFrom,
  newRun,
  type Run,
  runFields,
  type Session,
  silenceOf,
} from './state.js';

type Retrying = Extract<SessionStatus, { type: 'retry' }>;

/**
 * The end of a wait may be misread by this much (ms): how far the server's clock is ahead is known from dates in whole
 * seconds.
 */
const MAX_MISREAD_MS = 1_000;

export class Runs {
  readonly registry = new SessionRegistry();
  readonly spending: Spending;
  readonly #context: Context;
  /** Since when the event stream is connected and resynced; undefined while it is not. */
  #listeningSince: number | undefined;
  /** There is no event stream: runs are judged by inspections. */
  #inspecting = false;

  constructor(context: Context) {
    this.#context = context;
    this.spending = new Spending(context, this.registry);
  }

  get listening(): boolean {
    return this.#listeningSince !== undefined;
  }
  listen(at: number): void {
    this.#listeningSince ??= at;
    this.#inspecting = false;
  }
  stopListening(): void {
    for (const { run } of this.registry.active) {
      if (run === undefined) continue;
      run.missed = true;
      run.askedBeforeGap = true;
      countAnew(run.steps);
    }
    this.#listeningSince = undefined;
    this.#inspecting = false;
  }
  inspectInstead(): void {
    this.#inspecting = this.#listeningSince === undefined;
  }

  /** Takes in the status of a session, as reported for this directory. */
  status(session: Session, status: SessionStatus, directory: string | undefined, at: number): void {
    if (status.type === 'unknown') return;
    if (status.type === 'idle') {
      this.end(session, at);
      return;
    }
    const run = session.run ?? this.#beginRun(session, directory, at);
    // A run stays in the directory where it began. A status tagged with another directory does not change that.
    run.directory ??= directory;
    if (status.type === 'busy') {
      if (run.status !== 'busy') run.statusAt = at;
      run.status = 'busy';
      return;
    }
    // opencode counts from 1 for each step. A lower count means that the step finished without our hearing it.
    if (status.attempt < (run.episode?.attempts ?? 0)) {
      episodeEnded(this.#context, session, run, at);
    }
    const { episode } = run;
    const repeated =
      run.status === 'retry' &&
      episode?.attempts === status.attempt &&
      !isNextWait(status, episode, at);
    if (!repeated) run.statusAt = at;
    run.status = 'retry';
    run.preparing = false;
    const nextAt = nextAttempt(status, repeated ? episode : undefined, at);
    const { named, backAt } = this.#named(run, status, nextAt);
    run.episode = {
      startedAt: episode?.startedAt ?? at,
      attempts: status.attempt,
      message: status.message,
      nextAt,
      needsPerson: status.needsPerson ?? false,
      named,
      backAt,
      namedBeforeMs:
        episode === undefined ? 0 : repeated ? episode.namedBeforeMs : namedMs(episode, at),
      holds: episode?.holds ?? 0,
      progressed: false,
    };
    abortWasLost(this.#context, session, run, this.#listeningSince, at);
    this.#context.outages.retrying(session.id, run, at);
  }

  /**
   * The announced wait, if the provider named its end. `backAt`: when the provider is back; `named`: the wait itself,
   * if it is not longer than `retry.maxWait`.
   */
  #named(
    run: Run,
    { attempt, message }: Retrying,
    nextAt: number | undefined,
  ): { backAt?: number; named?: NonNullable<Episode['named']> } {
    const { maxWait } = this.#context.policy.retry;
    const from = run.statusAt;
    // A poll reports only what is left of the wait.
    const waitMs = nextAt === undefined ? undefined : nextAt - from;
    const before = run.episode?.named !== undefined || (run.episode?.namedBeforeMs ?? 0) > 0;
    const wait = namedWait(attempt, message, waitMs, before);
    if (wait === undefined) return {};
    const backAt = from + wait;
    if (maxWait > 0 && wait > maxWait) return { backAt };
    return { backAt, named: { from, until: from + (waitMs ?? wait) } };
  }

  /** The session is idle. */
  end(session: Session, at: number): void {
    const { run } = session;
    if (run === undefined) return;
    const parent = this.registry.activeParent(session);
    runEnded(this.#context, session, run, parent, at);
    this.close(session, at);
    // The end of a subagent is a sign of life of its parent: from here on the parent must go on.
    if (parent?.run) this.alive(parent, parent.run, at);
    if (parent) this.review(parent, at);
  }

  /** The run is over. How it ended is not reported here. */
  close(session: Session, at: number): void {
    const { run } = session;
    this.registry.deactivate(session);
    if (run) {
      session.runStarts.lastEndedAt = at;
      this.#context.runOver(session.id, at);
    }
    session.run = undefined;
    this.#sayHealth(session, at, run);
    if (session.deleted) this.forgetDeleted(session);
  }

  forgetDeleted(session: Session): void {
    // The end of an abort under way has yet to be reported.
    if (session.aborting === undefined) this.registry.forget(session);
  }

  /**
   * Judges one session now: acts on an exceeded limit, reports a change of health, and sets when to review it again.
   */
  review(session: Session, at: number): void {
    const { run } = session;
    settleEnd(this.#context, session, at);
    if (run === undefined) return;
    const { policy } = this.#context;
    const rules = this.#ruleContext(session);
    sayLoop(this.#context, session, run, at);
    this.spending.say(session, run);
    if (run.abortFlow === undefined || worksAgain(run)) {
      answerForPeople(this.#context, session, run, at);
      const exceeded = judge(session, run, policy, rules, at);
      const { listening } = rules;
      if (exceeded && isConfirmed(this.#context, session, run, exceeded, listening, at)) {
        declareStuck(this.#context, session, run, exceeded, at);
      } else {
        const deadline = deadlineOf(run, policy, rules, at);
        if (deadline !== undefined) this.#context.wakeAt(deadline, session);
        if (rules.inspecting) inspectRegularly(this.#context, session, run, at);
      }
    } else {
      const { abortFlow } = run;
      // Its abort may have waited for hours (a pause, a server that is down). After a try, the transcript may show only
      // what that try did.
      const isUntried = abortFlow.phase === 'pending' && abortFlow.tries === 0;
      if (!isUntried || isConfirmed(this.#context, session, run, abortFlow, rules.listening, at)) {
        abortIfPossible(this.#context, session, run, at);
      }
      // Nothing else shows whether a run that is left or wedged has recovered.
      if (rules.inspecting && run.abortFlow?.phase !== 'aborting')
        inspectRegularly(this.#context, session, run, at);
    }
    this.#sayHealth(session, at);
    this.registry.sort(session);
  }

  /** The run produced something, so the attempt in flight may be the one that works. */
  progressed(session: Session, run: Run, at: number): void {
    run.preparing = false;
    run.error = undefined;
    if (run.episode) run.episode.progressed = true;
    this.alive(session, run, at);
  }

  /** Proof of life of any kind. */
  alive(session: Session, run: Run, at: number): void {
    heardFrom(run, at);
    this.reconsider(session, run, at);
  }

  /** The session shows life after a decision: checks whether the decision still stands. */
  reconsider(session: Session, run: Run, at: number): void {
    const { abortFlow } = run;
    if (abortFlow === undefined) return;
    // If nothing can be done anyway, a little text does not end the abort flow of a retry episode. The end of the
    // episode does.
    if (standsByRetries(run) && run.episode !== undefined) return;
    const exceeded = judge(session, run, this.#context.policy, this.#ruleContext(session), at);
    if (exceeded?.reason !== abortFlow.reason) takeBack(this.#context, session, run, at);
  }

  /**
   * The session was inspected. That may disprove a decision which rests on silence. During an abort it does not: the
   * transcript may show what that abort has done.
   * @param moved the transcript is not as the inspection before showed it
   */
  inspected(session: Session, run: Run, moved: boolean, at: number): void {
    const { abortFlow } = run;
    if (abortFlow === undefined || abortFlow.phase === 'aborting') return;
    if (!needsInspection(abortFlow.reason)) return;
    // A transcript does not show the text of an answer under way, so text may have been missed. No abort is sent on that.
    const mayBeMissed = abortFlow.phase === 'pending' && run.answeringSince !== undefined;
    const isNews = moved || mayBeMissed || hasExcuse(run);
    if (abortFlow.reason !== 'silence' || isNews) this.reconsider(session, run, at);
  }

  /**
   * A reload. `adopt` puts the new policy in force. A decision against a run is taken back if the old policy asks for it
   * now and the new one does not. (If neither does, it rests on what cannot be judged just now.)
   */
  policyChanges(adopt: () => void, at: number): void {
    const { policy } = this.#context;
    // Only a retry status shows that the limits of retries are exceeded. A decision that stands by them also stands
    // during an attempt.
    const judged = (run: Run): Run => (standsByRetries(run) ? { ...run, status: 'retry' } : run);
    const isOver = (session: Session, run: Run) =>
      // A pile-up is not judged by one run alone. But it can be switched off.
      run.abortFlow?.reason === 'pileup'
        ? policy.pileup.minDuration > 0
        : judge(session, judged(run), policy, this.#ruleContext(session), at) !== undefined;
    const over = [...this.registry.active].flatMap((session) => {
      const { run } = session;
      return run?.abortFlow !== undefined && isOver(session, run) ? [{ session, run }] : [];
    });
    adopt();
    for (const { session, run } of over) {
      if (isOver(session, run)) continue;
      takeBack(this.#context, session, run, at);
      // The new limit is reported in its turn.
      run.said = undefined;
    }
  }

  /**
   * An abort that `dryRun` or a pause left undone is wanted again, if the run is still stuck for the same reason. Its
   * next review sends it, and rejects the requests that were left.
   */
  takeUpLeft(session: Session, at: number): void {
    const { run } = session;
    if (run) takeUpRequests(run);
    if (run?.abortFlow?.phase !== 'left') return;
    const { reason, tries } = run.abortFlow;
    // What must be inspected anew begins anew.
    const triesBefore = needsInspection(reason) ? 0 : tries - 1;
    run.abortFlow = { ...run.abortFlow, phase: 'pending', tries: triesBefore };
    const { listening, inspecting } = this.#ruleContext(session);
    // While the stream is being opened again, silence cannot be judged. The inspection before the abort will show it.
    if (needsInspection(reason) && !listening && !inspecting) return;
    this.reconsider(session, run, at);
  }

  /** Until when an attempt in flight is left alone. */
  sparedUntil(session: Session, run: Run): number {
    return sparedUntil(run, this.#context.policy, this.#ruleContext(session));
  }

  /** Reviews the session's parents, at any depth: what a subagent spends counts for them too. */
  reviewAncestors(session: Session, at: number): void {
    let parent = this.registry.activeParent(session);
    for (; parent !== undefined; parent = this.registry.activeParent(parent))
      this.review(parent, at);
  }

  /** An active session's parent may have become delegating. */
  reviewParent(session: Session, at: number): void {
    const parent = session.run && this.registry.activeParent(session);
    if (parent) this.review(parent, at);
  }

  #beginRun(session: Session, directory: string | undefined, at: number): Run {
    const run = newRun(at, directory ?? session.info.directory);
    run.unheard = !this.listening;
    run.missed = run.unheard;
    // How the run before ended must be reported now: nothing more will be learnt about it.
    settleEnd(this.#context, session, at, 'now');
    runFollows(this.#context, session, at);
    // Its prompt was seen, so its first message will be seen too. Until then the model was not asked.
    if (session.lastPrompt?.taken === false) {
      run.preparing = this.listening;
      run.model = session.lastPrompt.model;
      run.agent = session.lastPrompt.agent;
    }
    sayFastRuns(this.#context, session, runBegan(session.runStarts, at));
    session.run = run;
    this.#context.runBegan(session.id);
    session.lastFailure = undefined;
    this.registry.activate(session);
    this.reviewParent(session, at);
    return run;
  }

  #ruleContext(session: Session): RuleContext {
    return {
      delegating: this.registry.isDelegating(session),
      listening: this.listening && this.#context.canAct(),
      inspecting: this.#inspecting && this.#context.canAct(),
      unresponsiveMsSince: this.#context.unresponsiveMsSince,
      budgetExceeded: (run) => this.spending.exceeded(session, run),
    };
  }

  #sayHealth(session: Session, at: number, ended?: Run): void {
    const { run } = session;
    const health = healthOf(run, this.#context.policy, this.#ruleContext(session), at);
    const previous = session.health;
    if (health === previous) return;
    const of = run ?? ended;
    this.#context.emit({
      note: 'session.health',
      ...fieldsOf(session),
      health,
      previous,
      forMs: at - session.healthSince,
      ...(of === undefined ? {} : runFields(of)),
      ...(run === undefined ? {} : silenceOf(run, at)),
    });
    session.health = health;
    session.healthSince = at;
    this.#context.healthChanged();
  }
}

/**
 * Whether the wait that was reported before is over, and another one was announced since. Between two polls opencode may
 * come to the same attempt of another step.
 */
function isNextWait({ nextInMs = 0 }: Retrying, { nextAt }: Episode, at: number): boolean {
  return nextAt !== undefined && nextAt <= at && nextInMs > MAX_MISREAD_MS;
}

/**
 * When the next attempt is due. `known`: the episode, if the same wait was reported before. It does not become longer:
 * if it seems so, a wall clock was set back.
 */
function nextAttempt(
  { nextInMs }: Retrying,
  known: Episode | undefined,
  at: number,
): number | undefined {
  return nextInMs === undefined ? undefined : Math.min(at + nextInMs, known?.nextAt ?? Infinity);
}
