/** Soon after a fault is over, the watchdog has a healthy server again, and says so. */
import { type Evidence, Law } from '../evidence.js';
import type { History } from './history.js';

export class Recovers extends Law {
  readonly name = 'well again after every fault';
  readonly #history: History;
  readonly #withinMs: number;
  #ready = false;
  #faultsOver: number | undefined;
  /** From the end of the last fault until `/readyz` is positive, ms. */
  readonly took: number[] = [];

  /** `withinMs`: enough for a boot on a busy machine, after a backoff. */
  constructor(history: History, withinMs: number) {
    super();
    this.#history = history;
    this.#withinMs = withinMs;
  }

  /** The last fault is over, and whether the server recovers is still open. */
  get pending(): boolean {
    return this.#faultsOver !== undefined;
  }

  take(e: Evidence): void {
    if (e.kind === 'ready') this.#ready = e.ready;
    if (e.kind === 'fault.begun') this.#faultsOver = undefined;
    if (e.kind === 'fault.ended' && e.broken !== undefined) {
      this.check(false, e.at, `${e.fault}: ${e.broken}`);
    }
    if (e.kind === 'fault.ended' && !this.#anyFault()) {
      this.#faultsOver = e.at;
      // The last answer came before the fault's end.
      this.#ready = false;
    }
    if (e.kind !== 'tick' || this.#faultsOver === undefined) return;
    const well =
      this.#ready && !this.#history.excuses.some((excuse) => excuse.startsWith('server'));
    const tookMs = e.at - this.#faultsOver;
    if (well) {
      this.checks += 1;
      this.took.push(tookMs);
      this.#faultsOver = undefined;
    } else if (tookMs > this.#withinMs) {
      this.#faultsOver = undefined;
      const { excuses } = this.#history;
      const what = `not ready ${Math.round(tookMs / 1000)} s after the last fault ended (excuses: ${excuses.join(', ') || 'none'})`;
      this.check(false, e.at, what, `${e.at}`);
    }
  }

  #anyFault(): boolean {
    return [...this.#history.faults.values()].some(({ ended }) => ended === undefined);
  }
}
