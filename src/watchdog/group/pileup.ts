/**
 * Which sessions are in a pile-up, and what follows from the answer of `pileup-detector.ts`: a restart, or an abort of
 * each.
 */

import { declareStuck } from '../session/abort-flow.js';
import type { Context } from '../session/rule-context.js';
import { isRetrying } from '../session/rules.js';
import type { Runs } from '../session/runs.js';
import type { Run, Session } from '../session/state.js';
import { PileupDetector } from './pileup-detector.js';

interface Piled {
  session: Session;
  run: Run;
  since: number;
}

export class Pileups {
  readonly #context: Context;
  readonly #runs: Runs;
  readonly #pileup: PileupDetector;
  /** The sessions that the last pile-up restart was decided for. */
  #ended: ReadonlySet<string> = new Set();
  /** There is no pile-up before `until`, as long as no episode changes. */
  #none = { until: Number.NEGATIVE_INFINITY, news: -1 };

  constructor(context: Context, runs: Runs) {
    this.#context = context;
    this.#runs = runs;
    this.#pileup = new PileupDetector(context.policy);
  }

  /** Whether the last pile-up restart is meant to end this session's run. It only cuts the others. */
  isEnded(sessionID: string): boolean {
    return this.#ended.has(sessionID);
  }

  /** A pile-up restart was decided. */
  restarted(at: number): void {
    this.#pileup.restarted(at);
  }

  /** `restart` tries a restart, and returns whether it was decided. */
  review(at: number, restart: (detail: string, piled: ReadonlySet<Session>) => boolean): void {
    const { policy, outages, wakeAt } = this.#context;
    const { retrying, episodeNews } = this.#runs.registry;
    const { minSessions, minDuration } = policy.pileup;
    if (minDuration === 0 || retrying.size < minSessions) {
      this.#pileup.clear();
      return;
    }
    // This runs with nearly every observation of a thousand sessions, so it looks closer only if the answer may have
    // changed.
    if (at < this.#none.until && episodeNews === this.#none.news) {
      wakeAt(this.#none.until);
      return;
    }
    const piled = this.#piled();
    // A run that has failed only for a short time may still work. A restart would cut it like a healthy one.
    const formed = piled.filter(({ since }) => at - since >= minDuration);
    const inPile = new Set(formed.map(({ session }) => session));
    const formedElsewhere = formed.filter(({ run }) => !outages.isOut(run));
    const answer = this.#pileup.judge(
      {
        episodes: piled.map(({ since }) => since),
        healthy: () => this.#runs.registry.healthy(inPile).length > 0,
        verifyMs: this.#context.verifyMs(at),
        outage: formedElsewhere.length < minSessions,
      },
      at,
    );
    if (answer.kind !== 'restart') {
      if (answer.askAgainAt !== undefined) wakeAt(answer.askAgainAt);
      if (answer.kind === 'none') {
        this.#none = { until: answer.askAgainAt ?? Number.POSITIVE_INFINITY, news: episodeNews };
        return;
      }
    } else if (restart(answer.detail, inPile)) {
      this.#ended = new Set([...inPile].map(({ id }) => id));
      return;
    }
    // Sessions are aborted before a restart, or instead of one if restarts rest, are held back, or are not ours to
    // decide.
    for (const each of piled) this.#abort(each, at);
  }

  /**
   * The sessions that count for a pile-up. Without an event stream, only a status proves that a session retries. A
   * session that waits for a near time that its provider named recovers by waiting, so it does not count.
   */
  #piled(): Piled[] {
    return [...this.#runs.registry.retrying].flatMap((session) => {
      const { run } = session;
      if (run?.episode === undefined || !isRetrying(run)) return [];
      if (run.episode.named !== undefined) return [];
      if (run.status === 'busy' && !this.#runs.listening) return [];
      return [{ session, run, since: run.episode.startedAt }];
    });
  }

  /**
   * Aborts a session once it has been in the pile-up for `pileup.minDuration` and has no attempt in flight that may
   * work.
   */
  #abort({ session, run, since }: Piled, at: number): void {
    if (run.abortFlow !== undefined) return;
    const { minDuration } = this.#context.policy.pileup;
    const due = Math.max(since + minDuration, this.#runs.sparedUntil(session, run));
    if (at >= due) {
      const exceeded = { reason: 'pileup', limit: minDuration, value: at - since } as const;
      declareStuck(this.#context, session, run, exceeded, at);
      this.#runs.review(session, at);
    } else if (Number.isFinite(due)) {
      this.#context.wakeAt(due);
    }
  }
}
