/**
 * The watchdog proper: observations in, decisions out.
 *
 * It has no clock, no I/O and no logger. Every observation carries its time; every answer is a list of decisions, and
 * `deadline` is when it wants to be asked again if nothing happens. One timer therefore serves any number of sessions.
 */
import type { Decision, Health, Interrupted, RestartReason, SessionFields } from './decision.js';
import { isRetrying } from './judgement.js';
import type { Observation } from './observation.js';
import { Pileup } from './pileup.js';
import type { Policy } from './policy.js';
import { ServerWatch } from './server.js';
import type { Session } from './session.js';
import { SessionWatch } from './sessions.js';
import { fieldsOf } from './troubles.js';

const NOTHING: readonly Decision[] = [];

export interface WatchdogOptions {
  policy: Policy;
  /** False where the process is never touched (`server.control: observe`): restarts are then not decided at all. */
  acts: boolean;
}

/** One active session, for status, summaries and the periodic health lines. */
export interface SessionView extends SessionFields {
  health: Health;
  /** How long it has this health, ms. */
  forMs: number;
  attempt?: number;
  model?: string;
  tool?: string;
}

export class Watchdog {
  readonly #policy: Policy;
  readonly #sessions: SessionWatch;
  readonly server: ServerWatch;
  readonly #pileup: Pileup;
  #out: Decision[] = [];
  #deadline = Number.POSITIVE_INFINITY;
  /** What the restart under way cuts. */
  #cut: Interrupted[] = [];

  constructor(options: WatchdogOptions) {
    this.#policy = options.policy;
    const say = (decision: Decision) => {
      this.#out.push(decision);
    };
    this.server = new ServerWatch(options.policy, options.acts, say);
    const context = { policy: options.policy, say, canAct: () => this.server.healthy };
    this.#sessions = new SessionWatch(context, (at) => this.#wakeAt(at));
    this.#pileup = new Pileup(options.policy);
  }

  /** When to send a `tick`, on the observed clock; undefined where only news can change anything. */
  get deadline(): number | undefined {
    return Number.isFinite(this.#deadline) ? this.#deadline : undefined;
  }

  /** The active sessions. */
  sessions(at: number): SessionView[] {
    return [...this.#sessions.book.active].map((session) => view(session, at));
  }

  /** Whether an abort of this session is still wanted: asked by the hands right before they send it. */
  wantsAbort(sessionID: string): boolean {
    const trouble = this.#sessions.book.find(sessionID)?.run?.trouble;
    return trouble?.phase === 'aborting' && !trouble.withdrawn;
  }

  observe(o: Observation): readonly Decision[] {
    if (o.at < this.#deadline) {
      if (o.kind === 'stream.alive') {
        this.server.observe(o);
        return NOTHING;
      }
      if (o.kind === 'session.progress' && this.#sessions.plainProgress(o.sessionID, o.at)) {
        return NOTHING;
      }
    }
    this.#out = [];
    this.#take(o);
    if (o.at >= this.#deadline) this.#reviewAll(o.at);
    this.#reviewServer(o.at);
    return this.#out;
  }

  #take(o: Observation): void {
    switch (o.kind) {
      case 'tick':
        return;
      case 'gap':
        this.server.gap(o.at);
        return;
      case 'stream.lost':
        this.server.observe(o);
        this.#sessions.streamLost(o.at);
        return;
      case 'stream.resynced':
        this.#sessions.resynced(o.at);
        return;
      case 'server.exited': {
        const cut = this.#sessions.interrupted();
        this.server.observe(o);
        if (this.server.state.kind !== 'down') return;
        this.#cut = cut;
        this.#sessions.cut(cut, 'exited', o.at);
        return;
      }
      case 'restart.done':
      case 'restart.failed':
        this.#restartEnded(o);
        return;
      case 'server.attached':
      case 'probe.ok':
      case 'probe.failed':
      case 'probe.unauthorized':
      case 'restart.skipped':
      case 'restart.requested':
      case 'stream.connected':
      case 'stream.alive':
        this.#serverNews(o);
        return;
      case 'status.polled':
        if (!this.server.acting) this.#sessions.polled(o);
        return;
      case 'directory.disposed':
        this.#sessions.disposed(o.directory, o.at);
        return;
      default:
        // A server that is being killed says many things on its way out.
        if (this.server.state.kind === 'restarting' && o.kind !== 'session.info') return;
        this.#sessions.observe(o);
    }
  }

  #serverNews(o: Parameters<ServerWatch['observe']>[0]): void {
    const before = this.server.healthy;
    this.server.observe(o);
    // What waited for a healthy server goes on now.
    if (!before && this.server.healthy) this.#reviewSessions(o.at);
  }

  #restartEnded(o: Extract<Observation, { kind: 'restart.done' | 'restart.failed' }>): void {
    const { state } = this.server;
    const reason: RestartReason = state.kind === 'restarting' ? state.reason : 'exited';
    this.server.observe(o);
    if (o.kind === 'restart.failed' && o.serverAlive) this.#reviewSessions(o.at);
    // After an exit its sessions were said to be interrupted when it happened.
    else this.#sessions.cut(reason === 'exited' ? [] : this.#cut, reason, o.at);
    this.#cut = [];
  }

