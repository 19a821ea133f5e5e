/**
 * Watches a process for its end, and for being stopped by a signal.
 *
 * Only a pidfd would tell its end at once, and Node has none: a look at the process table each second, and one whenever
 * somebody has a reason to suspect something.
 */
import type { Clock, Timer } from '../../lib/clock.js';
import {
  type Followed,
  isSuspendedState,
  type ProcessRef,
  type ProcessTable,
} from '../table/process-table.js';

/** One small file of /proc each second costs nothing one could measure; `ps` does, so without /proc it is rarer. */
const LOOK_MS = { proc: 1_000, ps: 5_000 };

/** A table that cannot be read says nothing about the process. */
const UNKNOWN = '?';

export interface WatchHandlers {
  onGone(): void;
  /** It was stopped at two steady looks in a row, and at each one since: a moment's stop is no concern. */
  onSuspended(): void;
}

export class ProcessWatch {
  readonly #table: ProcessTable;
  readonly #clock: Clock;
  readonly #ref: ProcessRef;
  readonly #handlers: WatchHandlers;
  #followed: Followed | undefined;
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
  look(): void {
    this.#look(() => {});
  }

  stop(): void {
    this.#ended = true;
    this.#timer?.cancel();
    this.#followed?.close();
  }

  /** At once where the table can tell at once: this is done each second of an idle daemon. */
  #look(then: (suspended: boolean) => void): void {
    if (this.#ended) return;
    if (this.#table.follow === undefined) {
      void this.#table
        .stateOf(this.#ref)
        .catch(() => UNKNOWN)
        .then((state) => this.#saw(state, then));
      return;
    }
    let state: string | undefined = UNKNOWN;
    try {
      this.#followed ??= this.#table.follow(this.#ref);
      state = this.#followed.state();
    } catch {
      // The next look may tell.
    }
    this.#saw(state, then);
  }

  #saw(state: string | undefined, then: (suspended: boolean) => void): void {
    if (this.#ended) return;
    if (state === undefined) {
      this.stop();
      this.#handlers.onGone();
    } else then(isSuspendedState(state));
  }

  #schedule(): void {
    this.#timer = this.#clock.after(LOOK_MS[this.#table.kind], this.#steadyLook, { coarse: true });
  }

  readonly #steadyLook = () => {
    this.#look((suspended) => {
      this.#schedule();
      const wasSuspended = this.#wasSuspended;
      this.#wasSuspended = suspended;
      if (suspended && wasSuspended) this.#handlers.onSuspended();
    });
  };
}
