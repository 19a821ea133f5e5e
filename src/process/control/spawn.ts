/** `server.control: spawn`: the server is a process of our own, started by the configured command. */

import { basename } from 'node:path';
import { commandEnvironment } from '../../lib/child-env.js';
import { checkBinary } from '../identity/binary.js';
import { configuredLaunchSpec } from '../server/launch-spec.js';
import type { OnStarting, RestartedServer, StartedServer } from './control.js';
import { LocalControl } from './local-control.js';

/** Short, because a start has just failed and the next one waits for this. */
const VERSION_MS = 5_000;

export class SpawnControl extends LocalControl {
  readonly mode = 'spawn';

  start(signal: AbortSignal, onStarting?: OnStarting): Promise<StartedServer> {
    return this.startBy(configuredLaunchSpec(this.local.options), signal, onStarting);
  }

  restart(signal: AbortSignal): Promise<RestartedServer> {
    return this.restartBy(configuredLaunchSpec(this.local.options), signal);
  }

  async installedVersion(): Promise<string | undefined> {
    const { command, env, directory, user } = this.local.options;
    // Root must not run another user's program as root, and `node opencode.js serve` would answer with Node's version.
    const [program = ''] = command;
    if (user !== undefined || basename(program) !== 'opencode') return undefined;
    const binary = await checkBinary(command, commandEnvironment(env), directory, VERSION_MS);
    return 'version' in binary ? binary.version : undefined;
  }
}