  #wakeAt(at: number): void {
    if (at < this.#deadline) this.#deadline = at;
  }

  /** The deadline is only a lower bound, kept cheap: when it comes, everything is judged and the next one found. */
  #reviewAll(at: number): void {
    this.#deadline = Number.POSITIVE_INFINITY;
    this.#reviewSessions(at);
  }

  #reviewSessions(at: number): void {
    for (const session of [...this.#sessions.book.active]) this.#sessions.review(session, at);
  }

  #reviewServer(at: number): void {
    const own = this.server.ownReason();
    if (own !== undefined) {
      this.#restart(own, at, this.server.detail());
      return;
    }
    if (!this.server.healthy) return;
    const wedged = [...this.#sessions.wedged];
    if (wedged.length > 0) {
      this.#restart('wedged', at, `aborts do not end ${wedged.map((each) => each.id).join(', ')}`);
      return;
    }
    this.#reviewPileup(at);
  }

  #reviewPileup(at: number): void {
    const { minSessions, minDuration } = this.#policy.pileup;
    const retrying = this.#sessions.episodes;
    if (retrying.size < minSessions) {
      this.#pileup.clear();
      return;
    }
    const piled = [...retrying].filter((each) => each.run !== undefined && isRetrying(each.run));
    const healthy = [...this.#sessions.book.active].filter(
      (each) => each.run?.trouble === undefined && each.health !== 'retrying',
    ).length;
    const answer = this.#pileup.judge(
      { episodes: piled.map((each) => each.run?.episode?.startedAt ?? at), healthy, outage: false },
      at,
    );
    if (answer.kind === 'restart') {
      this.#restart('pileup', at, answer.detail);
      return;
    }
    if (answer.askAgainAt !== undefined) this.#wakeAt(answer.askAgainAt);
    if (answer.kind === 'none') return;
    for (const session of piled) {
      const since = session.run?.episode?.startedAt ?? at;
      if (at - since >= minDuration) this.#sessions.abortPiled(session, minDuration, at);
    }
  }

  #restart(reason: RestartReason, at: number, detail: string): void {
    const restarts = this.server.restarts;
    const interrupted = reason === 'exited' ? this.#cut : this.#sessions.interrupted();
    const askAgainAt = this.server.tryRestart(reason, at, detail, () =>
      interrupted.map((each) => each.sessionID),
    );
    if (askAgainAt !== undefined) this.#wakeAt(Math.max(askAgainAt, at + 1));
    if (this.server.restarts === restarts) return;
    this.#cut = interrupted;
    if (reason === 'pileup') this.#pileup.restarted(at);
  }
}

function view(session: Session, at: number): SessionView {
  const { run } = session;
  const tool = run?.tools.values().next().value?.tool;
  return {
    ...fieldsOf(session),
    health: session.health,
    forMs: at - session.healthSince,
    ...(run?.episode === undefined ? {} : { attempt: run.episode.attempts }),
    ...(run?.model === undefined ? {} : { model: run.model }),
    ...(tool === undefined ? {} : { tool }),
  };
}
