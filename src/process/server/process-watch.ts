/**
 * Watches a process for its end, and for being stopped by a signal.
 *
 * Only a pidfd would report its end at once, and Node has none. So the process table is read each second, and also
 * whenever another part of the daemon has a reason for suspicion.
 */
import type { Clock, Timer } from '../../lib/clock.js';
import {
  type Followed,
  isSuspendedState,
  type ProcessRef,
  type ProcessTable,
} from '../table/process-table.js';

/**
 * Reading one small file of /proc each second costs next to nothing. Running `ps` costs more, so it is done more
 * rarely.
 */
const POLL_MS = { proc: 1_000, ps: 5_000 };

/** A table that cannot be read says nothing about the process. */
const UNKNOWN = '?';

export interface WatchHandlers {
  onGone(): void;
  /**
   * Called at each regular check that finds the process stopped, except the first in a row: a brief stop is no concern.
   */
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

  /** Checks now whether the process is still there. */
  check(): void {
    this.#checkState(() => {});
  }

  stop(): void {
    this.#ended = true;
    this.#timer?.cancel();
    this.#followed?.close();
  }

  /** Synchronous if the table allows it, because an idle daemon does this each second. */
  #checkState(then: (suspended: boolean) => void): void {
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
      // The next check may tell.
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
    this.#timer = this.#clock.after(POLL_MS[this.#table.kind], this.#steadyCheck, { coarse: true });
  }

  readonly #steadyCheck = () => {
    this.#checkState((suspended) => {
      this.#schedule();
      const wasSuspended = this.#wasSuspended;
      this.#wasSuspended = suspended;
      if (suspended && wasSuspended) this.#handlers.onSuspended();
    });
  };
}
