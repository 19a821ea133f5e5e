/**
 * A restart for stuck sessions waits for the healthy runs that it would cut.
 *
 * It waits up to `restart.waitForHealthy`. After that it comes only if it cuts fewer healthy runs than it ends stuck
 * ones: the work of ten people is not given up for one session that somebody can look at. Such sessions are left to a
 * person. The clock does not run for them: one that wedges later gets the whole time.
 */
import type { Policy } from '../policy.js';

export type DeferralAnswer =
  | { kind: 'restart' }
  | { kind: 'wait'; askAgainAt: number; isNew: boolean }
  /** The time is up, and a restart would cut at least as many healthy runs as it ends stuck ones. */
  | { kind: 'nothing' };

export class Deferral {
  readonly #policy: Policy['restart'];
  #since: number | undefined;

  constructor(policy: Policy['restart']) {
    this.#policy = policy;
  }

  /** No session is stuck any more, all are left to a person, or the server gets a new process. */
  clear(): void {
    this.#since = undefined;
  }

  /**
   * @param of.stuck how many stuck sessions the restart would end
   * @param of.healthy how many healthy runs it would cut
   * @param of.allLeft whether all of these stuck sessions are left to a person: their time was up before
   */
  judge(of: { stuck: number; healthy: number; allLeft: boolean }, at: number): DeferralAnswer {
    const { stuck, healthy, allLeft } = of;
    if (healthy === 0) return { kind: 'restart' };
    if (!allLeft) {
      const isNew = this.#since === undefined;
      this.#since ??= at;
      const until = this.#since + this.#policy.waitForHealthy;
      if (at < until) return { kind: 'wait', askAgainAt: until, isNew };
    }
    return healthy < stuck ? { kind: 'restart' } : { kind: 'nothing' };
  }
}
