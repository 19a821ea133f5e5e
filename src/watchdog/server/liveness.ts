/** Whether the server answers: probes that failed in a row, and what its event stream says against them. */

import type { Policy } from '../policy.js';
import { UnresponsivePeriods } from './unresponsive-periods.js';

/**
 * opencode's heartbeat interval where it was not measured yet (facts, section 4), and how far beyond the interval a
 * stream may be silent before it stops vouching for a slow probe.
 */
const DEFAULT_HEARTBEAT = 10_000;
const HEARTBEAT_SLACK = 1.2;

export class Liveness {
  readonly #policy: Policy['probe'];
  readonly #unresponsive = new UnresponsivePeriods();
  #failures = 0;
  #failedAt = Number.NEGATIVE_INFINITY;
  #gapAt = Number.NEGATIVE_INFINITY;
  #connected = false;
  #aliveAt = Number.NEGATIVE_INFINITY;
  #heartbeat = DEFAULT_HEARTBEAT;

  constructor(policy: Policy['probe']) {
    this.#policy = policy;
  }

  /** Consecutive. */
  get failures(): number {
    return this.#failures;
  }
  get streamConnected(): boolean {
    return this.#connected;
  }
  /** Nothing at all was heard of it since it was asked and did not answer. */
  get isUnresponsive(): boolean {
    return this.#unresponsive.isUnresponsive;
  }
  /** For how long of the time since then it was not responding, ms. */
  unresponsiveMsSince(since: number): number {
    return this.#unresponsive.msSince(since);
  }
  /** Of the event stream. */
  silentMs(at: number): number {
    return at - this.#aliveAt;
  }

  /** It said something, whatever it was. */
  heard(at: number): void {
    this.#unresponsive.heard(at, this.#heartbeat * HEARTBEAT_SLACK);
  }

  forgive(): void {
    this.#failures = 0;
  }

  streamBegins(at: number): void {
    this.#connected = true;
    this.#aliveAt = at;
  }

  streamLost(): void {
    this.#connected = false;
  }

  streamAlive(at: number, heartbeatMs?: number): void {
    this.#aliveAt = at;
    if (heartbeatMs !== undefined) this.#heartbeat = heartbeatMs;
    this.forgive();
  }

  /** A new process: what its stream said before is of no use. */
  replaced(at: number): void {
    this.#aliveAt = at;
  }

  /** What failed during a gap was not the server's fault; a stream's silence in it proves nothing either way. */
  gap(at: number): void {
    this.#gapAt = at;
    this.#aliveAt = at;
    this.forgive();
  }

  /** Whether what was asked then was asked before the daemon itself did not run. */
  isOfGap(askedAt: number): boolean {
    return askedAt <= this.#gapAt;
  }

  /** It was asked then, and gave no answer. */
  missed(askedAt: number): void {
    this.#unresponsive.missed(askedAt);
  }

  /** Whether what failed now was one failure too many. A live event stream outvotes a slow probe: a busy server is not a dead one. */
  failedTooOften(at: number): boolean {
    // A cut connection is probed at once: what fails in the same moment is one failure, not several.
    if (this.#failures > 0 && at - this.#failedAt < this.#policy.interval / 2) return false;
    this.#failedAt = at;
    this.#failures += 1;
    if (this.#failures < this.#policy.maxFailures) return false;
    return !(this.#connected && this.silentMs(at) < this.#heartbeat * HEARTBEAT_SLACK);
  }
}
