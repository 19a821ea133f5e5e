/**
 * The server's side of the state machine: what its health is, and when it must be restarted.
 *
 * It observes probes, exits and the results of acts. `watchdog.ts` asks it for a restart when there is a reason for
 * one. While an act is under way nothing else is decided about the server.
 */

import type { Decision, RestartReason, ServerHealth } from '../decision.js';
import type { ServerObservation, StreamObservation, Unsupported } from '../observation.js';
import type { Policy } from '../policy.js';
import { CircuitBreaker } from './circuit-breaker.js';
import { Liveness } from './liveness.js';
import { Suspension } from './suspension.js';

type Settled =
  | { kind: 'unknown' }
  | { kind: 'healthy'; since: number }
  | { kind: 'unauthorized'; since: number; means?: string }
  | ({ kind: 'unsupported'; since: number } & Unsupported)
  /**
   * `askedAnewAt`: set when a pause ends. A restart, or giving the server up, is due only if `probe.maxFailures` probes
   * sent since then fail.
   */
  | {
      kind: 'unresponsive';
      since: number;
      failures: number;
      lastError: string;
      askedAnewAt?: number;
    }
  | { kind: 'down'; since: number; lastError: string };
type State =
  | Settled
  | ({ kind: 'starting'; since: number } & Ended)
  /** `before` is the state to go back to if nothing is done, or if the old process turns out to serve on. */
  | ({ kind: 'restarting'; since: number; reason: RestartReason; before: Settled } & Ended);
/** `ended`: the end of a process that is not the old one. It may be the new one, whose start is not reported yet. */
type Ended = { ended?: Exit };
type Exit = Extract<ServerObservation, { kind: 'server.exited' }>;
type RestartDone = Extract<ServerObservation, { kind: 'restart.done' }>;

/**
 * Reasons that stand until something is done. A restart for one of them that `dryRun` left undone is not decided again
 * and again.
 */
const STANDING: ReadonlySet<RestartReason> = new Set(['exited', 'unresponsive', 'wedged']);

export class ServerWatch {
  readonly #policy: Policy;
  #acts: boolean;
  readonly #emit: (decision: Decision) => void;
  readonly breaker: CircuitBreaker;
  readonly #suspension: Suspension;
  readonly #liveness: Liveness;

  #state: State = { kind: 'unknown' };
  #pid: number | undefined;
  /** The process whose end was seen: the one that a restart replaces. */
  #exitedPid: number | undefined;
  #version: string | undefined;
  /** The server was healthy once, so its silence means something. */
  #understood = false;
  /** Whether a server was seen or started before. The first start follows no failure and costs no budget. */
  #startedOnce = false;
  /** A person has asked for a restart, and it is not decided yet. */
  #requested = false;
  /**
   * `dryRun` or a pause left a dead or frozen server as it is. The same restart is not decided again until something
   * changes.
   */
  #skipped = false;
  restarts = 0;

  constructor(policy: Policy, acts: boolean, emit: (decision: Decision) => void) {
    this.#policy = policy;
    this.#acts = acts;
    this.#emit = emit;
    this.breaker = new CircuitBreaker(policy.restart);
    this.#suspension = new Suspension(emit);
    this.#liveness = new Liveness(policy.probe);
  }

  get state(): Readonly<State> {
    return this.#state;
  }
  get pid(): number | undefined {
    return this.#pid;
  }
  get version(): string | undefined {
    return this.#version;
  }
  /** False if the process is never touched: `server.control: observe`, or an opencode in front of which a person sits. */
  get acts(): boolean {
    return this.#acts;
  }
  /** Acts on sessions make sense only while this is true. */
  get healthy(): boolean {
    return this.#state.kind === 'healthy';
  }
  /** The server is healthy, and no failed probe counts against it just now. */
  get answering(): boolean {
    return this.healthy && this.#liveness.failures === 0;
  }
  /** It answers, and its process is not known: somebody else may have started it. */
  get isUnattached(): boolean {
    const { kind } = this.#state;
    const answers = kind === 'healthy' || kind === 'unauthorized' || kind === 'unsupported';
    return answers && this.#pid === undefined;
  }
  /** Its process is known to be gone. */
  get isDown(): boolean {
    return this.#state.kind === 'down';
  }
  /** Whether the executor is busy with the process. */
  get acting(): boolean {
    return this.#state.kind === 'starting' || this.#state.kind === 'restarting';
  }
  get streamConnected(): boolean {
    return this.#liveness.streamConnected;
  }

