/**
 * `server.control: external`: somebody else restarts the server (a container's restart policy, a kubelet, another
 * service manager). We end it and wait for the new one. We never start one, because then there would be two.
 */
import { awaitHealth, type HealthOutcome } from '../server/await-health.js';
import type { LocalOptions } from '../server/local-server.js';
import { isLocalHost } from '../table/port.js';
import { type ProcessRef, sameProcess } from '../table/process-table.js';
import { attached } from './attached.js';
import {
  ControlError,
  type OnStarting,
  type RestartedServer,
  type StartedServer,
} from './control.js';
import { LocalControl } from './local-control.js';

export class ExternalControl extends LocalControl {
  readonly mode = 'external';

  constructor(options: LocalOptions) {
    super({ ...options, owner: 'anybody' });
  }

  async start(signal: AbortSignal, onStarting?: OnStarting): Promise<StartedServer> {
    onStarting?.();
    const outcome = await this.#await(signal, undefined);
    return this.#started(outcome, signal, 'no opencode answers, and');
  }

  async restart(signal: AbortSignal): Promise<RestartedServer> {
    const { clock } = this.local.options;
    const began = clock.now();
    const found = await this.local.find();
    const old = found.kind === 'proven' ? found.server : undefined;
    if (found.kind === 'nobody') await this.#refuseUnseen(signal);
    // The new server may be there before our next poll, so a port that is taken again at once is no failure here.
    const ended = await this.local.end(signal, { awaitPort: false });
    if (!ended) this.notice('info', 'no server was running; waiting for one');
    const outcome = await this.#await(signal, old);
    const started = await this.#started(outcome, signal, 'the old server was ended, but');
    return {
      ...started,
      tookMs: clock.now() - began,
      ...(ended && { oldPid: ended.oldPid }),
    };
  }

  override async endsOnStop(): Promise<boolean> {
    return false;
  }

  /** The server is left to its manager. */
  override async dispose(): Promise<void> {
    this.local.release();
  }

  /**
   * A server that answers but cannot be seen cannot be ended: a wait for a new one would mistake the old one for it.
   */
  async #refuseUnseen(signal: AbortSignal): Promise<void> {
    const { deps, url } = this.local.options;
    const local = await isLocalHost(this.local.host);
    const answers = (await deps.isHealthy(signal)) !== null;
    if (local && !answers) return;
    throw new ControlError(
      `the server at ${url} is not ended: no process that can be seen listens there. It runs on another machine or in another network namespace: let both join the network and PID namespaces of a third container, as deploy/compose.yaml does, or be containers of one pod, or use server.control "docker" or "command"`,
      { serverAlive: answers },
    );
  }

  #await(signal: AbortSignal, old: ProcessRef | undefined): Promise<HealthOutcome> {
    const { deps, clock, startTimeoutMs } = this.local.options;
    return awaitHealth({
      deps,
      clock,
      timeoutMs: startTimeoutMs,
      signal,
      accept: async () => {
        const found = await this.local.find();
        return !(old && found.kind === 'proven' && sameProcess(found.server, old));
      },
    });
  }

  async #started(
    outcome: HealthOutcome,
    signal: AbortSignal,
    what: string,
  ): Promise<StartedServer> {
    if (outcome.kind !== 'healthy') {
      throw new ControlError(
        `${what} nobody started a new one within ${this.local.options.startTimeoutMs} ms (server.startTimeout); server.control is "external", so this daemon starts none: look at what manages the server`,
        { serverAlive: false },
      );
    }
    return attached(this, outcome, signal);
  }
}
