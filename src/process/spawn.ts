/** `server.control: spawn`: the server is a process of our own, started by the configured command. */
import type { RestartedServer, StartedServer } from './control.js';
import { LocalControl } from './local-control.js';
import { configuredRecipe } from './recipe.js';

export class SpawnControl extends LocalControl {
  readonly mode = 'spawn';

  start(signal: AbortSignal): Promise<StartedServer> {
    return this.startBy(configuredRecipe(this.local.options), signal);
  }

  restart(signal: AbortSignal): Promise<RestartedServer> {
    return this.restartBy(configuredRecipe(this.local.options), signal);
  }
}
