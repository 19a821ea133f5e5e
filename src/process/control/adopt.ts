/**
 * `server.control: adopt`: somebody else started the server. It is watched, and if it must be restarted, we start its
 * successor with the same command line, working directory and environment.
 */

import { describeProcess } from '../identity/describe.js';
import { awaitHealth } from '../server/await-health.js';
import {
  configuredLaunchSpec,
  type LaunchSpec,
  type ReadLaunchSpec,
  readLaunchSpec,
} from '../server/launch-spec.js';
import type { LocalOptions, Proven } from '../server/local-server.js';
import { attached } from './attached.js';
import {
  ControlError,
  type OnStarting,
  type RestartedServer,
  type StartedServer,
} from './control.js';
import { LocalControl } from './local-control.js';

export class AdoptControl extends LocalControl {
  readonly mode = 'adopt';

  constructor(options: LocalOptions) {
    super({ ...options, owner: 'ours' });
  }

  #read: ReadLaunchSpec | undefined;
  #person: string | undefined;

  /** False for an opencode with its terminal interface, which belongs to the person at the terminal. */
  override get acts(): boolean {
    return this.#person === undefined;
  }

  async start(signal: AbortSignal, onStarting?: OnStarting): Promise<StartedServer> {
    await this.#readBooting();
    if (this.#read) return this.startBy(this.#spec(this.#read), signal, onStarting);
    onStarting?.();
    return this.#waitForOne(signal);
  }

  async restart(signal: AbortSignal): Promise<RestartedServer> {
    const found = await this.local.find();
    if (found.kind === 'proven') this.onFound(found);
    else await this.#readBooting();
    if (found.kind === 'nobody' && !this.#read) {
      throw new ControlError('the server is not restarted: no opencode was found to adopt', {
        serverAlive: 'unknown',
      });
    }
    const fallback = configuredLaunchSpec(this.local.options);
    return this.restartBy(this.#read ? this.#spec(this.#read) : fallback, signal);
  }

  /** Read while the server is alive: after its end the kernel no longer knows how it was started. */
  protected override onFound({ server, wrappers, role }: Proven): void {
    const person = role === 'tui' ? describeProcess(server) : undefined;
    if (person && !this.#person) {
      this.notice(
        'warn',
        `${person} is opencode with its terminal face: it is watched, not restarted`,
      );
    }
    this.#person = person;
    // Nobody but that person starts it again.
    if (person) return;
    // If npm's wrapper started the server, the wrapper's command restarts it, as the user typed it.
    this.#read = readLaunchSpec(
      wrappers.at(-1) ?? server,
      configuredLaunchSpec(this.local.options),
      this.local.options.url,
    );
  }

  /** A server that an earlier daemon restarted and that does not listen yet is started again as that daemon did. */
  async #readBooting(): Promise<void> {
    if (this.#read) return;
    const { options, table } = this.local;
    const booting = await this.local.booting();
    const info = booting && (await table.read(booting.root.pid));
    if (info) this.#read = readLaunchSpec(info, configuredLaunchSpec(options), options.url);
  }

  #spec({ spec, missing }: ReadLaunchSpec): LaunchSpec {
    if (missing.length > 0) {
      this.notice('warn', `could not read of the old server: ${missing.join(', ')}`, { missing });
    }
    return spec;
  }

  async #waitForOne(signal: AbortSignal): Promise<StartedServer> {
    const { deps, clock, startTimeoutMs } = this.local.options;
    const outcome = await awaitHealth({ deps, clock, timeoutMs: startTimeoutMs, signal });
    if (outcome.kind !== 'healthy') {
      throw new ControlError(
        `no opencode to adopt: nothing answered within ${startTimeoutMs} ms, and server.control "adopt" starts none; start it, or use "auto" or "spawn"`,
        { serverAlive: false },
      );
    }
    return attached(this, outcome, signal);
  }
}
