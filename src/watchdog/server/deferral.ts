/**
 * A restart for stuck sessions waits for the healthy runs that it would cut.
 *
 * It waits up to `restart.waitForHealthy`. After that it comes only where it cuts fewer healthy runs than it ends stuck
 * ones: ten people's work is not given for one session that somebody can look at.
 */
import type { Policy } from '../policy.js';

export type DeferralAnswer =
  | { kind: 'restart' }
  | { kind: 'wait'; askAgainAt: number; isNew: boolean }
  /** The time is up, and a restart would cost more than it ends. */
  | { kind: 'nothing' };

export class Deferral {
  readonly #policy: Policy['restart'];
  #since: number | undefined;

  constructor(policy: Policy['restart']) {
    this.#policy = policy;
  }

  /** Nobody is stuck any more, or the server is another process now. */
  clear(): void {
    this.#since = undefined;
  }

  /** @param stuck how many the restart would end. @param healthy how many runs it would cut */
  judge(stuck: number, healthy: number, at: number): DeferralAnswer {
    if (healthy === 0) return { kind: 'restart' };
    const isNew = this.#since === undefined;
    this.#since ??= at;
    const until = this.#since + this.#policy.waitForHealthy;
    if (at < until) return { kind: 'wait', askAgainAt: until, isNew };
    return healthy < stuck ? { kind: 'restart' } : { kind: 'nothing' };
  }
}
