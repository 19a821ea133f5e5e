/**
 * A server process that a signal has stopped (SIGSTOP, a terminal's Ctrl-Z). It does not answer and does not end, and
 * nothing is lost as long as it is not killed. So it is first continued with SIGCONT. The probes that fail meanwhile
 * count as usual, and lead to a restart if that does not help.
 */
import type { Decision } from '../decision.js';
import type { ServerObservation } from '../observation.js';

/**
 * Attempts to continue one suspended server process. If it is stopped again and again, somebody means it or something
 * is badly wrong. At the limit: the probes decide.
 */
const MAX_TRIES = 3;
/**
 * If the process was last seen stopped longer ago than this (ms), it has been stopped anew, and the tries start again.
 */
const FORGIVEN_AFTER_MS = 10_000;

type Observed = Extract<
  ServerObservation,
  {
    kind:
      | 'server.suspended'
      | 'continue_process.done'
      | 'continue_process.skipped'
      | 'continue_process.failed';
  }
>;

export class Suspension {
  readonly #emit: (decision: Decision) => void;
  #pid: number | undefined;
  #since = 0;
  #seenAt = 0;
  #tries = 0;
  /** `left`: decided in `dryRun` or a pause, and not decided again before `takeUpLeft`. */
  #act: 'none' | 'under way' | 'left' = 'none';

  constructor(emit: (decision: Decision) => void) {
    this.#emit = emit;
  }

  /** @param acts false if the process is never touched: a suspension is then only reported */
  observe(o: Observed, acts: boolean): void {
    switch (o.kind) {
      case 'server.suspended':
        this.#suspended(o, acts);
        return;
      case 'continue_process.done':
        // The process runs. The next probe shows whether it serves again.
        if (this.#act === 'under way') this.#act = 'none';
        return;
      case 'continue_process.skipped':
        if (this.#act === 'under way') this.#act = 'left';
        return;
      case 'continue_process.failed':
        if (this.#pid === undefined || this.#act !== 'under way') return;
        this.#act = 'none';
        this.#emit({
          note: 'server.continue_failed',
          pid: this.#pid,
          try: this.#tries,
          error: o.error,
        });
        return;
    }
  }

  /** The server answers again, whoever continued it. */
  answered(at: number): void {
    if (this.#pid === undefined) return;
    this.#emit({ note: 'server.continued', pid: this.#pid, tookMs: at - this.#since });
    this.#pid = undefined;
    this.#act = 'none';
  }

  /** The process is gone or is being replaced. */
  clear(): void {
    this.#pid = undefined;
    this.#tries = 0;
    this.#act = 'none';
  }

  takeUpLeft(): void {
    if (this.#act === 'left') this.#act = 'none';
  }

  #suspended({ at, pid }: Extract<Observed, { kind: 'server.suspended' }>, acts: boolean): void {
    if (this.#pid !== pid) {
      if (at - this.#seenAt > FORGIVEN_AFTER_MS) this.#tries = 0;
      this.#pid = pid;
      this.#since = at;
      this.#act = 'none';
      this.#emit({ note: 'server.suspended', pid });
    }
    this.#seenAt = at;
    if (!acts || this.#act !== 'none' || this.#tries >= MAX_TRIES) return;
    this.#tries += 1;
    this.#act = 'under way';
    this.#emit({ act: 'continue_process' });
  }
}
