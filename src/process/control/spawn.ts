/** `server.control: spawn`: the server is a process of our own, started by the configured command. */

import { configuredLaunchSpec } from '../server/launch-spec.js';
import type { RestartedServer, StartedServer } from './control.js';
import { LocalControl } from './local-control.js';

export class SpawnControl extends LocalControl {
  readonly mode = 'spawn';

  start(signal: AbortSignal): Promise<StartedServer> {
    return this.startBy(configuredLaunchSpec(this.local.options), signal);
  }

  restart(signal: AbortSignal): Promise<RestartedServer> {
    return this.restartBy(configuredLaunchSpec(this.local.options), signal);
  }
}
