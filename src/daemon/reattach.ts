/**
 * Attaches to a server that came back by itself: its owner restarted it under `server.control: observe`, or somebody
 * started it during a pause or while the breaker held restarts. Until then its end and its memory are not seen.
 *
 * It only watches, so it may do so during a pause. The next start or restart ends what an earlier server has left
 * running.
 */
import type { Clock } from '../lib/clock.js';
import type { ServerControl } from '../process/control/control.js';
import type { Telemetry } from '../telemetry/logger.js';
import type { Observation } from '../watchdog/observation.js';

/**
 * Time after a failed attach, ms. It reads the descriptors of every process of the machine, and what makes it fail
 * (another user's server, a container, another host) rarely changes.
 */
export const REATTACH_AFTER_MS = 60_000;

export interface ReattachOptions {
  clock: Clock;
  telemetry: Telemetry;
  control: Pick<ServerControl, 'attach' | 'acts'>;
  server: { readonly isUnattached: boolean };
  observe(o: Observation): void;
}

export class Reattach {
  readonly #o: ReattachOptions;
  #attempt: { abort: AbortController; done: Promise<void> } | undefined;
  #notBefore = Number.NEGATIVE_INFINITY;

  constructor(options: ReattachOptions) {
    this.#o = options;
  }

  /** To be called with every turn of the loop: the probes of a server that answers bring one every few seconds. */
  review(): void {
    const { clock, server } = this.#o;
    if (this.#attempt !== undefined || !server.isUnattached) return;
    if (clock.now() < this.#notBefore) return;
    const abort = new AbortController();
    const done = this.#attach(abort.signal).finally(() => {
      this.#attempt = undefined;
    });
    this.#attempt = { abort, done };
  }

  /** Settles when no attach is under way. To be called before a restart, or the attach might find the old process. */
  async cancel(): Promise<void> {
    this.#attempt?.abort.abort(new Error('the attach is not wanted any more'));
    await this.#attempt?.done;
  }

  /** Never rejects. */
  async #attach(signal: AbortSignal): Promise<void> {
    const { clock, telemetry, control, observe } = this.#o;
    try {
      const identity = await control.attach(signal, { onlyWatch: true });
      if (signal.aborted) return;
      if (identity !== null) {
        const { pid } = identity;
        const notice = `found the process of the server that answers: pid ${pid}`;
        telemetry.emit('server.notice', { severity: 'info', notice, detail: { pid } });
        // Only now does the control know whether it may touch this process: a person may sit in front of it.
        const { acts } = control;
        observe({ kind: 'server.attached', at: clock.now(), running: true, pid, acts });
        return;
      }
    } catch (err) {
      if (signal.aborted) return;
      telemetry.emit('error', { err, doing: 'attaching to the server' });
    }
    this.#notBefore = clock.now() + REATTACH_AFTER_MS;
  }
}
