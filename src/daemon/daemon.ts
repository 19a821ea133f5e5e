/** The daemon's life: reach the server, take control of its process, watch until told to stop, leave nothing behind. */
import type { Secrets } from '../config/credentials.js';
import type { Config } from '../config/schema.js';
import type { Secret } from '../config/secret.js';
import type { SystemClock } from '../lib/clock.js';
import { endAll } from '../lib/end-all.js';
import type { SweepOptions, Swept } from '../opencode/driver/orphans.js';
import { isHealthy } from '../opencode/is-healthy.js';
import { RecognisingApi } from '../opencode/recognising-api.js';
import type { ControlDeps, ServerControl } from '../process/control/control.js';
import { DryRunControl } from '../process/control/dry-run.js';
import type { PasswordGuard } from '../process/identity/password-guard.js';
import type { Recorder } from '../recording/recorder.js';
import type { EvidenceStore } from '../status/evidence-store.js';
import type { SessionFacts, StatusSource } from '../status/source.js';
import type { Telemetry } from '../telemetry/logger.js';
import { EventLoop } from './event-loop.js';
import { OrphanSweeper } from './orphan-sweeper.js';
import type { ServiceManager } from './service-manager.js';

/** The least that the first probe may take, whatever `probe.timeout` says: its failure leads to a start. */
const MIN_START_PROBE_MS = 1_000;

export interface DaemonOptions {
  config: Config;
  secrets: Secrets;
  /** Finds the password of OpenCode's background service, which may be registered after the daemon has started. */
  findPassword?: (() => Secret | undefined) | undefined;
  telemetry: Telemetry;
  clock: SystemClock;
  /** Chooses and makes the control of the server's process. */
  makeControl(deps: ControlDeps, signal: AbortSignal): Promise<ServerControl>;
  /** Makes the recorder, which writes down every observation for `replay`. */
  makeRecorder?(acts: boolean): Recorder | undefined;
  /** Opens the status endpoint; the watch neither waits for it nor fails with it. */
  openStatus?(source: StatusSource): { close(): Promise<void> } | undefined;
  /** The folder of what is kept for the next daemon: the day's spending, the runs at work, the parked runs. */
  stateDirectory?: string | undefined;
  /** Keeps what was seen of the server before a restart. */
  evidenceStore?: EvidenceStore | undefined;
  /** Decides whether the password may be sent; it gets the control once that is chosen. */
  guard?: PasswordGuard;
  /** Called if the server that is there at the start is not understood; an error that it throws ends the daemon. */
  onUnsupported?(says: string): void;
  /** Reports to the service manager. */
  serviceManager?: ServiceManager;
}

export class Daemon {
  readonly #options: DaemonOptions;
  readonly #client: RecognisingApi;
  #control: ServerControl | undefined;
  #loop: EventLoop | undefined;

