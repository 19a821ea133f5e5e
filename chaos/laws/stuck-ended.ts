/**
 * Every stuck session is ended in time: within its limit, the verification and some slack. Only time counts in which
 * nothing hindered the watchdog. After a hindrance the time starts again, because the watchdog counts only what it has
 * observed itself.
 */
import { type Evidence, Law } from '../evidence.js';
import type { Limits } from '../limits.js';
import type { History, Known } from './history.js';

export class StuckEnded extends Law {
  readonly name = 'every stuck session ended in time';
  readonly #history: History;
  readonly #limits: Limits;
  readonly #slackMs: number;
  /** How long each session that was ended took, from when its limit counted, ms. */
  readonly took: number[] = [];

  /** `slackMs`: for the reconnect after a fault, the inspection, the poll, and a busy machine. */
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
      // A restart would have cut more runs than it ended. Then the watchdog leaves it to a person.
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
    const unheard = calmSince > ripeAt ? kind.limitIfUnheard : undefined;
    const limit = (unheard ?? kind.limit)?.(this.#limits) ?? 0;
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
