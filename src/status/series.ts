/**
 * The last days in figures for the page's charts: one point for every five minutes, built from `health.summary`.
 * Bounded.
 */
import type { TelemetryRecord } from '../telemetry/logger.js';
import { HEALTHS } from '../watchdog/decision.js';

export const STEP_MS = 5 * 60_000;
/** Points of the charts: a week in steps of five minutes. At the limit: the oldest is forgotten. */
export const MAX_POINTS = 2_016;

export interface Point {
  /** The start of the five minutes, epoch ms. */
  at: number;
  /** The most sessions at once. */
  active: number;
  retrying: number;
  /** Stuck or wedged. */
  stuck: number;
  /** The highest value. */
  memoryBytes?: number;
  /** What the day had cost by then, US dollars. */
  costTodayUsd: number;
  tokensToday: number;
}

export class Series {
  /** Oldest first. */
  readonly #points: Point[] = [];

  take(record: TelemetryRecord): void {
    if (record.event !== 'health.summary') return;
    const { fields, time } = record;
    const at = Math.floor(time / STEP_MS) * STEP_MS;
    const seen = {
      active: sum(HEALTHS.filter((health) => health !== 'idle').map((health) => fields[health])),
      retrying: fields.retrying,
      stuck: fields.stuck + fields.wedged,
    };
    const last = this.#points.at(-1);
    if (last === undefined || last.at !== at) {
      this.#points.push({
        at,
        ...seen,
        costTodayUsd: fields.costTodayUsd ?? 0,
        tokensToday: fields.tokensToday ?? 0,
        ...(fields.serverMemoryBytes === undefined
          ? {}
          : { memoryBytes: fields.serverMemoryBytes }),
      });
      if (this.#points.length > MAX_POINTS) this.#points.shift();
      return;
    }
    last.active = Math.max(last.active, seen.active);
    last.retrying = Math.max(last.retrying, seen.retrying);
    last.stuck = Math.max(last.stuck, seen.stuck);
    last.costTodayUsd = fields.costTodayUsd ?? last.costTodayUsd;
    last.tokensToday = fields.tokensToday ?? last.tokensToday;
    const memory = Math.max(last.memoryBytes ?? 0, fields.serverMemoryBytes ?? 0);
    if (memory > 0) last.memoryBytes = memory;
  }

  /** @param from epoch ms */
  since(from: number): Point[] {
    return this.#points.filter(({ at }) => at + STEP_MS > from);
  }
}

/** A log from another version may lack the number for some health. */
function sum(amounts: readonly (number | undefined)[]): number {
  return amounts.reduce<number>((total, amount) => total + (amount ?? 0), 0);
}
