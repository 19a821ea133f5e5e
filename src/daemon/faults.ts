/**
 * Handles an error that nobody caught: it is logged as one structured line, and the daemon ends in order with exit code
 * 1.
 *
 * After such a fault nothing that the daemon knows can be relied on, so it ends as soon as it can. It ends as it does
 * on a signal: `server.onExit` says what becomes of the server. A second fault, or an end that takes too long, ends the
 * process at once. The server is then left running for the next daemon to take over.
 */
import type { Clock, Timer } from '../lib/clock.js';
import type { Telemetry } from '../telemetry/logger.js';

/** An orderly end takes at most `server.stopGrace` and a few requests. If it takes this much longer (ms), it hangs. */
export const FAULT_STOP_MS = 15_000;

export interface FaultOptions {
  telemetry: Pick<Telemetry, 'emit' | 'flush'>;
  clock: Clock;
  /** How long the server may take to end, ms (`server.stopGrace`). */
  stopGraceMs: number;
  /** Begins the orderly end. */
  stop(): void;
  /** `process`, and its `exit`. */
  process: Pick<NodeJS.Process, 'on' | 'off'>;
  exit(code: number): void;
}

export class Faults {
  readonly #options: FaultOptions;
  #timer: Timer | undefined;
  #happened = false;

  constructor(options: FaultOptions) {
    this.#options = options;
    // Node raises a rejection that nobody handles as an uncaught exception, too (process, "unhandledRejection").
    options.process.on('uncaughtException', this.#onFault);
  }

  /** Whether there was a fault: the exit code is then 1. */
  get happened(): boolean {
    return this.#happened;
  }

  /** To be called when everything has ended. */
  end(): void {
    this.#timer?.cancel();
    this.#options.process.off('uncaughtException', this.#onFault);
  }

  readonly #onFault = (err: unknown): void => {
    const { clock, stop, stopGraceMs } = this.#options;
    const again = this.#happened;
    this.#happened = true;
    try {
      if (again) {
        this.#abandon(err, 'ending after a fault; the daemon ends now, and the server runs on');
        return;
      }
      this.#say(err, 'running; this is a fault of the daemon itself, which ends with exit code 1');
      this.#timer = clock.after(FAULT_STOP_MS + stopGraceMs, () =>
        this.#abandon(
          new Error('the end took too long'),
          'ending after a fault; the daemon ends now, and the server runs on',
        ),
      );
      stop();
    } catch {
      // Not even the log works any more.
      this.#options.exit(1);
    }
  };

  #abandon(err: unknown, doing: string): void {
    this.#say(err, doing);
    this.#options.exit(1);
  }

  #say(err: unknown, doing: string): void {
    const { telemetry } = this.#options;
    telemetry.emit('error', { err, doing });
    telemetry.flush();
  }
}
