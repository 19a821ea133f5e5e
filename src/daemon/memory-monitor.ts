/**
 * Samples the memory and the number of processes of the server's process tree: the last values, the trend, and whether
 * one is over its limit.
 */
import type { Clock } from '../lib/clock.js';
import type { UsageLimit } from '../watchdog/observation.js';

/** Time between two samples. A sample reads a few files of /proc, which is cheap; a leak is slow. */
export const SAMPLE_EVERY_MS = 30_000;
/** Samples of the server's memory: half an hour. At the limit: the oldest is forgotten. */
export const MAX_SAMPLES = 60;
/** The shortest time that shows a trend: a server that starts, or a tool that builds, grows fast for minutes. */
const TREND_MS = 15 * 60_000;
/** One sample over the limit may be a passing build of a tool; this many in a row are not. */
const OVER_IN_A_ROW = 2;

/**
 * Growth that is reported: at least this much an hour, and this share of the first sample. A large server's memory
 * varies.
 */
const GROWING_BYTES_PER_HOUR = 200 * 1024 ** 2;
const GROWING_SHARE = 0.2;
const SAY_AGAIN_MS = 60 * 60_000;

export interface Usage {
  bytes: number;
  processes?: number;
  children?: readonly { name: string; pid: number; bytes: number }[];
}

export interface MemoryMonitorOptions {
  clock: Clock;
  /** `maxMemory` in bytes; 0 = no limit, for both; read at each sample. */
  config: { readonly maxMemory: number; readonly maxProcesses: number };
  /** Undefined if it cannot be read. `processes` is absent if only the memory is known. */
  measure(): Promise<Usage | undefined>;
  onLimit(reason: UsageLimit): void;
  /** Called with the first sample within the limit after `onLimit`. */
  onWithin(reason: UsageLimit): void;
  /** Called when the memory has grown for long enough to be a leak, at most once in `SAY_AGAIN_MS`. */
  onGrowing(bytesPerHour: number, children: Usage['children']): void;
}

/** One limit, and how many samples in a row were over it. */
class Limit {
  #inARow = 0;
  #isAsked = false;

  /** `over`: for long enough. `within`: for the first time since then. `limit` 0 = none. */
  take(value: number, limit: number): 'over' | 'within' | undefined {
    if (limit === 0 || value <= limit) {
      const wasAsked = this.#isAsked;
      this.#inARow = 0;
      this.#isAsked = false;
      return wasAsked ? 'within' : undefined;
    }
    this.#inARow += 1;
    if (this.#inARow < OVER_IN_A_ROW) return undefined;
    this.#isAsked = true;
    return 'over';
  }

  /** Forgets the samples. What was asked for is withdrawn only by a sample within the limit. */
  reset(): void {
    this.#inARow = 0;
  }
}

export class MemoryMonitor {
  readonly #options: MemoryMonitorOptions;
  #samples: { at: number; bytes: number }[] = [];
  readonly #memoryLimit = new Limit();
  readonly #processLimit = new Limit();
  #latest: Usage | undefined;
  #saidAt = Number.NEGATIVE_INFINITY;

  constructor(options: MemoryMonitorOptions) {
    this.#options = options;
  }

  /** Bytes at the last sample. */
  get latest(): number | undefined {
    return this.#samples.at(-1)?.bytes;
  }

  /** Processes at the last sample. */
  get processes(): number | undefined {
    return this.#latest?.processes;
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
    const { clock, config, measure, onLimit, onWithin } = this.#options;
    const { maxMemory, maxProcesses } = config;
    const usage = await measure();
    if (usage === undefined) {
      this.reset();
      return;
    }
    this.#latest = usage;
    const { bytes, processes } = usage;
    this.#samples.push({ at: clock.now(), bytes });
    if (this.#samples.length > MAX_SAMPLES) this.#samples.shift();
    const memory = this.#memoryLimit.take(bytes, maxMemory);
    const many =
      processes === undefined ? undefined : this.#processLimit.take(processes, maxProcesses);
    if (memory === 'within') onWithin('memory');
    if (many === 'within') onWithin('processes');
    if (memory === 'over') onLimit('memory');
    else if (many === 'over') onLimit('processes');
    this.#sayGrowth(usage);
  }

  #sayGrowth({ bytes, children }: Usage): void {
    const { clock, onGrowing } = this.#options;
    const growth = this.growthPerHour;
    const [first] = this.#samples;
    if (growth === undefined || first === undefined || growth < GROWING_BYTES_PER_HOUR) return;
    if (bytes - first.bytes < first.bytes * GROWING_SHARE) return;
    if (clock.now() - this.#saidAt < SAY_AGAIN_MS) return;
    this.#saidAt = clock.now();
    onGrowing(growth, children);
  }

  /** To be called for another process: its memory has nothing to do with what was measured before. */
  reset(): void {
    this.#samples = [];
    this.#memoryLimit.reset();
    this.#processLimit.reset();
    this.#latest = undefined;
  }
}
