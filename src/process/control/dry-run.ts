/** Wraps any control for a dry run (`dryRun`): it sees what the real one sees, but owns, starts and ends nothing. */

import type { Finding } from '../identity/identity.js';
import type { TreeUsage } from '../table/memory.js';
import {
  type AttachOptions,
  ControlError,
  type ControlMode,
  type ProcessIdentity,
  type RestartedServer,
  type ServerControl,
  type StartedServer,
} from './control.js';

export class DryRunControl implements ServerControl {
  readonly #real: ServerControl;

  constructor(real: ServerControl) {
    this.#real = real;
  }

  get resumesRuns(): boolean {
    return this.#real.resumesRuns === true;
  }
  get mode(): ControlMode {
    return this.#real.mode;
  }

  /** What the real control would do is still decided and logged. */
  get acts(): boolean {
    return this.#real.acts;
  }

  attach(signal: AbortSignal, options?: AttachOptions): Promise<ProcessIdentity | null> {
    return this.#real.attach(signal, options);
  }

  async findNow(): Promise<Finding> {
    return (await this.#real.findNow?.()) ?? { kind: 'nobody' };
  }

  poke(): void {
    this.#real.poke();
  }

  async usage(): Promise<TreeUsage | undefined> {
    return this.#real.usage?.();
  }

  memory(): Promise<number | undefined> {
    return this.#real.memory();
  }

  /** Leaves even a server that one of our daemons started: it belongs to that daemon. */
  dispose(): Promise<void> {
    return this.#real.dispose('leave');
  }

  async start(): Promise<StartedServer> {
    throw refused('start');
  }

  async restart(): Promise<RestartedServer> {
    throw refused('restart');
  }

  async continueProcess(): Promise<void> {
    throw refused('continue');
  }
}

function refused(what: string): ControlError {
  return new ControlError(`dryRun is on: no ${what}`, { serverAlive: 'unknown' });
}