  /** How long the server was not responding since then, ms. That time is not silence of its sessions. */
  unresponsiveMsSince(since: number): number {
    return this.#liveness.unresponsiveMsSince(since);
  }

  /** A probe got no answer, and nothing at all was heard of the server since it was sent. */
  get isUnresponsive(): boolean {
    return this.#liveness.isUnresponsive;
  }

  /** Something was heard of the server, whatever it was. */
  heard(at: number): void {
    this.#liveness.heard(at);
  }

  health(): ServerHealth {
    const { kind } = this.#state;
    if (this.#state.kind === 'unsupported' && this.#state.starting) return 'starting';
    const wantsRestart = kind === 'down' || kind === 'unresponsive';
    return wantsRestart && this.breaker.state.kind === 'open' ? 'held' : kind;
  }

  observe(o: ServerObservation | StreamObservation): void {
    switch (o.kind) {
      case 'server.attached':
        this.#acts = o.acts ?? this.#acts;
        if (this.acting) return;
        if (this.#state.kind !== 'unknown') {
          this.#foundLater(o.pid);
          return;
        }
        this.#pid = o.pid;
        if (o.unsupported !== undefined) this.#becomeUnsupported(o.at, o.unsupported);
        else if (o.unauthorized !== undefined) this.#refused(o.at, o.unauthorized, o.means);
        else if (o.running) this.#becomeHealthy(o.at, o.version);
        else this.#state = { kind: 'down', since: o.at, lastError: 'nothing answers' };
        return;
      case 'probe.ok':
        if (this.#isOfTheEnded(o.startedAt)) return;
        this.heard(o.at);
        this.#liveness.forgive();
        this.#suspension.answered(o.at);
        if (!this.acting && !this.healthy) this.#becomeHealthy(o.at, o.version);
        return;
      case 'probe.failed':
        this.#probeFailed(o);
        return;
      case 'probe.unauthorized':
        if (this.#isOfTheEnded(o.startedAt)) return;
        this.heard(o.at);
        this.#liveness.forgive();
        if (!this.acting && this.#state.kind !== 'unauthorized')
          this.#refused(o.at, o.status, o.means);
        return;
      case 'probe.unsupported':
        if (!this.#isOfTheEnded(o.startedAt)) this.#answeredStrangely(o);
        return;
      case 'server.exited':
        this.#exited(o);
        return;
      case 'server.suspended':
      case 'continue_process.done':
      case 'continue_process.skipped':
      case 'continue_process.failed':
        if (!this.acting) this.#suspension.observe(o, this.acts);
        return;
      case 'restart.done':
        this.#restartDone(o);
        return;
      case 'restart.failed':
        this.#restartFailed(o);
        return;
      case 'restart.skipped':
        if (!this.acting) return;
        this.#skipped = true;
        // The first start is still to come.
        if (this.#state.kind === 'starting') this.#startedOnce = false;
        if (this.#state.kind === 'restarting') {
          this.restarts -= 1;
          // A restart that a person asked for uses no budget.
          if (this.#state.reason !== 'manual') this.breaker.withdraw();
        }
        this.#state =
          this.#state.kind === 'restarting'
            ? this.#state.before
            : { kind: 'down', since: o.at, lastError: 'nothing answers' };
        return;
      case 'restart.requested':
        // A restart under way is already what the person asks for. If no restart is possible, none is remembered.
        this.#requested = this.acts && !this.acting;
        return;
      case 'stream.connected':
        this.heard(o.at);
        this.#liveness.streamBegins(o.at);
        return;
      case 'stream.lost':
        this.#liveness.streamLost();
        return;
      case 'stream.alive':
        this.heard(o.at);
        this.#liveness.streamAlive(o.at, o.heartbeatMs);
        return;
      case 'stream.unavailable':
      case 'stream.resynced':
        return;
    }
  }

  /** Closes a breaker that opened over a healthy server. Returns when to ask again, if it is open still. */
  reviewBreaker(at: number): number | undefined {
    if (!this.healthy) return undefined;
    if (this.breaker.stillHealthy(at)) this.#breakerClosed(at);
    return this.breaker.closesAt;
  }

  /** What `dryRun` or a pause left undone may be decided again. */
  takeUpLeft(at: number): void {
    this.#suspension.takeUpLeft();
    this.#skipped = false;
    if (this.#state.kind === 'unresponsive') {
      // It may be stopped by a signal only, or serve again by now. What failed in the pause does not count.
      this.#liveness.forgive();
      this.#state = { ...this.#state, askedAnewAt: at };
    } else this.#giveUpIfHeld(at);
  }

  /** The daemon itself did not run: what failed meanwhile is not the server's fault. */
  gap(at: number): void {
    this.#liveness.gap(at);
  }

  /**
   * The server's own reason for a restart; undefined while it serves. What a person asks for comes first, and no budget
   * holds it back.
   */
  ownReason(): RestartReason | undefined {
    const state = this.#state;
    if (this.#requested) return 'manual';
    if (state.kind === 'down') return 'exited';
    if (state.kind === 'unresponsive' && state.askedAnewAt === undefined) return 'unresponsive';
    return undefined;
  }

  /** The numbers behind `ownReason`, in words. */
  detail(): string {
    const state = this.#state;
    switch (this.ownReason()) {
      case 'exited':
        return state.kind === 'down' ? state.lastError : '';
      case 'unresponsive':
        return state.kind === 'unresponsive'
          ? `${state.failures} probes failed: ${state.lastError}`
          : '';
      default:
        return 'asked for';
    }
  }

  /**
   * Restarts for this reason if the budget allows it now. Returns when to ask again, or undefined if the restart was
   * decided (or never will be).
   */
  tryRestart(
    reason: RestartReason,
    at: number,
    detail: string,
    interrupted: () => string[],
  ): number | undefined {
    const before = this.#state;
    if (!this.acts || before.kind === 'unknown') return undefined;
    if (before.kind === 'starting' || before.kind === 'restarting') return undefined;
    if (this.#skipped && STANDING.has(reason)) return undefined;
    if (before.kind === 'down' && !this.#startedOnce) {
      this.#startedOnce = true;
      this.#requested = false;
      this.#state = { kind: 'starting', since: at };
      this.#emit({ act: 'start' });
      return undefined;
    }
    if (reason !== 'manual') {
      const admission = this.breaker.admit(at);
      switch (admission.kind) {
        case 'go':
          break;
        case 'wait':
        case 'held':
          return admission.until;
        case 'opened':
          this.#emit({
            note: 'server.breaker_open',
            reason,
            restarts: admission.restarts,
            cooldownMs: admission.cooldown,
          });
          if (this.#policy.restart.giveUp === 'exit') {
            this.#emit({ act: 'give_up', restarts: admission.restarts });
          }
          return admission.until;
      }
    }
    this.#requested = false;
    this.#suspension.clear();
    this.restarts += 1;
    const pid = this.#pid;
    this.#state = { kind: 'restarting', since: at, reason, before };
    this.#liveness.forgive();
    this.#emit({
      note: 'server.restarting',
      reason,
      ...(pid === undefined ? {} : { pid }),
      interrupted: interrupted(),
      restarts: this.breaker.recent(at),
      detail,
    });
    this.#emit({ act: 'restart', reason });
    return undefined;
  }

  /** Whether an answer was asked for before the process ended. Such an answer comes from the process that is gone. */
  #isOfTheEnded(startedAt: number): boolean {
    return this.#state.kind === 'down' && startedAt < this.#state.since;
  }

  #becomeHealthy(at: number, version: string | undefined, tookMs?: number): void {
    this.#startedOnce = true;
    this.#understood = true;
    this.#skipped = false;
    this.#liveness.forgive();
    this.#state = { kind: 'healthy', since: at };
    const previousVersion = this.#version;
    this.#version = version ?? this.#version;
    const hasChanged = previousVersion !== undefined && previousVersion !== this.#version;
    if (this.breaker.healthy(at)) this.#breakerClosed(at);
    this.#emit({
      note: 'server.healthy',
      ...(this.#version === undefined ? {} : { version: this.#version }),
      ...(hasChanged && { previousVersion }),
      ...(this.#pid === undefined ? {} : { pid: this.#pid }),
      ...(tookMs === undefined ? {} : { tookMs }),
    });
  }

  /** The process of a server that came back by itself. If the server is down, the end of that process was seen. */
  #foundLater(pid: number | undefined): void {
    if (pid === undefined || this.#state.kind === 'down') return;
    this.#pid = pid;
    this.#exitedPid = undefined;
  }

  /** The breaker holds the restart back: it opened in a pause, or a reload sets `restart.giveUp: exit` only now. */
  #giveUpIfHeld(at: number): void {
    const { state } = this.breaker;
    if (this.health() !== 'held' || state.kind !== 'open' || at >= state.until) return;
    if (this.#policy.restart.giveUp !== 'exit') return;
    this.#emit({ act: 'give_up', restarts: state.restarts });
  }

  #unhealthy(at: number): void {
    if (this.breaker.unhealthy(at)) this.#breakerClosed(at);
  }

  #breakerClosed(at: number): void {
    this.#emit({ note: 'server.breaker_closed', restarts: this.breaker.recent(at) });
  }

  /** The server is alive but refuses our credentials. That is never a reason to restart it (facts, section 2). */
  #refused(at: number, status: number, means: string | undefined): void {
    const said = means === undefined ? {} : { means };
    this.#startedOnce = true;
    this.#state = { kind: 'unauthorized', since: at, ...said };
    this.#emit({ note: 'server.unauthorized', status, ...said });
  }

