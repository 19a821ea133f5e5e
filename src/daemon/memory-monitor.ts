/** Samples the resident memory of the server's process tree: the last value, its trend, and whether it is over the limit. */
import type { Clock } from '../lib/clock.js';

/** One sample reads a few files of /proc: cheap, and a leak is slow. */
export const SAMPLE_EVERY_MS = 30_000;
/** Samples of the server's memory: half an hour. At the limit: the oldest is forgotten. */
export const MAX_SAMPLES = 60;
/** A server that starts, or a tool that builds, grows fast for minutes: a trend is said of this long at least. */
const TREND_MS = 15 * 60_000;
/** One sample over the limit may be a passing build of a tool; this many in a row are not. */
const OVER_IN_A_ROW = 2;

export interface MemoryMonitorOptions {
  clock: Clock;
  /** `maxMemory` in bytes, 0 = no limit; read at each sample. */
  config: { readonly maxMemory: number };
  /** Bytes, or undefined where it cannot be read. */
  measure(): Promise<number | undefined>;
  onLimit(bytes: number): void;
}

export class MemoryMonitor {
  readonly #options: MemoryMonitorOptions;
  #samples: { at: number; bytes: number }[] = [];
  #over = 0;

  constructor(options: MemoryMonitorOptions) {
    this.#options = options;
  }

  /** Bytes at the last sample. */
  get latest(): number | undefined {
    return this.#samples.at(-1)?.bytes;
  }

  /** Growth in bytes an hour over the last half hour (least squares); undefined before 15 minutes are known. */
  get growthPerHour(): number | undefined {
    const samples = this.#samples;
    const [first] = samples;
    const last = samples.at(-1);
    if (first === undefined || last === undefined || last.at - first.at < TREND_MS)
      return undefined;
    const mean = (of: (sample: { at: number; bytes: number }) => number) =>
      samples.reduce((sum, sample) => sum + of(sample), 0) / samples.length;
    const [at, bytes] = [mean((s) => s.at), mean((s) => s.bytes)];
    const spread = samples.reduce((sum, s) => sum + (s.at - at) ** 2, 0);
    if (spread === 0) return undefined;
    const together = samples.reduce((sum, s) => sum + (s.at - at) * (s.bytes - bytes), 0);
    return Math.round((together / spread) * 3_600_000);
  }

  /** Takes one sample. Call it every `SAMPLE_EVERY_MS`. */
  async sample(): Promise<void> {
    const { clock, config, measure, onLimit } = this.#options;
    const { maxMemory } = config;
    const bytes = await measure();
    if (bytes === undefined) {
      this.reset();
      return;
    }
    this.#samples.push({ at: clock.now(), bytes });
    if (this.#samples.length > MAX_SAMPLES) this.#samples.shift();
    this.#over = maxMemory > 0 && bytes > maxMemory ? this.#over + 1 : 0;
    if (this.#over >= OVER_IN_A_ROW) onLimit(bytes);
  }

  /** Another process: its memory has nothing to do with what was measured before. */
  reset(): void {
    this.#samples = [];
    this.#over = 0;
  }
}
