/**
 * Every stuck session is ended in time: its limit, the verification and some slack, of time in which nothing stood in
 * the watchdog's way. What stands in its way starts the count anew, as the watchdog holds against a session only what
 * it has heard itself.
 */
import { type Evidence, Law } from '../evidence.js';
import type { Limits } from '../limits.js';
import type { History, Known } from './history.js';

export class StuckEnded extends Law {
  readonly name = 'every stuck session ended in time';
  readonly #history: History;
  readonly #limits: Limits;
  readonly #slackMs: number;
  /** Where the count of each began last, and how long each took that was ended, ms. */
  readonly took: number[] = [];

  /** `slackMs`: for the reconnect after a fault, the close look, the poll, and a busy machine. */
  constructor(history: History, limits: Limits, slackMs: number) {
    super();
    this.#history = history;
    this.#limits = limits;
    this.#slackMs = slackMs;
  }

  take(e: Evidence): void {
    if (e.kind === 'session.ended') {
      const known = this.#history.sessions.get(e.sessionID);
      if (known?.stuck && known.ripeAt !== undefined) {
        this.checks += 1;
        this.took.push(e.at - known.ripeAt);
      }
      return;
    }
    if (e.kind !== 'tick' || this.#history.calmSince === undefined) return;
    for (const known of this.#history.sessions.values()) this.#judge(known, e.at);
  }

  override finish(at: number): void {
    for (const known of this.#history.sessions.values()) {
      if (!known.stuck || known.begunAt === undefined) continue;
      const over = known.endedAt !== undefined;
      // A restart would have cut more than it had ended: a person was told.
      this.check(
        over || known.wedged === 'nothing',
        at,
        `${known.scenario} still runs at the end (${known.sessionID})`,
      );
    }
  }

  #judge(known: Known, at: number): void {
    const { stuck, ripeAt, endedAt, kind, scenario, sessionID } = known;
    const { calmSince } = this.#history;
    if (known.wedged === 'nothing') return;
    if (!stuck || ripeAt === undefined || endedAt !== undefined || calmSince === undefined) return;
    const limit = kind.limit?.(this.#limits) ?? 0;
    const { verify, waitForHealthy } = this.#limits;
    const deferred = known.wedged === undefined ? 0 : waitForHealthy;
    const allowed = limit + verify + this.#slackMs + deferred;
    const from = Math.max(ripeAt, calmSince);
    if (at - from <= allowed) return;
    this.violated(
      at,
      `${scenario} has been stuck for ${Math.round((at - ripeAt) / 1000)} s, ${Math.round((at - from) / 1000)} s of it with nothing in the way; allowed were ${Math.round(allowed / 1000)} s (${sessionID})`,
      sessionID,
    );
  }
}
