/** Asks the server for its health in a steady rhythm, and at once when somebody doubts it. */
import type { Clock, Timer } from '../../lib/clock.js';
import type { Observation } from '../../watchdog/observation.js';
import type { ServerApi } from '../server-api.js';

/** So many strange answers in a row come in the usual rhythm: a proxy may have a bad moment. */
const STRANGE_IN_ROW = 5;
/** Below what the daemon takes for a sign that its own monitor has stopped (60 s). */
const MAX_STRANGE_PAUSE_MS = 30_000;

export interface ProberOptions {
  client: ServerApi;
  clock: Clock;
  intervalMs: number;
  timeoutMs: number;
  /** Called with each probe of the steady rhythm: whatever else is due soon costs no waking of its own then. */
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

  /** Now, unless a probe is on its way already. */
  hurry(): void {
    if (!this.#control || this.#inFlight) return;
    this.#timer?.cancel();
    this.#run(this.#control);
  }

  #run(control: AbortController): void {
    const { clock, intervalMs } = this.#options;
    const startedAt = clock.now();
    const probe = this.#probe(startedAt, control.signal).finally(() => {
      // Stopped, and perhaps started anew meanwhile: that rhythm is not ours.
      if (this.#control !== control) return;
      this.#inFlight = undefined;
      // From start to start: a slow answer does not stretch the rhythm.
      const wait = Math.max(0, startedAt + this.#pause(intervalMs) - clock.now());
      this.#timer = clock.after(wait, () => {
        this.#run(control);
        this.#options.onBeat?.();
      });
    });
    this.#inFlight = probe;
  }

  /** What is not understood is asked less and less often: it is hardly going to change. */
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
        // What says that it is starting is awaited in the usual rhythm.
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
