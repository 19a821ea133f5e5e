/**
 * Ends what killed drivers have left on the server, as `opencode-watchdog sweep` does, if `recover.orphans` asks for
 * it.
 */
import type { Clock } from '../lib/clock.js';
import type { SweepOptions, Swept } from '../opencode/driver/orphans.js';
import type { Telemetry } from '../telemetry/logger.js';
import { every } from './scheduler.js';

/**
 * Time between two sweeps. A run that nobody waits for costs money for at most this long, and the server is asked no
 * more often.
 */
export const SWEEP_EVERY_MS = 5 * 60_000;

export interface OrphanSweeperOptions {
  clock: Clock;
  telemetry: Telemetry;
  /** Read before each sweep: the configuration may change, and a person may pause the daemon. */
  isWanted(): boolean;
  dryRun: boolean;
  sweep(options: SweepOptions): Promise<Swept>;
}

export class OrphanSweeper {
  readonly #options: OrphanSweeperOptions;
  readonly #stop = new AbortController();
  readonly #endTimer: () => void;
  #sweeping: Promise<void> | undefined;

  constructor(options: OrphanSweeperOptions) {
    this.#options = options;
    this.#endTimer = every(options.clock, SWEEP_EVERY_MS, () => {
      if (!options.isWanted()) return;
      this.#sweeping ??= this.#sweep().finally(() => {
        this.#sweeping = undefined;
      });
    });
  }

  async stop(): Promise<void> {
    this.#endTimer();
    this.#stop.abort();
    await this.#sweeping;
  }

  /** Never rejects: if the server does not answer, the next sweep is soon enough. */
  async #sweep(): Promise<void> {
    const { telemetry, dryRun, sweep } = this.#options;
    try {
      const { ended, failed } = await sweep({ dryRun, signal: this.#stop.signal });
      for (const { id, title = id, pid } of ended) {
        const did = dryRun ? 'would be ended and deleted' : 'was ended and deleted';
        const notice = `the session "${title}" ${did}: the driver that made it (pid ${pid}) is gone`;
        telemetry.emit('server.notice', { severity: 'info', notice, detail: { sessionID: id } });
      }
      for (const { id, title = id, error } of failed) {
        const notice = `the session "${title}" of a driver that is gone could not be ended`;
        telemetry.emit('server.notice', {
          severity: 'warn',
          notice,
          detail: { sessionID: id, error },
        });
      }
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      const notice = 'what killed drivers have left could not be looked for; it is tried again';
      const words = error instanceof Error ? error.message : String(error);
      telemetry.emit('server.notice', { severity: 'warn', notice, detail: { error: words } });
    }
  }
}