  constructor(options: DaemonOptions) {
    this.#options = options;
    const { url, username, api } = options.config.server;
    const password = passwordOf(options);
    this.#client = new RecognisingApi({
      url,
      api,
      username,
      ...(password !== undefined && { password }),
      clock: options.clock,
      ...(options.guard && { authorise: options.guard.authorise }),
    });
  }

  /** To be called after the configuration was changed in place: everything is decided again by the new values. */
  reconfigured(): void {
    this.#loop?.reconfigured();
  }

  /** The sessions whose runs would end with the server if the daemon were stopped now. */
  async cutByStop(): Promise<SessionFacts[]> {
    if (this.#options.config.server.onExit !== 'stop') return [];
    if (!(await this.#control?.endsOnStop?.())) return [];
    return this.#loop?.status.sessions() ?? [];
  }

  /** What is known now; undefined before the watch has begun. */
  snapshot(): Record<string, unknown> | undefined {
    return this.#loop?.snapshot();
  }

  /**
   * Watches until `signal` is aborted or it gives up; settles when everything has truly stopped.
   * @returns whether it gave up restarting (`restart.giveUp: exit`)
   */
  async run(signal: AbortSignal): Promise<{ gaveUp: boolean }> {
    const { config, telemetry, clock, makeControl, makeRecorder, openStatus } = this.#options;
    const gaveUp = new AbortController();
    const stopped = AbortSignal.any([signal, gaveUp.signal]);
    let loop: EventLoop | undefined;
    let control: ServerControl | undefined;
    let recorder: Recorder | undefined;
    let status: { close(): Promise<void> } | undefined;
    let sweeper: OrphanSweeper | undefined;
    const deps: ControlDeps = {
      isHealthy: (within) => isHealthy(this.#client, within),
      onExit: (exit) => loop?.observe({ kind: 'server.exited', at: clock.now(), ...exit }),
      onSuspended: ({ pid }) => loop?.observe({ kind: 'server.suspended', at: clock.now(), pid }),
      onOutput: (line) => telemetry.emit('server.output', line),
      onNotice: (severity, notice, detail) =>
        telemetry.emit('server.notice', { severity, notice, ...(detail ? { detail } : {}) }),
    };
    try {
      const real = await makeControl(deps, stopped);
      control = config.dryRun ? new DryRunControl(real) : real;
      this.#control = control;
      this.#options.guard?.follow(real);
      // The control knows whether it can act at all only after it has seen the process that it would act on.
      const identity = await control.attach(stopped);
      recorder = makeRecorder?.(control.acts);
      loop = new EventLoop({
        config,
        telemetry,
        clock,
        client: this.#client,
        control,
        recorder,
        stateDirectory: this.#options.stateDirectory,
        evidenceStore: this.#options.evidenceStore,
        giveUp: () => gaveUp.abort(new Error('gave up restarting')),
      });
      this.#loop = loop;
      status = openStatus?.(loop.status);
      this.#options.serviceManager?.watch(loop);
      const probeMs = Math.max(MIN_START_PROBE_MS, config.probe.timeout);
      const probe = await this.#client.probe(stopped, probeMs);
      stopped.throwIfAborted();
      if (config.dryRun && probe.kind === 'failed') {
        telemetry.emit('server.notice', {
          severity: 'warn',
          notice: `a dry run starts no server, so it waits until one answers well at ${this.#client.url}`,
          detail: { error: probe.error },
        });
      }
      if (probe.kind === 'unsupported' && !probe.starting)
        this.#options.onUnsupported?.(probe.error);
      loop.start(probe, identity);
      sweeper = this.#orphanSweeper(control, loop);
      await aborted(stopped);
    } catch (error) {
      // If the daemon was told to stop before the watch had begun, that is not a failure.
      if (!stopped.aborted) throw error;
    } finally {
      // `server.onExit` is for a daemon that was told to stop. If it fails before its watch begins, the server runs on.
      const isTold = signal.aborted && !gaveUp.signal.aborted;
      const onExit = isTold ? config.server.onExit : 'leave';
      await endAll(
        [
          // First, because a request that waits for the end of an abort would hold up the closing of the endpoint.
          { doing: 'answering who waits for an abort', end: () => loop?.status.stop() },
          { doing: 'closing the status endpoint', end: () => status?.close() },
          {
            doing: 'naming the runs that end with the server',
            end: async () => {
              if (onExit === 'stop' && (await control?.endsOnStop?.())) {
                loop?.observe({ kind: 'daemon.stopping', at: clock.now() });
              }
            },
          },
          { doing: 'ending the search for orphans', end: () => sweeper?.stop() },
          { doing: 'ending the watch', end: () => loop?.stop() },
          { doing: 'letting go of the server', end: () => control?.dispose(onExit) },
          { doing: 'closing the recording', end: () => recorder?.close() },
          { doing: 'closing the connections', end: () => this.#client.close() },
        ],
        (err, doing) => telemetry.emit('error', { err, doing }),
      );
    }
    return { gaveUp: gaveUp.signal.aborted };
  }

  #orphanSweeper(control: ServerControl, loop: EventLoop): OrphanSweeper {
    const { config, telemetry, clock } = this.#options;
    return new OrphanSweeper({
      clock,
      telemetry,
      dryRun: config.dryRun,
      isWanted: () => config.recover.orphans === 'end' && control.acts && !loop.status.paused,
      sweep: (options) => this.#sweep(options),
    });
  }

  async #sweep(options: SweepOptions): Promise<Swept> {
    const { config, clock, guard } = this.#options;
    const { url, api, username } = config.server;
    const password = passwordOf(this.#options);
    // Loaded only if it is needed, so that a daemon without it stays small.
    const { OpencodeDriver } = await import('../opencode/driver/driver.js');
    const driver = new OpencodeDriver({
      url,
      api,
      username,
      ...(password !== undefined && { password }),
      clock,
      ...(guard && { authorise: guard.authorise }),
    });
    try {
      return await driver.sweep(options);
    } finally {
      await driver.close();
    }
  }
}

/**
 * Returns a function that is asked for each request, because the password may change. Undefined if there can be none.
 */
function passwordOf({
  secrets: { password },
  findPassword,
}: DaemonOptions): (() => string | undefined) | undefined {
  if (findPassword) return () => (findPassword() ?? password)?.reveal();
  return password && (() => password.reveal());
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
