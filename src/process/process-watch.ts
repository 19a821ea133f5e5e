/**
 * Watches a process for its end, and for being stopped by a signal.
 *
 * Only a pidfd would tell its end at once, and Node has none: a look at the process table each second, and one whenever
 * somebody has a reason to suspect something.
 */
import type { Clock, Timer } from '../lib/clock.js';
import { isSuspendedState, type ProcessRef, type ProcessTable } from './process-table.js';

/** One small file of /proc each second costs nothing one could measure; `ps` does, so without /proc it is rarer. */
const LOOK_MS = { proc: 1_000, ps: 5_000 };

export interface WatchHandlers {
  onGone(): void;
  /** It was stopped at two steady looks in a row, and at each one since: a moment's stop is nobody's trouble. */
  onSuspended(): void;
}

export class ProcessWatch {
  readonly #table: ProcessTable;
  readonly #clock: Clock;
  readonly #ref: ProcessRef;
  readonly #handlers: WatchHandlers;
  #timer: Timer | undefined;
  #ended = false;
  #wasSuspended = false;

  constructor(table: ProcessTable, clock: Clock, ref: ProcessRef, handlers: WatchHandlers) {
    this.#table = table;
    this.#clock = clock;
    this.#ref = ref;
    this.#handlers = handlers;
    this.#schedule();
  }

  /** Looks now whether it is still there. */
  async look(): Promise<string | undefined> {
    // A table that cannot be read says nothing about the process: the next look may tell.
    const state = await this.#table.stateOf(this.#ref).catch(() => '?');
    if (!this.#ended && state === undefined) {
      this.stop();
      this.#handlers.onGone();
    }
    return state;
  }

  stop(): void {
    this.#ended = true;
    this.#timer?.cancel();
  }

  async #steadyLook(): Promise<void> {
    const suspended = isSuspendedState(await this.look());
    if (this.#ended) return;
    if (suspended && this.#wasSuspended) this.#handlers.onSuspended();
    this.#wasSuspended = suspended;
  }

  #schedule(): void {
    this.#timer = this.#clock.after(
      LOOK_MS[this.#table.kind],
      async () => {
        await this.#steadyLook();
        if (!this.#ended) this.#schedule();
      },
      { coarse: true },
    );
  }
}
