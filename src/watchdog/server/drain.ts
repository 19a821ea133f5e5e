/**
 * Recycling: a restart that is wanted (memory, processes, schedule) but not urgent. It waits until no session is at
 * work.
 *
 * After `recycle.drainTimeout` it comes anyway, unless a run has only just begun: such a run gets `YOUNG` to finish. A
 * second `drainTimeout` bounds how long new runs can delay it. A `drainTimeout` of 0 is off: then no run is ever cut.
 */
import type { UsageLimit } from '../observation.js';
import type { Policy } from '../policy.js';
import type { Session } from '../session/state.js';

/** A run younger than this (ms) is not cut for a recycle. */
const YOUNG = 60_000;
/** At most one recycle for memory or processes in this time (ms). */
export const RECYCLE_REST = 30 * 60_000;

export type DrainAnswer =
  | { kind: 'restart'; detail: string }
  /** Without `askAgainAt`, only a session's end changes the answer. */
  | { kind: 'wait'; askAgainAt?: number };

interface Wanted {
  reason: UsageLimit | 'schedule';
  since: number;
}

export class Drain {
  readonly #policy: Policy['recycle'];
  #wanted: Wanted | undefined;
  #recycledAt = Number.NEGATIVE_INFINITY;
  /** What the restart that was decided last would do. */
  #decided: Wanted['reason'] | undefined;
  /** What `dryRun` or a pause left undone. A schedule comes first, because nothing asks for it again. */
  #left: Wanted['reason'] | undefined;
  /** A scheduled recycle that was left undone is due as soon as the server is healthy. */
  #isDue = false;

  constructor(policy: Policy['recycle']) {
    this.#policy = policy;
  }

  get wanted(): Readonly<Wanted> | undefined {
    return this.#wanted;
  }

  /** Returns false if as much is wanted already. A schedule takes the place of a limit: it comes once, and is not withdrawn. */
  want(reason: Wanted['reason'], at: number): boolean {
    const { reason: before, since = at } = this.#wanted ?? {};
    if (before !== undefined && (reason !== 'schedule' || before === 'schedule')) return false;
    this.#wanted = { reason, since };
    return true;
  }

  /** The usage is within this limit again. Returns whether a recycle was wanted for it, which is not wanted any more. */
  withdraw(reason: UsageLimit): boolean {
    if (this.#wanted?.reason !== reason) return false;
    this.#wanted = undefined;
    return true;
  }

  /**
   * Whether the last recycle was so recent that another for memory or processes must wait: a limit below what the
   * server needs must not restart it for ever.
   */
  rests(reason: Wanted['reason'], at: number): boolean {
    return reason !== 'schedule' && at - this.#recycledAt < RECYCLE_REST;
  }

  /** The server gets a new process, whatever the reason (also an exit). That does what was wanted. */
  restartDecided(at: number): void {
    if (this.#wanted !== undefined) this.#recycledAt = at;
    this.#decided = this.#wanted?.reason;
    this.#wanted = undefined;
  }

  /** The restart that was decided was not made (`dryRun`, a pause). The recycle rests nevertheless, until `takeUpLeft`. */
  restartSkipped(): void {
    if (this.#left !== 'schedule') this.#left = this.#decided ?? this.#left;
  }

  /** The old process is gone, so nothing is left undone. */
  processReplaced(): void {
    this.#left = undefined;
    this.#isDue = false;
  }

  /**
   * A scheduled recycle that was left undone is due again. Memory and processes are asked for again by the next sample
   * that is over its limit, and only by that: the pause may have been long.
   */
  takeUpLeft(): void {
    if (this.#left === undefined) return;
    this.#recycledAt = Number.NEGATIVE_INFINITY;
    if (this.#left === 'schedule') this.#isDue = true;
    this.#left = undefined;
  }

  /** Returns whether a scheduled recycle that was left undone is due, and forgets that. Called for a healthy server. */
  takeDue(): boolean {
    const isDue = this.#isDue && this.#policy.schedule !== null;
    this.#isDue = false;
    return isDue;
  }

  /**
   * A reload may have switched off what is wanted, or raised its limit. Memory and processes are asked for again by the
   * next sample that is over the limit.
   */
  policyChanged(): void {
    const isScheduled = this.#wanted?.reason === 'schedule' && this.#policy.schedule !== null;
    if (!isScheduled) this.#wanted = undefined;
  }

  judge(active: Iterable<Session>, at: number): DrainAnswer | undefined {
    if (this.#wanted === undefined) return undefined;
    const { drainTimeout } = this.#policy;
    const waited = at - this.#wanted.since;
    const holding = this.holding(active);
    if (holding.length === 0) {
      return { kind: 'restart', detail: `no session is at work, after ${Math.round(waited)} ms` };
    }
    if (drainTimeout === 0) return { kind: 'wait' };
    const timeoutAt = this.#wanted.since + drainTimeout;
    if (at < timeoutAt) return { kind: 'wait', askAgainAt: timeoutAt };
    const oldEnoughAt = Math.max(...holding.map(({ run }) => (run?.startedAt ?? 0) + YOUNG));
    const lastAt = timeoutAt + drainTimeout;
    if (at < oldEnoughAt && at < lastAt) {
      return { kind: 'wait', askAgainAt: Math.min(oldEnoughAt, lastAt) };
    }
    const sessions = holding.map(({ id }) => id).join(', ');
    return { kind: 'restart', detail: `still at work after ${drainTimeout} ms: ${sessions}` };
  }

  /** The sessions that the restart waits for. */
  holding(active: Iterable<Session>): Session[] {
    return [...active].filter((session) => this.#holds(session));
  }

  /** Whether this session keeps the server from being recycled. */
  #holds({ health }: Session): boolean {
    switch (health) {
      case 'idle':
      // A restart is what ends these.
      case 'stuck':
      case 'wedged':
        return false;
      case 'waiting':
        return this.#policy.waitForPeople;
      default:
        return true;
    }
  }
}
