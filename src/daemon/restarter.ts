/**
 * Starts and restarts the server for the executor: through the control, with the monitor at rest meanwhile, and with
 * what runs afterwards told as it is.
 */

import type { Clock } from '../lib/clock.js';
import { eachLimited } from '../lib/semaphore.js';
import { isHealthy } from '../opencode/is-healthy.js';
import type { ServerApi } from '../opencode/server-api.js';
import { attached } from '../process/control/attached.js';
import {
  ControlError,
  type RestartedServer,
  type ServerAlive,
  type ServerControl,
} from '../process/control/control.js';
import type { Telemetry } from '../telemetry/logger.js';
import type { RestartReason } from '../watchdog/decision.js';
import type { Observation } from '../watchdog/observation.js';

type RestartDone = Extract<Observation, { kind: 'restart.done' }>;

/** Interrupts of stuck runs before a restart, at a time. At the limit: the rest wait. */
const MAX_INTERRUPTS = 8;
const INTERRUPT_MS = 2_000;

/** The probe of a server that was just started may take this long. */
const ASK_MS = 5_000;

export interface RestarterOptions {
  client: ServerApi;
  control: ServerControl;
  clock: Clock;
  telemetry: Telemetry;
  observe(o: Observation): void;
  /** Sessions whose runs a restart for this reason is meant to end. */
  stuck(reason: RestartReason): readonly { sessionID: string; directory?: string | undefined }[];
  /** Puts the monitor to rest while the server is being restarted. */
  pauseMonitor(): Promise<void>;
  /** `fresh`: the server is a new process, of which nothing is known yet. */
  resumeMonitor(fresh: boolean): void;
  /** Called before a restart. It settles within a second, and never rejects. */
  gatherEvidence?(reason: RestartReason): Promise<void>;
}

export class Restarter {
  readonly #o: RestarterOptions;
  readonly #stop: AbortSignal;

  /** `stop`: the daemon is stopping; what is under way ends without an observation. */
  constructor(options: RestarterOptions, stop: AbortSignal) {
    this.#o = options;
    this.#stop = stop;
  }

  /** Ends in `restart.done` or `restart.failed`. Without a reason it is the first start. */
  async run(reason?: RestartReason): Promise<void> {
    const { clock, control, observe } = this.#o;
    const signal = this.#stop;
    await this.#o.pauseMonitor();
    if (reason !== undefined) await this.#o.gatherEvidence?.(reason);
    if (reason !== undefined && control.resumesRuns === true) await this.#letGoOfStuck(reason);
    // The monitor is resumed before the result is observed, because what follows may put it to rest again.
    try {
      const server =
        reason === undefined
          ? await control.start(signal, this.#sayStarting)
          : reason === 'exited'
            ? await this.#bringBack(signal)
            : await control.restart(signal);
      const wrong = await this.#whatIsWrong();
      this.#o.resumeMonitor(true);
      observe({ kind: 'restart.done', at: clock.now(), ...server, ...wrong, acts: control.acts });
    } catch (error) {
      if (signal.aborted) return;
      const known = error instanceof ControlError;
      const serverAlive = await this.#isAlive(known ? error.serverAlive : 'unknown');
      // The daemon was told to stop meanwhile, so the result of this act does not matter any more.
      if (signal.aborted) return;
      const version = serverAlive ? undefined : await this.#installedVersion();
      if (signal.aborted) return;
      this.#o.resumeMonitor(!serverAlive);
      observe({
        kind: 'restart.failed',
        at: clock.now(),
        error: error instanceof Error ? error.message : String(error),
        serverAlive,
        ...(version !== undefined && { version }),
      });
      if (!known) throw error;
    }
  }

  /**
   * The server has ended. By now (a pause, the breaker, a backoff) somebody may have started another one: that one is
   * taken on. If it boots, the start waits for it. If it cannot be proven whose it is, the start says so.
   */
  async #bringBack(signal: AbortSignal): Promise<RestartedServer> {
    const { client, clock, control } = this.#o;
    const began = clock.now();
    const answer = await isHealthy(client, signal);
    if (answer !== null && answer.strange !== 'boots' && answer.isUnproven !== true) {
      return attached(control, { ...answer, tookMs: clock.now() - began }, signal);
    }
    signal.throwIfAborted();
    try {
      return await control.start(signal);
    } catch (error) {
      // A process that is there has had the time of a start, and answers nothing: only now it is ended.
      const isSilent = error instanceof ControlError && (await isHealthy(client, signal)) === null;
      if (!isSilent || signal.aborted || (await control.attach(signal)) === null) throw error;
      return control.restart(signal);
    }
  }

  readonly #sayStarting = (pid?: number): void => {
    this.#o.telemetry.emit('server.starting', pid === undefined ? {} : { pid });
  };

  /** An interrupt releases a run's claim (opencode-2-facts, section 6), so the new server does not continue the run. */
  async #letGoOfStuck(reason: RestartReason): Promise<void> {
    const { client } = this.#o;
    await eachLimited(this.#o.stuck(reason), MAX_INTERRUPTS, async ({ sessionID, directory }) => {
      // If the server does not answer, it is restarted nevertheless. If the run comes back, it is judged again.
      await client.abort(sessionID, directory, this.#stop, INTERRUPT_MS).catch(() => undefined);
    });
  }

  /**
   * Any answer ends a start. But another version of opencode may answer now (it may have been upgraded in place), or one
   * with another password.
   */
  async #whatIsWrong(): Promise<Pick<RestartDone, 'unsupported' | 'unauthorized' | 'means'>> {
    const probe = await this.#o.client.probe(this.#stop, ASK_MS);
    switch (probe.kind) {
      case 'unsupported': {
        const { kind: _, error: __, ...unsupported } = probe;
        return { unsupported };
      }
      case 'unauthorized': {
        const { status, means } = probe;
        return { unauthorized: status, ...(means !== undefined && { means }) };
      }
      case 'ok':
      case 'failed':
      case 'aborted':
        return {};
    }
  }

  /** Asked only after a start that failed, because it runs the program. */
  async #installedVersion(): Promise<string | undefined> {
    try {
      return await this.#o.control.installedVersion?.();
    } catch {
      // The version is only a hint. The error is reported in any case.
      return undefined;
    }
  }

  /**
   * A restart that failed does not mean that the server is dead. If the control cannot tell, the server itself is
   * asked.
   */
  async #isAlive(seen: ServerAlive): Promise<boolean> {
    if (seen !== 'unknown') return seen;
    return (await isHealthy(this.#o.client, this.#stop)) !== null;
  }
}
