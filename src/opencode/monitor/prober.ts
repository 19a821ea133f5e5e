/** Asks for the server's health at a steady interval, and at once when somebody doubts it. */
import type { Clock, Timer } from '../../lib/clock.js';
import type { Observation } from '../../watchdog/observation.js';
import type { ServerApi } from '../server-api.js';

/** After this many strange answers in a row the interval grows. Until then a proxy may just have a bad moment. */
const STRANGE_IN_ROW = 5;
/** Less than the time after which the daemon thinks that its own monitor has stopped (60 s). */
const MAX_STRANGE_PAUSE_MS = 30_000;

export interface ProberOptions {
  client: ServerApi;
  clock: Clock;
  intervalMs: number;
  timeoutMs: number;
  /** Called with each scheduled probe. Other work that is due soon then needs no waking of its own. */
  onBeat?(): void;
  emit(observation: Observation): void;
}

export class Prober {
  readonly #options: ProberOptions;
  #control: AbortController | undefined;
  #timer: Timer | undefined;
  /** Answers in a row that were not understood. */
  #strange = 0;
  #inFlight: Promise<void> | undefined;

  constructor(options: ProberOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.#control) return;
    this.#control = new AbortController();
    this.#run(this.#control);
  }

  async stop(): Promise<void> {
    this.#control?.abort();
    this.#control = undefined;
    this.#timer?.cancel();
    const inFlight = this.#inFlight;
    this.#inFlight = undefined;
    await inFlight;
  }

  /** Probes now, unless a probe is in flight already. */
  hurry(): void {
    if (!this.#control || this.#inFlight) return;
    this.#timer?.cancel();
    this.#run(this.#control);
  }

  #run(control: AbortController): void {
    const { clock, intervalMs } = this.#options;
    const startedAt = clock.now();
    const probe = this.#probe(startedAt, control.signal).finally(() => {
      // The prober was stopped meanwhile, and perhaps started again: then this probe schedules no other.
      if (this.#control !== control) return;
      this.#inFlight = undefined;
      // The interval is from start to start, so that a slow answer does not delay the next probe.
      const wait = Math.max(0, startedAt + this.#pause(intervalMs) - clock.now());
      this.#timer = clock.after(wait, () => {
        this.#run(control);
        this.#options.onBeat?.();
      });
    });
    this.#inFlight = probe;
  }

  /** A server that is not understood is asked less and less often: it is unlikely to change. */
  #pause(intervalMs: number): number {
    const doublings = Math.max(0, this.#strange - STRANGE_IN_ROW);
    return Math.max(intervalMs, Math.min(intervalMs * 2 ** doublings, MAX_STRANGE_PAUSE_MS));
  }

  async #probe(startedAt: number, signal: AbortSignal): Promise<void> {
    const { client, clock, timeoutMs, emit } = this.#options;
    const result = await client.probe(signal, timeoutMs);
    if (signal.aborted) return;
    const at = clock.now();
    if (result.kind !== 'unsupported') this.#strange = 0;
    switch (result.kind) {
      case 'ok': {
        const { version } = result;
        emit({ kind: 'probe.ok', at, startedAt, ...(version !== undefined && { version }) });
        return;
      }
      case 'unauthorized': {
        const { error: _, isWithheld: __, ...seen } = result;
        emit({ ...seen, kind: 'probe.unauthorized', at, startedAt });
        return;
      }
      case 'unsupported': {
        const { error: _, ...seen } = result;
        // A server that says that it is starting is asked at the usual interval.
        this.#strange = seen.starting ? 0 : this.#strange + 1;
        emit({ ...seen, kind: 'probe.unsupported', at, startedAt });
        return;
      }
      case 'failed':
        emit({ kind: 'probe.failed', at, startedAt, failure: result.failure, error: result.error });
        return;
      case 'aborted':
        return;
      default:
        result satisfies never;
    }
  }
}
