/** How commands reach the server and its process: the client, and the controls as the configuration describes them. */
import type { LoadedConfig } from '../config/load.js';
import { makePassword } from '../config/made-password.js';
import type { Config } from '../config/schema.js';
import { commandEnvironment } from '../lib/child-env.js';
import type { Clock } from '../lib/clock.js';
import { serverStateDir } from '../lib/state-dir.js';
import { isHealthy } from '../opencode/is-healthy.js';
import { RecognisingDriverApi } from '../opencode/recognising-driver-api.js';
import type { ServerApi } from '../opencode/server-api.js';
import type { createControl } from '../process/control/auto.js';
import type { ControlDeps } from '../process/control/control.js';
import { type BinaryCheck, checkBinary, findProgram } from '../process/identity/binary.js';
import { PasswordGuard } from '../process/identity/password-guard.js';
import { findUser, type ServerUser } from '../process/identity/user.js';
import type { LockOptions } from '../process/lock.js';
import { complain, EXIT, ExitError } from './shared.js';

/** The guard of a command that acts once. The daemon's guard learns more from its control. */
export function guardFor({ config }: LoadedConfig, clock: Clock): PasswordGuard {
  const { url, control, command, user: name } = config.server;
  // Only root can start a server of another user. A command that reads goes on without such a user.
  const user = name !== null && process.geteuid?.() === 0 ? findUser(name) : undefined;
  return new PasswordGuard({
    url,
    mode: control,
    command,
    clock,
    caller: 'command',
    ...(user && { user }),
  });
}

/** `server.user`, if it is set. @throws ExitError, exit code 2, if it cannot be used */
export function serverUser({ config }: LoadedConfig): ServerUser | undefined {
  const { user: name } = config.server;
  if (name === null) return undefined;
  if (process.geteuid?.() !== 0) {
    throw new ExitError(
      EXIT.usage,
      `server.user: "${name}" is only for a daemon that runs as root; this one runs as uid ${process.geteuid?.()}. Remove it: the server then runs as the daemon's own user.`,
    );
  }
  const user = findUser(name);
  if (user !== undefined) return user;
  throw new ExitError(
    EXIT.usage,
    `server.user: this system knows no user "${name}"; expected a name or uid that \`id ${name}\` knows.`,
  );
}

/** The server's API, whichever it speaks (`server.api`), with everything that the driver needs. */
export function apiFor(loaded: LoadedConfig, clock: Clock): RecognisingDriverApi {
  const { config, secrets } = loaded;
  const { authorise } = guardFor(loaded, clock);
  const password = secrets.password?.reveal();
  const { url, username, api } = config.server;
  const credentials = { username, ...(password === undefined ? {} : { password }) };
  return new RecognisingDriverApi({ url, api, ...credentials, clock, authorise });
}

const LOOPBACK = /^(localhost|127(\.\d+){3}|\[::1\])$/;

/** For a command that may start a server: if nobody gave a password, the server gets one of ours. */
export function ensurePassword(loaded: LoadedConfig): void {
  const { config, secrets } = loaded;
  const { url, control } = config.server;
  // A server elsewhere may not be ours to start, and somebody else's server must not get a password of ours.
  const maySpawn =
    control === 'spawn' || (control === 'auto' && LOOPBACK.test(new URL(url).hostname));
  if (secrets.password !== undefined || !maySpawn || config.dryRun) return;
  secrets.password = makePassword(process.env, url);
  loaded.passwordIsMade = true;
}

/** True as root where `server.user` is somebody else: root must not run that user's files. */
export function isForOtherUser({ user }: Config['server']): boolean {
  return user !== null && process.geteuid?.() === 0 && findUser(user)?.uid !== 0;
}

/** The binary that `server.command` names, looked up where the server is started. */
export async function checkServerBinary({ server }: Config): Promise<BinaryCheck> {
  const { command, directory, user } = server;
  const env = commandEnvironment(process.env);
  const path = isForOtherUser(server) ? findProgram(command[0] ?? '', env, directory) : undefined;
  if (path === undefined) return checkBinary(command, env, directory);
  return { found: true, path, notAsked: `root does not run what ${user} runs (server.user)` };
}

/** Who starts a server that is not ours to start. */
const STARTED_BY: Readonly<Record<Exclude<Config['server']['control'], 'auto' | 'spawn'>, string>> =
  {
    adopt: 'whoever started the server',
    external: 'its own supervisor',
    command: 'server.restartCommand',
    docker: 'the container engine',
    service: 'the next OpenCode client',
    observe: 'somebody else',
  };

/** Why a command may not start the server; undefined if it may. */
export function startRefusal({ server, dryRun }: Config): string | undefined {
  const { control, command } = server;
  if (dryRun) return `dryRun is on: "${command.join(' ')}" would be started`;
  if (control === 'auto' || control === 'spawn') return undefined;
  return `server.control is ${control}: ${STARTED_BY[control]} starts it, not this command`;
}

/** The lock that makes this process the only one of ours that acts on the server's process. */
export function lockOptions({ config }: LoadedConfig, clock: Clock): LockOptions {
  const { url } = config.server;
  const { env } = process;
  return { url, env, stateDir: serverStateDir(env, url), clock, onWait: complain };
}

/** For a command that acts once and ends: it ignores what the process says meanwhile, and prints notices to stderr. */
export function onceDeps(client: Pick<ServerApi, 'probe'>): ControlDeps {
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
  loaded: LoadedConfig,
  clock: Clock,
  deps: ControlDeps,
): CreateOptions {
  const { config, secrets } = loaded;
  const { server } = config;
  const user = serverUser(loaded);
  const password = secrets.password?.reveal();
  return {
    mode: server.control,
    url: server.url,
    command: server.command,
    directory: server.directory,
    env: process.env,
    username: server.username,
    ...(password === undefined ? {} : { password }),
    ...(loaded.passwordIsMade && { passwordIsMade: true }),
    readOnly: config.dryRun,
    ...(user && { user }),
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
