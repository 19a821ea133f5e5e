/**
 * Watches a process that is not our child for its end.
 *
 * Only a pidfd would tell at once, and Node has none: a look at the process table each second, and one whenever
 * somebody has a reason to suspect something.
 */
import type { Clock, Timer } from '../lib/clock.js';
import type { ProcessRef, ProcessTable } from './process-table.js';

/** One small file of /proc each second costs nothing one could measure; `ps` does, so without /proc it is rarer. */
const LOOK_MS = { proc: 1_000, ps: 5_000 };

export class ExitWatch {
  readonly #table: ProcessTable;
  readonly #clock: Clock;
  readonly #ref: ProcessRef;
  readonly #onGone: () => void;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(table: ProcessTable, clock: Clock, ref: ProcessRef, onGone: () => void) {
    this.#table = table;
    this.#clock = clock;
    this.#ref = ref;
    this.#onGone = onGone;
    this.#schedule();
  }

  /** Looks now. */
  async look(): Promise<void> {
    // A table that cannot be read says nothing about the process: the next look may tell.
    const alive = await this.#table.isAlive(this.#ref).catch(() => true);
    if (this.#stopped || alive) return;
    this.stop();
    this.#onGone();
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  #schedule(): void {
    this.#timer = this.#clock.after(
      LOOK_MS[this.#table.kind],
      async () => {
        await this.look();
        if (!this.#stopped) this.#schedule();
      },
      { unref: true },
    );
  }
}
