/**
 * The watchdog proper: observations in, decisions out.
 *
 * It has no clock, no I/O and no logger. Every observation carries its time; every answer is a list of decisions, and
 * `deadline` is when it wants to be asked again if nothing happens. One timer therefore serves any number of sessions.
 */

import type { Decision, Health, Interrupted, RestartReason, SessionFields } from './decision.js';
import { CutsElsewhere } from './group/cuts-elsewhere.js';
import { Disposals } from './group/disposal.js';
import { Failover } from './group/failover.js';
import { ProviderOutages } from './group/provider-outage.js';
import type { Observation, ParkedRun, Spent } from './observation.js';
import { adoptPolicy, copyPolicy, type Policy } from './policy.js';
import { AnswerTimes } from './server/answer-times.js';
import { Deferral } from './server/deferral.js';
import { Drain } from './server/drain.js';
import { ServerWatch } from './server/health.js';
import { type Detail, detail } from './session/detail.js';
import { SessionWatch } from './session/reducer.js';
import type { Context } from './session/rule-context.js';
import { fieldsOf, runFields, type Session, silenceOf } from './session/state.js';
import { disposedFor, isLeft, isWedgedNow, nothingHelps } from './session/wedged.js';
import { TimerQueue } from './timer-queue.js';

const NOTHING: readonly Decision[] = [];

export interface WatchdogOptions {
  policy: Policy;
  /**
   * False if the process is never touched (`server.control: observe`). Restarts are then not decided at all, until
   * another process is found that may be touched.
   */
  acts: boolean;
}

/** One active session, for status, summaries and the periodic health lines. */
export interface SessionView extends SessionFields {
  health: Health;
  /** How long it has had this health, ms. */
  forMs: number;
  attempt?: number;
  model?: string;
  tool?: string;
  /** Time since the last sign of life, ms; absent while silence means nothing. */
  silentMs?: number;
  /** What the run has spent with its subagents; absent if nothing. */
  costUsd?: number;
  tokens?: number;
}

export type SessionDetail = SessionView & Detail;

export class Watchdog {
  readonly #policy: Policy;
  readonly #sessions: SessionWatch;
  readonly server: ServerWatch;
  readonly #cuts: CutsElsewhere;
  readonly #drain: Drain;
  readonly #deferral: Deferral;
  readonly #disposals: Disposals;
  readonly #context: Context;
  readonly #answers = new AnswerTimes();
  #decisions: Decision[] = [];
  /** When each session is due for a review, even without news. */
  readonly #timers = new TimerQueue<Session>();
  /** When the server, a pile-up or a recycle is due for a review. */
  #serverAt = Number.POSITIVE_INFINITY;
  /** What the restart under way cuts. */
  #cut: Interrupted[] = [];
  /** Since when acts are paused, except those that people ask for. */
  #pausedAt: number | undefined;

