/** How commands reach the server and its process: the client, and the controls with what the configuration says. */
import type { LoadedConfig } from '../config/load.js';
import { isHealthy } from '../daemon/daemon.js';
import type { Clock } from '../lib/clock.js';
import { serverStateDir } from '../lib/state-dir.js';
import { OpencodeClient } from '../opencode/v1/client.js';
import type { createControl } from '../process/control/auto.js';
import type { ControlDeps } from '../process/control/control.js';
import { complain } from './shared.js';

export function clientFor({ config, secrets }: LoadedConfig, clock: Clock): OpencodeClient {
  const password = secrets.password?.reveal();
  return new OpencodeClient({
    url: config.server.url,
    username: config.server.username,
    ...(password === undefined ? {} : { password }),
    clock,
  });
}

/** For a command that acts once and ends: what the process says meanwhile is nobody's news, notices go to stderr. */
export function onceDeps(client: OpencodeClient): ControlDeps {
  return {
    isHealthy: (signal) => isHealthy(client, signal),
    onExit: () => {},
    onSuspended: () => {},
    onOutput: () => {},
    onNotice: (_level, message) => complain(message),
  };
}

type CreateOptions = Parameters<typeof createControl>[0];

/** The configuration of the server's process, as the controls take it. */
export function controlOptions(
  { config, secrets }: LoadedConfig,
  clock: Clock,
  deps: ControlDeps,
): CreateOptions {
  const { server } = config;
  const password = secrets.password?.reveal();
  return {
    mode: server.control,
    url: server.url,
    command: server.command,
    directory: server.directory,
    env: process.env,
    username: server.username,
    ...(password === undefined ? {} : { password }),
    readOnly: config.dryRun,
    startTimeoutMs: server.startTimeout,
    stopGraceMs: server.stopGrace,
    stateDir: serverStateDir(process.env, server.url),
    ...(server.restartCommand === null ? {} : { restartCommand: server.restartCommand }),
    restartCommandTimeoutMs: server.restartTimeout,
    ...(server.container === null ? {} : { container: server.container }),
    dockerSocket: server.dockerSocket,
    deps,
    clock,
  };
}
