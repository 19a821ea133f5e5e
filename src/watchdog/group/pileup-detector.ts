/**
 * Pile-ups: several sessions retrying at once, over all directories.
 *
 * One session in retry is its own problem; several at once may be the server's. The answer to a pile-up is a restart,
 * unless a restart was tried for one within `pileup.rest`: then restarting did not help, and only aborts follow. If
 * healthy runs would be lost, the stuck sessions are aborted first, and the restart comes only if that did not help.
 */
import type { Policy } from '../policy.js';

export type PileupAnswer =
  | { kind: 'none'; askAgainAt?: number }
  /** Abort the sessions of the pile-up; no restart now. */
  | { kind: 'abort'; askAgainAt?: number }
  | { kind: 'restart'; detail: string };

export interface PileupFacts {
  /** When each retrying session's episode began. */
  episodes: readonly number[];
  /** Whether there are active runs that are neither in the pile-up nor stuck. A restart would cut them. */
  healthy(): boolean;
  /** How long an abort that is sent now may take to be seen to work, ms. */
  verifyMs: number;
  /** A provider is known to be down, so no pile-up restart is made. */
  outage: boolean;
}

export class PileupDetector {
  readonly #policy: Policy;
  #abortingSince: number | undefined;
  #restartedAt = Number.NEGATIVE_INFINITY;

  constructor(policy: Policy) {
    this.#policy = policy;
  }

  /** A pile-up restart was decided. */
  restarted(at: number): void {
    this.#restartedAt = at;
    this.#abortingSince = undefined;
  }

  /** Too few sessions are retrying for any pile-up. */
  clear(): void {
    this.#abortingSince = undefined;
  }

  /** Whether a restart for a pile-up was tried so recently that another would not help. */
  resting(at: number): boolean {
    return at - this.#restartedAt < this.#policy.pileup.rest;
  }

  judge(facts: PileupFacts, at: number): PileupAnswer {
    const { minSessions, minDuration } = this.#policy.pileup;
    const due = facts.episodes.map((startedAt) => startedAt + minDuration).sort((a, b) => a - b);
    const formsAt = due[minSessions - 1];
    if (formsAt === undefined || at < formsAt) {
      this.#abortingSince = undefined;
      return formsAt === undefined ? { kind: 'none' } : { kind: 'none', askAgainAt: formsAt };
    }
    if (this.resting(at) || facts.outage) {
      this.#abortingSince = undefined;
      return { kind: 'abort' };
    }
    const piled = due.filter((each) => each <= at).length;
    if (this.#abortingSince !== undefined || facts.healthy()) {
      this.#abortingSince ??= at;
      const standsAt = this.#abortingSince + facts.verifyMs;
      if (at < standsAt) return { kind: 'abort', askAgainAt: standsAt };
      return {
        kind: 'restart',
        detail: `${piled} sessions retrying, aborts did not end them`,
      };
    }
    return {
      kind: 'restart',
      detail: `${piled} sessions retrying for at least ${minDuration / 1_000} s`,
    };
  }
}
