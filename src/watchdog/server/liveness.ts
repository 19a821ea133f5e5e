/** Whether the server answers: probes that failed in a row, and what its event stream says against them. */

import type { Policy } from '../policy.js';
import { UnresponsivePeriods } from './unresponsive-periods.js';

/**
 * opencode's heartbeat interval until it is measured, ms (facts, section 4), and for how many intervals a stream may be
 * silent before it no longer vouches for a server whose probes are slow.
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

  /** Failed probes in a row. */
  get failures(): number {
    return this.#failures;
  }
  get streamConnected(): boolean {
    return this.#connected;
  }
  /** A probe got no answer, and nothing at all was heard of the server since it was sent. */
  get isUnresponsive(): boolean {
    return this.#unresponsive.isUnresponsive;
  }
  /** How long the server was not responding since then, ms. */
  unresponsiveMsSince(since: number): number {
    return this.#unresponsive.msSince(since);
  }
  /** How long the event stream has been silent, ms. */
  silentMs(at: number): number {
    return at - this.#aliveAt;
  }

  /** Something was heard of the server, whatever it was. */
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

  /** The server is a new process. Its stream's silence counts from now. */
  replaced(at: number): void {
    this.#aliveAt = at;
  }

  /**
   * The daemon itself did not run. What failed meanwhile is not the server's fault, and the silence of its stream
   * proves nothing either way.
   */
  gap(at: number): void {
    this.#gapAt = at;
    this.#aliveAt = at;
    this.forgive();
  }

  /** Whether a request was sent before the end of the daemon's last gap. */
  isOfGap(askedAt: number): boolean {
    return askedAt <= this.#gapAt;
  }

  /** A probe that was sent then got no answer. */
  missed(askedAt: number): void {
    this.#unresponsive.missed(askedAt);
  }

  /**
   * Counts a failed probe, and returns whether it was one too many. A live event stream outvotes slow probes: a busy
   * server is not a dead one.
   */
  failedTooOften(at: number): boolean {
    // A cut connection is probed at once, so failures at the same moment count as one.
    if (this.#failures > 0 && at - this.#failedAt < this.#policy.interval / 2) return false;
    this.#failedAt = at;
    this.#failures += 1;
    if (this.#failures < this.#policy.maxFailures) return false;
    return !(this.#connected && this.silentMs(at) < this.#heartbeat * HEARTBEAT_SLACK);
  }
}
