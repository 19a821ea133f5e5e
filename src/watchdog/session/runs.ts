/**
 * Every session's run, from its beginning to its end: begun and ended by a status, judged whenever something may have
 * changed, given up when the server goes.
 *
 * The rules are in `rules.ts`, what is done about a stuck run in `abort-flow.ts`, how a run ended in `run-end.ts`.
 */

import type { SessionStatus } from '../observation.js';
import {
  abortIfPossible,
  abortWasLost,
  declareStuck,
  episodeEnded,
  takeBack,
} from './abort-flow.js';
import { Spending } from './budget.js';
import { namedWait } from './hopeless.js';
import { inspectRegularly, isConfirmed } from './inspection.js';
import { sayFastRuns, sayLoop } from './loop-report.js';
import { countAnew, runBegan } from './loops.js';
import { SessionRegistry } from './registry.js';
import { answerForPeople } from './requests.js';
import type { Context } from './rule-context.js';
import {
  deadlineOf,
  healthOf,
  isRetryReason,
  judge,
  namedMs,
  type RuleContext,
  sparedUntil,
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

export class Runs {
  readonly registry = new SessionRegistry();
  readonly spending: Spending;
  readonly #context: Context;
  /** The event stream is connected and resynced since then; undefined where it is not. */
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
      countAnew(run.steps);
    }
    this.#listeningSince = undefined;
    this.#inspecting = false;
  }
  inspectInstead(): void {
    this.#inspecting = this.#listeningSince === undefined;
  }

  /** The session's status is this, in this directory. */
  status(session: Session, status: SessionStatus, directory: string | undefined, at: number): void {
    if (status.type === 'unknown') return;
    if (status.type === 'idle') {
      this.end(session, at);
      return;
    }
    const run = session.run ?? this.#beginRun(session, directory, at);
    // Where it began is where it runs: a status tagged with another directory moves nothing.
    run.directory ??= directory;
    if (status.type === 'busy') {
      if (run.status !== 'busy') run.statusAt = at;
      run.status = 'busy';
      return;
    }
    // opencode counts from 1 for each step: a lower count means that the step finished unheard.
    if (status.attempt < (run.episode?.attempts ?? 0)) {
      episodeEnded(this.#context, session, run, at);
    }
    const { episode } = run;
    const repeated = run.status === 'retry' && episode?.attempts === status.attempt;
    if (!repeated) run.statusAt = at;
    run.status = 'retry';
    run.preparing = false;
    const { named, backAt } = this.#named(run, status, at);
    run.episode = {
      startedAt: episode?.startedAt ?? at,
      attempts: status.attempt,
      message: status.message,
      nextAt: status.nextInMs === undefined ? undefined : at + status.nextInMs,
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

  /** The wait that was announced, where the provider named its end: when it is back, and `named` where that is near. */
  #named(
    run: Run,
    status: Extract<SessionStatus, { type: 'retry' }>,
    at: number,
  ): { backAt?: number; named?: NonNullable<Episode['named']> } {
    const { maxWait } = this.#context.policy.retry;
    const { attempt, message, nextInMs } = status;
    const from = run.statusAt;
    // A poll says what is left of it.
    const waitMs = nextInMs === undefined ? undefined : nextInMs + at - from;
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
    // The subagent's end is the parent's life sign: from here on the parent must go on.
    if (parent?.run) this.alive(parent, parent.run, at);
    if (parent) this.review(parent, at);
  }

  /** The run is no more, and nothing is said about how it ended. */
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
    // An abort under way has still to be said to its end.
    if (session.aborting === undefined) this.registry.forget(session);
  }

  /** Judges one session now: acts on an exceeded limit, says a change of health, and sets when to review it again. */
  review(session: Session, at: number): void {
    const { run } = session;
    settleEnd(this.#context, session, at);
    if (run === undefined) return;
    const { policy } = this.#context;
    const rules = this.#ruleContext(session);
    sayLoop(this.#context, session, run, at);
    this.spending.say(session, run);
    if (run.abortFlow === undefined) {
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
      abortIfPossible(this.#context, session, run, at);
    }
    this.#sayHealth(session, at);
    this.registry.sort(session);
  }

  /** The run produced something: whatever attempt is in flight may be the one that works. */
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

  /** Life after a decision: does it still stand? */
  reconsider(session: Session, run: Run, at: number): void {
    const { abortFlow } = run;
    if (abortFlow === undefined) return;
    // Where nothing can be done anyway, a little text does not end the abort flow of a retry episode: its end does.
    const nothingToDo = abortFlow.phase === 'left' || abortFlow.phase === 'wedged';
    if (nothingToDo && run.episode !== undefined && isRetryReason(abortFlow.reason)) return;
    const exceeded = judge(session, run, this.#context.policy, this.#ruleContext(session), at);
    if (exceeded?.reason !== abortFlow.reason) takeBack(this.#context, session, run, at);
  }

  /** Until when an attempt in flight is left alone. */
  sparedUntil(session: Session, run: Run): number {
    return sparedUntil(run, this.#context.policy, this.#ruleContext(session));
  }

  /** What a subagent spends, its parents spend, at any depth. */
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
    // What ran before can be told no better than now.
    settleEnd(this.#context, session, at, 'now');
    // Its prompt was seen, so its first message will be too: until then the model was not asked.
    if (session.lastPrompt?.taken === false) {
      run.preparing = this.listening;
      run.model = session.lastPrompt.model;
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
