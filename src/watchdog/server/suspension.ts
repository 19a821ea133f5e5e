/**
 * A server process that a signal has stopped (SIGSTOP, a terminal's Ctrl-Z): it answers nothing and ends nothing, and
 * nothing is lost as long as it is not killed. So it is let run on first; the probes that fail meanwhile count as ever,
 * and lead to a restart where that does not help.
 */
import type { Decision } from '../decision.js';
import type { ServerObservation } from '../observation.js';

/**
 * Times that one suspended server process is continued. Whoever stops it again and again means it, or something is
 * badly wrong. At the limit: the probes decide.
 */
const MAX_TRIES = 3;
/** A process that ran for this long after it was continued is stopped anew, not still. */
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
  /** `left`: decided in `dryRun` or a pause, and not decided again until somebody takes it up. */
  #act: 'none' | 'under way' | 'left' = 'none';

  constructor(emit: (decision: Decision) => void) {
    this.#emit = emit;
  }

  /** @param acts false where the process is never touched: then it is only said */
  observe(o: Observed, acts: boolean): void {
    switch (o.kind) {
      case 'server.suspended':
        this.#suspended(o, acts);
        return;
      case 'continue_process.done':
        // It runs; that it serves again is shown by the next probe.
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

  /** It answers: whoever let it run. */
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
