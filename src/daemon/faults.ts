/**
 * What nobody caught: it becomes one structured line, and the daemon ends in order with exit code 1.
 *
 * After such a fault nothing that the daemon knows can be relied on, so it watches no longer than it must. It ends the
 * way it ends on a signal: what becomes of the server is as `server.onExit` says. A second fault, or an end that takes
 * too long, ends the process at once; the server is left running then, for the next daemon to take up.
 */
import type { Clock, Timer } from '../lib/clock.js';
import type { Telemetry } from '../telemetry/logger.js';

/** An orderly end is bounded by `server.stopGrace` and a few requests; one that takes this much longer hangs. */
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

  /** Whether there was one: then the exit code is 1. */
  get happened(): boolean {
    return this.#happened;
  }

  /** Everything has ended. */
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
      // Not even that can be said any more.
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
