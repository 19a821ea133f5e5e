/**
 * The restart budget: a backoff between restarts, and a breaker that opens when they do not help.
 *
 * The first restart in a quiet `window` is immediate, because most crashes are single and every second counts. The
 * second waits `backoff.initial`, and each further one twice as long, up to `backoff.max`. After `maxRestarts` in one
 * `window` the breaker opens for `cooldown`, which doubles with every opening until the server has stayed healthy for a
 * whole `window`. When the cooldown is over, one trial restart is let through (half-open).
 */
import { MAX_COOLDOWN_MS, type Policy } from '../policy.js';

export const BREAKER_STATES = ['closed', 'open', 'half_open'] as const;
export type BreakerState = (typeof BREAKER_STATES)[number];

type State =
  | { kind: 'closed' }
  | { kind: 'open'; until: number; cooldown: number; restarts: number }
  | { kind: 'half_open' };

export type Admission =
  | { kind: 'go' }
  | { kind: 'wait'; until: number }
  | { kind: 'opened'; until: number; cooldown: number; restarts: number }
  | { kind: 'held'; until: number };

export class CircuitBreaker {
  readonly #policy: Policy['restart'];
  #state: State = { kind: 'closed' };
  /** When each restart of the last `window` was let through, oldest first. */
  #restarts: number[] = [];
  /** How often it opened since the server was last healthy for a whole window. */
  #openings = 0;
  #healthySince: number | undefined;
  /** The state before the last restart was let through. */
  #before: { state: State; healthySince: number | undefined } | undefined;
  #failedAt = Number.NEGATIVE_INFINITY;

  constructor(policy: Policy['restart']) {
    this.#policy = policy;
  }

  get state(): Readonly<State> {
    return this.#state;
  }

  /** Restarts within the last window. */
  recent(at: number): number {
    this.#prune(at);
    return this.#restarts.length;
  }

  /** Asks for one restart now. It counts only if the answer is `go`. */
  admit(at: number): Admission {
    this.#prune(at);
    if (this.#state.kind === 'open') {
      if (at < this.#state.until) return { kind: 'held', until: this.#state.until };
      const open = this.#state;
      this.#state = { kind: 'half_open' };
      return this.#go(at, open);
    }
    if (this.#state.kind === 'half_open' || this.#restarts.length >= this.#policy.maxRestarts) {
      return this.#open(at);
    }
    const earliest = this.#earliest();
    return at < earliest ? { kind: 'wait', until: earliest } : this.#go(at);
  }

  /** The restart that was let through last was not done (`dryRun`, a pause), so it does not count. */
  withdraw(): void {
    const before = this.#before;
    if (before === undefined) return;
    this.#before = undefined;
    this.#restarts.pop();
    this.#state = before.state;
    this.#healthySince = before.healthySince;
  }

  /** The server is healthy. Returns true if that closes the breaker. */
  healthy(at: number): boolean {
    this.#healthySince ??= at;
    if (this.#state.kind !== 'half_open' && this.#state.kind !== 'open') return false;
    // If the server came back by itself, there is no need to hold restarts back.
    this.#state = { kind: 'closed' };
    return true;
  }

  /** The server is healthy still. Returns true if that closes a breaker that opened over it. */
  stillHealthy(at: number): boolean {
    // A restart that failed may have left the old server as it was.
    this.#healthySince ??= at;
    return this.#settle(at);
  }

  /** When it closes if the server stays healthy; undefined if it is closed. */
  get closesAt(): number | undefined {
    if (this.#state.kind === 'closed' || this.#healthySince === undefined) return undefined;
    const stable = this.#healthySince + this.#policy.window;
    return this.#state.kind === 'open' ? Math.max(this.#state.until, stable) : stable;
  }

  /** A restart (or first start) did not lead to health: the next one's backoff counts from here. */
  failed(at: number): void {
    this.#failedAt = at;
  }

  /** The server is not healthy any more. Returns true if its health until now closes the breaker. */
  unhealthy(at: number): boolean {
    const closes = this.#settle(at);
    this.#healthySince = undefined;
    return closes;
  }

  #go(at: number, state: State = this.#state): Admission {
    this.#before = { state, healthySince: this.#healthySince };
    this.#restarts.push(at);
    this.#healthySince = undefined;
    return { kind: 'go' };
  }

  #open(at: number): Admission {
    const cooldown = Math.min(this.#policy.cooldown * 2 ** this.#openings, MAX_COOLDOWN_MS);
    this.#openings += 1;
    // Never more than maxRestarts in any window, even if the cooldown is shorter than the window.
    const room = this.#restarts[this.#restarts.length - this.#policy.maxRestarts];
    const until = Math.max(at + cooldown, room === undefined ? 0 : room + this.#policy.window + 1);
    const restarts = this.#restarts.length;
    this.#state = { kind: 'open', until, cooldown: until - at, restarts };
    return { kind: 'opened', until, cooldown: until - at, restarts };
  }

  #earliest(): number {
    const last = this.#restarts.at(-1);
    if (last === undefined) return 0;
    const { initial, max } = this.#policy.backoff;
    // A start that took a minute to fail is no reason to try again at once.
    return (
      Math.max(last, this.#failedAt) + Math.min(initial * 2 ** (this.#restarts.length - 1), max)
    );
  }

  #prune(at: number): void {
    const from = at - this.#policy.window;
    while ((this.#restarts[0] ?? at) < from) this.#restarts.shift();
  }

  /** Takes into account how long the server has been healthy. Returns true if that closes the breaker. */
  #settle(at: number): boolean {
    if (this.#healthySince === undefined || at < this.#healthySince + this.#policy.window) {
      return false;
    }
    this.#openings = 0;
    const { closesAt } = this;
    if (closesAt === undefined || at < closesAt) return false;
    this.#state = { kind: 'closed' };
    return true;
  }
}
