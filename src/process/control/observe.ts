/** `server.control: observe`: the process is watched for its end if it can be seen, and never touched. */

import type { LocalOptions } from '../server/local-server.js';
import { ControlError, type RestartedServer, type StartedServer } from './control.js';
import { LocalControl } from './local-control.js';

export class ObserveControl extends LocalControl {
  readonly mode = 'observe';
  readonly #reason: string;

  constructor(options: LocalOptions, reason: string) {
    // It needs no lock, so a daemon that acts may run beside it: that daemon's record, output and orphans stay its own.
    super({ ...options, owner: 'anybody', readOnly: true });
    this.#reason = reason;
  }

  override get acts(): boolean {
    return false;
  }

  start(): Promise<StartedServer> {
    return this.#refuse('start');
  }

  restart(): Promise<RestartedServer> {
    return this.#refuse('restart');
  }

  override async endsOnStop(): Promise<boolean> {
    return false;
  }

  /** Never ends a server, whoever started it. */
  override async dispose(): Promise<void> {
    this.local.release();
  }

  async #refuse(what: string): Promise<never> {
    const { deps } = this.local.options;
    const answers = await deps.isHealthy(new AbortController().signal);
    throw new ControlError(`server.control is "observe" (${this.#reason}): no ${what}`, {
      serverAlive: answers !== null,
    });
  }
}