  /**
   * The server answers, so it is alive: never a reason to restart it. One bad answer does not change the state of a
   * healthy server.
   */
  #answeredStrangely(o: Extract<ServerObservation, { kind: 'probe.unsupported' }>): void {
    this.heard(o.at);
    this.#suspension.answered(o.at);
    if (this.acting) return;
    if (this.#state.kind === 'healthy') {
      if (this.#liveness.isOfGap(o.startedAt) || !this.#liveness.failedTooOften(o.at)) return;
      this.#unhealthy(o.at);
    }
    this.#liveness.forgive();
    const { answered, means, version, starting, certain } = o;
    this.#becomeUnsupported(o.at, {
      answered,
      means,
      ...(version !== undefined && { version }),
      ...(starting !== undefined && { starting }),
      ...(certain !== undefined && { certain }),
    });
  }

  #becomeUnsupported(at: number, unsupported: Unsupported): void {
    const was = this.#state;
    this.#startedOnce = true;
    this.#skipped = false;
    if (was.kind === 'unsupported' && was.answered === unsupported.answered) return;
    this.#state = { kind: 'unsupported', since: at, ...unsupported };
    this.#version = unsupported.version ?? this.#version;
    if (unsupported.starting) return;
    const { answered, means, version } = unsupported;
    this.#emit({
      note: 'server.unsupported',
      ...(version === undefined ? {} : { version }),
      answered,
      means,
    });
  }

  #probeFailed(o: Extract<ServerObservation, { kind: 'probe.failed' }>): void {
    const { at, startedAt, error, failure } = o;
    if (this.acting || this.#liveness.isOfGap(startedAt)) return;
    this.#liveness.missed(startedAt);
    switch (this.#state.kind) {
      case 'healthy':
      case 'unauthorized':
        break;
      case 'unsupported':
        // The silence of a server that was never understood could mean anything. A refused connection is clear: nothing
        // listens any more.
        if (!this.#understood && failure !== 'refused') return;
        break;
      case 'unresponsive': {
        const { askedAnewAt = Number.POSITIVE_INFINITY, since } = this.#state;
        if (startedAt < askedAnewAt || !this.#liveness.failedTooOften(at)) return;
        const { failures } = this.#liveness;
        this.#state = { kind: 'unresponsive', since, failures, lastError: error };
        this.#giveUpIfHeld(at);
        return;
      }
      default:
        return;
    }
    if (!this.#liveness.failedTooOften(at)) return;
    const silentMs = this.#liveness.silentMs(at);
    const { failures } = this.#liveness;
    this.#unhealthy(at);
    this.#skipped = false;
    this.#state = { kind: 'unresponsive', since: at, failures, lastError: error };
    this.#emit({
      note: 'server.unresponsive',
      failures,
      lastError: error,
      ...(Number.isFinite(silentMs) ? { silentMs } : {}),
    });
  }

  #exited(o: Exit): void {
    const state = this.#state;
    if (state.kind === 'starting' || state.kind === 'restarting') {
      // An exit that our own restart caused is no news.
      if (o.pid !== this.#pid) this.#state = { ...state, ended: o };
      return;
    }
    if (state.kind === 'down') {
      // One that was found at the start and never answered has gone. What answers from now on is another process.
      if (o.pid === this.#pid) this.#pid = undefined;
      return;
    }
    // Neither is the exit of an older process.
    if (this.#pid !== undefined && o.pid !== undefined && o.pid !== this.#pid) return;
    this.#unhealthy(o.at);
    this.#skipped = false;
    this.#suspension.clear();
    this.#state = { kind: 'down', since: o.at, lastError: 'the process ended' };
    this.#emit({
      note: 'server.exited',
      ...(o.pid === undefined ? {} : { pid: o.pid }),
      code: o.code,
      signal: o.signal,
    });
    this.#exitedPid = o.pid ?? this.#pid;
    this.#pid = undefined;
  }

  #restartDone(o: RestartDone): void {
    const was = this.#state;
    if ((was.kind === 'starting' || was.kind === 'restarting') && was.ended !== undefined) {
      const { pid, code, signal } = was.ended;
      if (pid !== undefined && pid === o.pid) {
        const how = signal ?? (code === null ? undefined : `exit code ${code}`);
        const error = `the new process ${pid} ended at once${how === undefined ? '' : ` (${how})`}`;
        this.#restartFailed({ kind: 'restart.failed', at: o.at, error, serverAlive: false });
        return;
      }
    }
    this.#acts = o.acts ?? this.#acts;
    const oldPid = o.oldPid ?? this.#exitedPid;
    this.#exitedPid = undefined;
    this.#pid = o.pid;
    this.#liveness.replaced(o.at);
    this.#understood = false;
    const wrong = whatIsWrong(o);
    if (wrong !== undefined) {
      this.#emit({
        note: 'server.restart_failed',
        reason: was.kind === 'restarting' ? was.reason : 'start',
        error: `what runs now ${wrong}`,
      });
      if (o.unsupported !== undefined) this.#becomeUnsupported(o.at, o.unsupported);
      else if (o.unauthorized !== undefined) this.#refused(o.at, o.unauthorized, o.means);
      return;
    }
    if (was.kind === 'restarting') {
      this.#emit({
        note: 'server.restarted',
        reason: was.reason,
        tookMs: o.tookMs,
        ...(oldPid === undefined ? {} : { oldPid }),
        ...(o.pid === undefined ? {} : { pid: o.pid }),
      });
    }
    this.#becomeHealthy(o.at, o.version, o.tookMs);
  }

  /** Both versions, if they differ: they show that it is an upgrade which does not start. */
  #versionChange(version: string | undefined): { version?: string; previousVersion?: string } {
    const previousVersion = this.#version;
    if (version === undefined || previousVersion === undefined) return {};
    return version === previousVersion ? {} : { version, previousVersion };
  }

  #restartFailed(o: Extract<ServerObservation, { kind: 'restart.failed' }>): void {
    const was = this.#state;
    if (was.kind !== 'restarting' && was.kind !== 'starting') return;
    this.#emit({
      note: 'server.restart_failed',
      reason: was.kind === 'restarting' ? was.reason : 'start',
      error: o.error,
      ...(was.kind === 'restarting' && o.serverAlive && { serverAlive: true }),
      ...this.#versionChange(o.version),
    });
    this.#liveness.forgive();
    this.breaker.failed(o.at);
    if (o.serverAlive) {
      // Nothing was done. A probe will soon show whether the server serves.
      this.#state =
        was.kind === 'restarting' ? was.before : { kind: 'down', since: o.at, lastError: o.error };
    } else {
      this.#pid = undefined;
      this.#unhealthy(o.at);
      this.#state = { kind: 'down', since: o.at, lastError: o.error };
    }
  }
}

/** What keeps the server that was just started from being watched; undefined if nothing does. */
function whatIsWrong({ unsupported, unauthorized }: RestartDone): string | undefined {
  if (unsupported !== undefined) return `is not understood: ${unsupported.answered}`;
  return unauthorized === undefined
    ? undefined
    : `refuses the credentials (status ${unauthorized})`;
}
