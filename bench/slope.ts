/** Decides whether memory grows with the traffic: fits a line through the samples, and checks its slope. */
import { median } from './figures.js';

export interface Sample {
  /** Events so far. */
  events: number;
  bytes: number;
}

/** After this share of the traffic everything bounded is full and every code path is compiled. */
export const WARM_UP_SHARE = 0.4;
const MILLION = 1_000_000;
const MB = 1_000_000;
/** The limit, in MB for each million events. */
export const MAX_GROWTH = 2;
const MIN_SAMPLES = 10;

export interface Growth {
  /** MB for each million events, after the warm-up. */
  slope: number;
  /** How many samples the slope is based on. */
  samples: number;
}

/**
 * Theil-Sen: the median of the slopes between all pairs. A single late collection hardly moves it, but would move a
 * least-squares line.
 */
export function growthOf(samples: readonly Sample[], warmUp = WARM_UP_SHARE): Growth | undefined {
  const last = samples.at(-1)?.events ?? 0;
  const first = samples[0]?.events ?? 0;
  const settled = samples.filter(({ events }) => events >= first + (last - first) * warmUp);
  if (settled.length < MIN_SAMPLES) return undefined;
  const slopes: number[] = [];
  for (const [i, a] of settled.entries()) {
    for (const b of settled.slice(i + 1)) {
      if (b.events > a.events) slopes.push((b.bytes - a.bytes) / (b.events - a.events));
    }
  }
  if (slopes.length === 0) return undefined;
  return { slope: (median(slopes) * MILLION) / MB, samples: settled.length };
}

/** Too few samples prove nothing, so they do not pass. */
export const isFlat = (growth: Growth | undefined): boolean =>
  growth !== undefined && growth.slope <= MAX_GROWTH;

/**
 * Descriptors come and go with the requests in flight. So the median of the last quarter is compared with that of the
 * second, with this much to spare.
 */
const SPARE_HANDLES = 10;

export function handlesGrow(handles: readonly number[]): boolean {
  const quarter = Math.ceil(handles.length / 4);
  const early = median(handles.slice(quarter, 2 * quarter));
  return median(handles.slice(-quarter)) > early + SPARE_HANDLES;
}
