/**
 * What all controls of a process on this machine have in common. Each control adds only how a server comes into being.
 */

import { describeProcess } from '../identity/describe.js';
import type { Finding } from '../identity/identity.js';
import { awaitHealth } from '../server/await-health.js';
import type { LaunchSpec } from '../server/launch-spec.js';
import { type LocalOptions, LocalServer, type Proven } from '../server/local-server.js';
import type { TreeUsage } from '../table/memory.js';
import { isSuspendedState } from '../table/process-table.js';
import {
  type AttachOptions,
  ControlError,
  type ControlMode,
  type Examination,
  type OnStarting,
  type ProcessIdentity,
  type RestartedServer,
  type ServerControl,
  type StartedServer,
} from './control.js';

export abstract class LocalControl implements ServerControl {
  abstract readonly mode: ControlMode;
  protected readonly local: LocalServer;
  #refused: string | undefined;

  constructor(options: LocalOptions) {
    this.local = new LocalServer(options);
  }

  get acts(): boolean {
    return true;
  }

  abstract start(signal: AbortSignal, onStarting?: OnStarting): Promise<StartedServer>;
  abstract restart(signal: AbortSignal): Promise<RestartedServer>;

  async attach(
    _signal: AbortSignal,
    { onlyWatch = false }: AttachOptions = {},
  ): Promise<ProcessIdentity | null> {
    const found = await this.local.find();
    if (found.kind === 'proven') {
      this.onFound(found);
      const identity = await this.local.take(found);
      if (!onlyWatch) await this.local.endOrphans();
      return identity;
    }
    // Attaching is tried again and again, but the same refusal is reported only once.
    if (found.kind === 'refused' && found.message !== this.#refused) {
      this.notice('warn', found.message);
    }
    this.#refused = found.kind === 'refused' ? found.message : undefined;
    return null;
  }

  findNow(): Promise<Finding> {
    return this.local.findNow();
  }

  watched(): ProcessIdentity | undefined {
    return this.local.current;
  }

  continueProcess(): Promise<void> {
    return this.local.continueProcess();
  }

  poke(): void {
    this.local.poke();
  }

  usage(): Promise<TreeUsage | undefined> {
    return this.local.usage();
  }

  examine(): Promise<Examination> {
    return this.local.examine();
  }

  memory(): Promise<number | undefined> {
    return this.local.memory();
  }

  /** Only what is proven to be ours now: after the end of ours somebody else may have started a server. */
  async endsOnStop(): Promise<boolean> {
    const found = await this.local.find();
    if (found.kind === 'proven') return this.local.isOwn(found.server);
    return (await this.local.booting()) !== undefined;
  }

  async dispose(onExit: 'stop' | 'leave'): Promise<void> {
    try {
      if (onExit === 'stop') {
        if (await this.endsOnStop()) await this.local.end();
        // Our server may have ended before, and have left its tools behind.
        else await this.local.endOrphans();
      }
    } catch (error) {
      this.notice('error', `the server could not be stopped: ${(error as Error).message}`);
    } finally {
      this.local.release();
    }
  }

  /** Called with the server that was found, before it is watched. */
  protected onFound(_found: Proven): void {}

  protected notice(
    level: 'info' | 'warn' | 'error',
    message: string,
    fields?: Record<string, unknown>,
  ): void {
    this.local.options.deps.onNotice(level, message, fields);
  }

  /** Starts a server by this spec. If one already runs, it is taken over, or replaced if it does not get healthy. */
  protected async startBy(
    spec: LaunchSpec,
    signal: AbortSignal,
    onStarting?: OnStarting,
  ): Promise<StartedServer> {
    const { deps, clock, startTimeoutMs } = this.local.options;
    const began = clock.now();
    const found = await this.local.find();
    if (found.kind === 'refused' && !found.isOurs) {
      throw new ControlError(`cannot start opencode: ${found.message}`, { serverAlive: 'unknown' });
    }
    if (found.kind === 'proven') {
      this.notice('info', `opencode runs already: ${describeProcess(found.server)}`);
      if (isSuspendedState(found.server.state)) await this.#wake();
      const outcome = await awaitHealth({ deps, clock, timeoutMs: startTimeoutMs, signal });
      // Within a short start timeout every wait for an answer is short. A slow server gets one long wait before its end.
      const health = outcome.kind === 'healthy' ? outcome : await deps.isHealthy(signal);
      signal.throwIfAborted();
      if (health !== null) {
        const { pid } = await this.local.take(found);
        const { version } = health;
        return { pid, tookMs: clock.now() - began, ...(version !== undefined && { version }) };
      }
      await this.local.end(signal);
      // Only now: a person's opencode, and what takes no signal of ours, is not ended.
      const late = `it did not get healthy within ${startTimeoutMs} ms and was ended`;
      this.notice('warn', `${late}: another is started`);
    } else {
      // An earlier daemon may have died while its server booted: a second one would only lose the race for the port.
      const booting = await this.local.booting();
      if (booting && !(await this.local.hasServed())) {
        onStarting?.(booting.root.pid);
        return this.local.awaitLaunched(booting, signal);
      }
      if (booting) await this.local.end(signal);
      else await this.local.endOrphans();
    }
    const started = await this.local.launch(spec, signal, onStarting);
    return { ...started, tookMs: clock.now() - began };
  }

  /** A server that a signal has stopped answers nothing and has lost nothing. If it stays stopped, it is replaced. */
  async #wake(): Promise<void> {
    try {
      await this.local.continueProcess();
      this.notice('info', 'a signal had stopped it: it was continued');
    } catch (error) {
      if (!(error instanceof ControlError)) throw error;
      this.notice(
        'warn',
        `a signal has stopped it, and it could not be continued: ${error.message}`,
      );
    }
  }

  protected async restartBy(spec: LaunchSpec, signal: AbortSignal): Promise<RestartedServer> {
    const { clock } = this.local.options;
    const began = clock.now();
    const ended = await this.local.end(signal);
    const started = await this.local.launch(spec, signal);
    return {
      ...started,
      tookMs: clock.now() - began,
      ...(ended && { oldPid: ended.oldPid }),
    };
  }
}