  constructor(options: WatchdogOptions) {
    // A copy of its own: only an observation changes it, so that a replay is exact.
    const policy = copyPolicy(options.policy);
    this.#policy = policy;
    const emit = (decision: Decision) => {
      this.#decisions.push(decision);
    };
    this.server = new ServerWatch(policy, options.acts, emit);
    this.#cuts = new CutsElsewhere({ emit, wakeAt: (at) => this.#wakeAt(at) });
    this.#context = {
      policy,
      cuts: this.#cuts,
      failover: new Failover(),
      outages: new ProviderOutages(policy.pileup, emit),
      emit,
      canAct: () => this.server.healthy,
      isPaused: () => this.#pausedAt !== undefined,
      whyNoAbort: () => this.#whyNoAbort(),
      isAnswering: () => this.server.answering,
      canRestart: () => this.server.acts,
      verifyMs: (at) => this.#answers.verifyMs(this.#policy.abort.verifyTimeout, at),
      isUnresponsive: () => this.server.isUnresponsive,
      unresponsiveMsSince: (since) => this.server.unresponsiveMsSince(since),
      isDisposing: (directory) => directory !== undefined && this.#disposals.isDisposing(directory),
      park: (...run) => this.#sessions.parking.park(...run),
      isQuarantined: (sessionID) => this.#sessions.crashes.quarantined.has(sessionID),
      runBegan: (sessionID) => {
        this.#sessions.parking.usedBy(sessionID, 'superseded');
        this.#sessions.crashes.began(sessionID);
        this.#sessions.left.usedBy(sessionID);
      },
      healthChanged: () => this.#sessions.crashes.changed(),
      runOver: (...run) => {
        this.#sessions.parking.ended(...run);
        this.#sessions.crashes.ended(...run);
        this.#context.failover.runOver(run[0]);
      },
      wakeAt: (at, session) => {
        if (session === undefined) this.#wakeAt(at);
        else this.#timers.ask(session, at);
      },
    };
    this.#sessions = new SessionWatch(this.#context);
    this.#disposals = new Disposals(this.#context, this.#sessions.registry);
    this.#drain = new Drain(policy.recycle);
    this.#deferral = new Deferral(policy.restart);
  }

  /** When to send a `tick`, on the observed clock; undefined if only news can change anything. */
  get deadline(): number | undefined {
    const next = this.#next;
    return Number.isFinite(next) ? next : undefined;
  }

  /** A lower bound, kept cheap. */
  get #next(): number {
    return Math.min(this.#timers.next, this.#serverAt);
  }

  /** The active sessions. */
  sessions(at: number): SessionView[] {
    return [...this.#sessions.registry.active].map((session) => view(session, at));
  }

  /** One session; undefined if it is not active. */
  session(id: string, at: number): SessionView | undefined {
    const session = this.#sessions.registry.find(id);
    return session?.run === undefined ? undefined : view(session, at);
  }

  /** The active sessions, with what each waits for or fails on. */
  details(at: number): SessionDetail[] {
    return [...this.#sessions.registry.active].map((session) => ({
      ...view(session, at),
      ...detail(session, at),
    }));
  }

  /** What the whole server has spent since midnight. */
  get spentToday(): Readonly<Spent> {
    return this.#sessions.spentToday;
  }

  /** opencode's own totals of sessions, for the next daemon. */
  get spentTotals(): ReadonlyMap<string, Spent> {
    return this.#sessions.spentTotals;
  }

  /** The runs that wait for their quota. */
  parked(at: number): ParkedRun[] {
    return this.#sessions.parking.list(at);
  }

  /** Changes whenever the list of parked runs does. */
  get parkedVersion(): number {
    return this.#sessions.parking.version;
  }

  /**
   * What the next daemon must know: the runs at work, how many crashes in a row each session has, and the quarantined
   * sessions.
   */
  get crashes(): Readonly<
    Pick<SessionWatch['crashes'], 'atWork' | 'inARow' | 'quarantined' | 'version'>
  > {
    return this.#sessions.crashes;
  }

  /** The sessions whose runs the restart under way is meant to end: what is stuck, and what retries in its pile-up. */
  endedBy(reason: RestartReason, at: number): SessionView[] {
    const { pileups } = this.#sessions;
    return this.sessions(at).filter(({ sessionID, health }) => {
      if (health === 'stuck' || health === 'wedged') return true;
      return reason === 'pileup' && health === 'retrying' && pileups.isEnded(sessionID);
    });
  }

  /** How many known sessions have no run. */
  get idleSessions(): number {
    return this.#sessions.registry.size - this.#sessions.registry.active.size;
  }

  /** Since when a person has paused the daemon's acts; undefined while it acts. */
  get pausedAt(): number | undefined {
    return this.#pausedAt;
  }

  observe(o: Observation): readonly Decision[] {
    if (o.at < this.#next) {
      if (o.kind === 'stream.alive') {
        this.server.observe(o);
        return NOTHING;
      }
      if (o.kind === 'session.progress' && this.#sessions.plainProgress(o.sessionID, o.at)) {
        return NOTHING;
      }
    }
    this.#decisions = [];
    if ('startedAt' in o) this.#answers.note(o.at - o.startedAt, o.at);
    this.#take(o);
    this.#reviewDue(o.at);
    if (this.#pausedAt === undefined) {
      this.#sessions.parking.review(o.at);
      this.#sessions.crashes.review(o.at);
    }
    this.#reviewServer(o.at);
    this.#cuts.review(o.at);
    return this.#decisions;
  }

  #take(o: Observation): void {
    switch (o.kind) {
      case 'tick':
        return;
      case 'policy.changed':
        this.#sessions.policyChanges(() => {
          if (o.policy !== undefined) adoptPolicy(this.#policy, o.policy);
        }, o.at);
        this.#drain.policyChanged();
        this.#takeUpLeft(o.at);
        return;
      case 'acts.paused':
        this.#pausedAt ??= o.at;
        return;
      case 'acts.resumed':
        this.#pausedAt = undefined;
        this.#takeUpLeft(o.at);
        if (this.server.healthy) this.#continueCut(o.at);
        return;
      case 'daemon.stopping':
        for (const each of this.#sessions.interrupted()) {
          this.#decisions.push({ note: 'session.interrupted', by: 'stop', ...each });
        }
        return;
      case 'abort.requested':
        this.#sessions.abortRequested(o);
        return;
      case 'runs.restored':
        this.#sessions.crashes.restored(o);
        return;
      case 'parked.restored':
        this.#sessions.parking.restored(o);
        return;
      case 'budget.day':
        this.#sessions.dayBegan(o);
        return;
      case 'gap':
        this.server.gap(o.at);
        this.#sessions.gap(o.at, o.ms);
        return;
      case 'stream.lost':
        this.server.observe(o);
        this.#sessions.streamLost();
        return;
      case 'stream.unavailable':
        this.#sessions.streamUnavailable(o.at);
        return;
      case 'stream.resynced':
        this.#sessions.resynced(o.at);
        return;
      case 'server.exited': {
        const wasDown = this.server.isDown;
        this.server.observe(o);
        if (wasDown || !this.server.isDown) return;
        this.#drain.restartDecided(o.at);
        this.#drain.processReplaced();
        this.#disposals.clear();
        this.#cut = this.#sessions.interrupted();
        this.#sessions.cut(this.#cut, 'exited', o.at);
        return;
      }
      case 'restart.done':
      case 'restart.failed':
        this.#restartEnded(o);
        return;
      case 'restart.skipped':
        if (this.server.acting) this.#drain.restartSkipped();
        this.#serverNews(o);
        return;
      case 'restart.requested':
        if (o.reason === 'manual') this.#serverNews(o);
        else this.#wantRecycle(o.reason, o.at);
        return;
      case 'usage.within':
        if (this.#drain.withdraw(o.reason)) {
          this.#decisions.push({ note: 'server.recycle_withdrawn', reason: o.reason });
        }
        return;
      case 'server.attached':
        this.#serverNews(o);
        this.#sessions.crashes.attached(o);
        return;
      case 'probe.ok':
      case 'probe.failed':
      case 'probe.unauthorized':
      case 'probe.unsupported':
      case 'server.suspended':
      case 'continue_process.done':
      case 'continue_process.skipped':
      case 'continue_process.failed':
      case 'stream.connected':
      case 'stream.alive':
        this.#serverNews(o);
        return;
      case 'status.polled':
        this.server.heard(o.at);
        if (!this.#isPast(o.startedAt)) this.#sessions.polled(o);
        return;
      case 'directory.disposed':
        this.#disposedElsewhere(o);
        return;
      case 'dispose.done':
      case 'dispose.failed':
      case 'dispose.withdrawn':
      case 'dispose.skipped': {
        const disposed = this.#disposals.observe(o);
        if (disposed !== undefined) this.#sessions.disposedByUs(disposed, o.at);
        return;
      }
      case 'abort.done':
      case 'abort.failed':
      case 'abort.withdrawn':
      case 'abort.skipped':
      case 'continue.done':
      case 'continue.failed':
      case 'continue.skipped':
      case 'reject.failed':
      case 'reject.skipped':
      case 'session.info':
        this.#sessions.observe(o);
        return;
      default:
        // A server that is being killed still sends many events, and the last events of a dead one arrive late. They do
        // not count.
        if (o.kind === 'session.inspected') this.server.heard(o.at);
        if (!this.server.acting && !this.server.isDown) this.#sessions.observe(o);
        // What a session is stays true: whose subagent it is, for instance.
        else if (o.kind === 'session.inspected' && o.result.found) {
          const { at, sessionID, result } = o;
          this.#sessions.observe({ kind: 'session.info', at, sessionID, info: result.info });
        }
    }
  }

  /**
   * A directory's instance is gone. An event that reports our own dispose is no news: the proof of that is the status.
   */
  #disposedElsewhere(o: Extract<Observation, { kind: 'directory.disposed' }>): void {
    const { directory, replaced, at } = o;
    if (replaced !== true) {
      if (this.#disposals.isOwn(directory, at)) return;
      const interrupted = this.#sessions.disposedIn(directory, at);
      this.#decisions.push({
        note: 'directory.disposed',
        reason: 'elsewhere',
        directory,
        interrupted,
      });
    }
    this.#sessions.disposed(directory, replaced ? 'restart' : 'dispose', at);
  }

  /** Acts that were left undone (`dryRun`, a pause) may be done now, and everything is judged again. */
  #takeUpLeft(at: number): void {
    this.server.takeUpLeft(at);
    this.#disposals.takeUpLeft();
    this.#sessions.takeUpLeft(at);
    this.#drain.takeUpLeft();
    this.#wantLeftRecycle(at);
    if (!this.#isCutting) this.#sessions.reviewAll(at);
  }

  /** Why no abort can be sent: a server that is down, starting or restarting has no run left to abort. */
  #whyNoAbort(): string | undefined {
    const { kind } = this.server.state;
    if (kind === 'down') return 'the server is down';
    return this.server.acting ? `the server is ${kind} just now, which ends every run` : undefined;
  }

  /**
   * Remembers a recycle, which waits for the sessions at work. If the process is not ours to touch, none is remembered.
   */
  #wantRecycle(reason: 'memory' | 'processes' | 'schedule', at: number): void {
    if (!this.server.healthy || !this.server.acts) return;
    if (this.#drain.rests(reason, at) || !this.#drain.want(reason, at)) return;
    this.#decisions.push({
      note: 'server.draining',
      reason,
      sessions: this.#drain.holding(this.#sessions.registry.active).length,
      drainTimeoutMs: this.#policy.recycle.drainTimeout,
    });
  }

  /** A scheduled recycle that was left undone is wanted again once the server is healthy and no pause holds it. */
  #wantLeftRecycle(at: number): void {
    if (!this.server.healthy || this.#pausedAt !== undefined) return;
    if (this.#drain.takeDue()) this.#wantRecycle('schedule', at);
  }

  /** Whether a question that was asked at `askedAt` was answered by a process that is gone or about to go. */
  #isPast(askedAt: number): boolean {
    const { state } = this.server;
    return this.server.acting || (state.kind === 'down' && askedAt < state.since);
  }

  #serverNews(o: Parameters<ServerWatch['observe']>[0]): void {
    const before = this.server.healthy;
    this.server.observe(o);
    // What waited for a healthy server goes on now.
    if (before || !this.server.healthy) return;
    this.#sessions.serverBack(o.at);
    this.#continueCut(o.at);
    this.#wantLeftRecycle(o.at);
  }

  /**
   * The server is back, whoever started it, so the runs that were cut can be continued now. In a pause they wait for its
   * end.
   */
  #continueCut(at: number): void {
    if (this.#pausedAt !== undefined) return;
    this.#sessions.crashes.resume(at, this.server.pid);
    this.#sessions.left.takeUp();
  }

  #restartEnded(o: Extract<Observation, { kind: 'restart.done' | 'restart.failed' }>): void {
    const { state } = this.server;
    if (!this.server.acting) return;
    const reason: RestartReason = state.kind === 'restarting' ? state.reason : 'exited';
    this.server.observe(o);
    if (o.kind === 'restart.failed' && o.serverAlive) {
      // The old process still serves, but what it said meanwhile was ignored.
      if (this.server.streamConnected) this.#sessions.resynced(o.at);
      else this.#sessions.reviewAll(o.at);
    } else {
      this.#drain.processReplaced();
      // After an exit, its sessions were reported as interrupted when the exit happened.
      this.#sessions.cut(reason === 'exited' ? [] : this.#cut, reason, o.at);
    }
    if (o.kind === 'restart.done' && this.server.healthy) this.#continueCut(o.at);
    this.#cut = [];
  }

  #wakeAt(at: number): void {
    if (at < this.#serverAt) this.#serverAt = at;
  }

  /** Runs that are being cut are no longer judged; the end of the restart takes care of them. */
  get #isCutting(): boolean {
    return this.server.state.kind === 'restarting';
  }

  /** Judges the sessions that are due; each of them then asks for its next review. */
  #reviewDue(at: number): void {
    if (at >= this.#serverAt) this.#serverAt = Number.POSITIVE_INFINITY;
    if (at < this.#timers.next) return;
    for (let due = this.#timers.take(at); due !== undefined; due = this.#timers.take(at)) {
      // A run that ended before the restart is not cut: its end is yet to be reported.
      if (!this.#isCutting || due.run === undefined) this.#sessions.review(due, at);
    }
  }

  #reviewServer(at: number): void {
    const breakerClosesAt = this.server.reviewBreaker(at);
    if (breakerClosesAt !== undefined) this.#wakeAt(breakerClosesAt);
    const own = this.server.ownReason();
    if (own !== undefined && this.#restart(own, at, this.server.detail())) return;
    if (!this.server.healthy) return;
    this.#disposals.review(at);
    // As long as a dispose of its directory may help, that gentler step comes first.
    const everWedged = [...this.#sessions.registry.unabortable].filter(
      (each) => disposedFor(this.#context, each) === undefined,
    );
    const wedged = everWedged.filter(isWedgedNow);
    // A session that works again costs no restart. But the wait goes on: its attempt may fail like the ones before.
    let isWaiting = !everWedged.every(isLeft);
    if (wedged.length > 0) {
      const ids = wedged.map((each) => each.id).join(', ');
      if (this.#restartSparing('wedged', at, `aborts do not end ${ids}`, new Set(wedged))) return;
    }
    if (this.#reviewDrain(at)) return;
    this.#sessions.pileups.review(at, (detail, piled) => {
      isWaiting ||= ![...piled].every(isLeft);
      return this.#restartSparing('pileup', at, detail, piled);
    });
    if (!isWaiting) this.#deferral.clear();
  }

  /** A restart that waits for healthy runs. Returns true if the executor is now busy with the process. */
  #restartSparing(
    reason: 'wedged' | 'pileup',
    at: number,
    detail: string,
    stuck: ReadonlySet<Session>,
  ): boolean {
    if (!this.server.acts) return false;
    const healthy = this.#sessions.registry.healthy(stuck);
    const allLeft = [...stuck].every(isLeft);
    const answer = this.#deferral.judge(
      { stuck: stuck.size, healthy: healthy.length, allLeft },
      at,
    );
    switch (answer.kind) {
      case 'restart':
        return this.#restart(reason, at, detail);
      case 'wait':
        this.#wakeAt(answer.askAgainAt);
        if (answer.isNew) {
          this.#decisions.push({
            note: 'server.restart_deferred',
            reason,
            waitsFor: healthy.map(({ id }) => id),
            waitForHealthyMs: this.#policy.restart.waitForHealthy,
          });
        }
        return false;
      case 'nothing':
        for (const session of stuck) {
          // A dispose that may still come is judged on its own.
          const isLast = disposedFor(this.#context, session) === undefined;
          if (isLast) nothingHelps(this.#context, session);
        }
        return false;
    }
  }

  /** Returns true if the executor is now busy with the process. */
  #reviewDrain(at: number): boolean {
    const { wanted } = this.#drain;
    const answer = this.#drain.judge(this.#sessions.registry.active, at);
    if (wanted === undefined || answer === undefined) return false;
    if (answer.kind === 'restart') return this.#restart(wanted.reason, at, answer.detail);
    if (answer.askAgainAt !== undefined) this.#wakeAt(answer.askAgainAt);
    return false;
  }

  /** Returns true if the executor is now busy with the process. */
  #restart(reason: RestartReason, at: number, detail: string): boolean {
    let interrupted = this.#cut;
    // Computed only if a restart follows: this method is called with every observation while a reason stands.
    const askAgainAt = this.server.tryRestart(reason, at, detail, () => {
      if (reason !== 'exited') interrupted = this.#sessions.interrupted();
      return interrupted.map((each) => each.sessionID);
    });
    if (askAgainAt !== undefined) this.#wakeAt(Math.max(askAgainAt, at + 1));
    if (!this.server.acting) return false;
    this.#cut = interrupted;
    // Whatever its reason, a restart is a recycle too.
    this.#drain.restartDecided(at);
    this.#deferral.clear();
    this.#disposals.clear();
    if (reason === 'pileup') this.#sessions.pileups.restarted(at);
    return true;
  }
}

function view(session: Session, at: number): SessionView {
  const { run } = session;
  return {
    ...fieldsOf(session),
    health: session.health,
    forMs: at - session.healthSince,
    ...(run === undefined ? {} : { ...runFields(run), ...silenceOf(run, at) }),
  };
}
