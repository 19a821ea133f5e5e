/**
 * How a server is started: its command, working directory and environment. They come from the configuration or are read
 * from a running process.
 */
import { delimiter, isAbsolute, join } from 'node:path';
import { serverEnvironment } from '../../lib/child-env.js';
import { statOf } from '../../lib/file-stat.js';
import { addressOf } from '../../lib/server-address.js';
import { environmentOf, type ServerUser } from '../identity/user.js';
import { procEnviron, procLink } from '../table/proc-files.js';
import type { ProcessInfo } from '../table/process-table.js';

export interface LaunchSpec {
  argv: readonly string[];
  cwd: string;
  env: NodeJS.ProcessEnv;
  /** The user to run it as, if that is not the daemon's own. */
  user?: ServerUser;
  /** True if it was read from a server that somebody else had started, whose successor this is. */
  adopted?: true;
}

export interface LaunchSpecOptions {
  url: string;
  command: readonly string[];
  directory: string;
  /** The daemon's own environment. */
  env: NodeJS.ProcessEnv;
  username?: string;
  password?: string;
  /** The password was made up here, not configured. Only a server that never runs without one gets it. */
  passwordIsMade?: boolean;
  /** `server.user`; set only if the daemon runs as root. */
  user?: ServerUser;
}

export function configuredLaunchSpec(options: LaunchSpecOptions): LaunchSpec {
  return {
    argv: withAddress(options.command, options.url),
    cwd: options.directory,
    env: serverEnv(options),
    ...(options.user && { user: options.user }),
  };
}

/** Appends `--hostname` and `--port`, each unless the command already has it. */
function withAddress(command: readonly string[], url: string): string[] {
  if (says(command, '--hostname')) return withPort(command, url);
  const { host } = addressOf(url);
  // One fixed address, whatever `localhost` resolves to first on this machine.
  const address = host === 'localhost' ? '127.0.0.1' : host;
  return withPort([...command, '--hostname', address], url);
}

function withPort(command: readonly string[], url: string): string[] {
  if (says(command, '--port')) return [...command];
  return [...command, '--port', String(addressOf(url).port)];
}

function says(command: readonly string[], option: string): boolean {
  return command.some((word) => word === option || word.startsWith(`${option}=`));
}

/** The server gets its credentials only through its environment, because everyone on the machine can read argv. */
function serverEnv(options: LaunchSpecOptions): NodeJS.ProcessEnv {
  const { env, username, password, passwordIsMade = false, user } = options;
  const passed = serverEnvironment(env);
  const own = user ? environmentOf(user, passed) : passed;
  return {
    ...own,
    // OpenCode 2 reads this variable first; 1.x does not know it.
    ...(password && { OPENCODE_PASSWORD: password }),
    ...(password && !passwordIsMade && { OPENCODE_SERVER_PASSWORD: password }),
    ...(password && !passwordIsMade && username && { OPENCODE_SERVER_USERNAME: username }),
  };
}

export interface ReadLaunchSpec {
  spec: LaunchSpec;
  /** What could not be read and was taken from the configuration instead, in words. */
  missing: string[];
}

/**
 * How a running process was started, as far as the kernel tells, so that its successor can be started the same way. A
 * process that was started without a port has chosen one, and its successor might choose another: it gets the URL's.
 */
export function readLaunchSpec(
  server: ProcessInfo,
  fallback: LaunchSpec,
  url: string,
): ReadLaunchSpec {
  const missing: string[] = [];
  const cwd = existing(procLink(`/proc/${server.pid}/cwd`));
  if (cwd === undefined) missing.push(`its working directory (now: ${fallback.cwd})`);
  const environ = environOf(server.pid);
  if (environ === undefined) missing.push("its environment (now: the daemon's own)");
  const env = environ ? withPassword(environ, fallback.env) : fallback.env;
  if (server.command.length === 0) missing.push(`its command (now: ${fallback.argv.join(' ')})`);
  const argv = server.command.length > 0 ? withPort(runnable(server, env), url) : fallback.argv;
  // `server.user` is for that user's server: root's own would lack the rights to its environment and directory.
  const user = server.uid === process.geteuid?.() ? undefined : fallback.user;
  const spec = {
    argv,
    cwd: cwd ?? fallback.cwd,
    env,
    adopted: true,
    ...(user && { user }),
  } as const;
  return { spec, missing };
}

/**
 * An OpenCode 2 without a password in its environment made one up and printed it. Its successor would make up another,
 * which nobody knows, so it gets the watchdog's. 1.x does not know this variable.
 */
function withPassword(
  environ: NodeJS.ProcessEnv,
  { OPENCODE_PASSWORD }: NodeJS.ProcessEnv,
): NodeJS.ProcessEnv {
  const hasOne = environ.OPENCODE_PASSWORD || environ.OPENCODE_SERVER_PASSWORD;
  return hasOne || !OPENCODE_PASSWORD ? environ : { ...environ, OPENCODE_PASSWORD };
}

/** argv[0] if it can still be found, else the executable that really ran, because argv[0] may be any name. */
function runnable(process: ProcessInfo, env: NodeJS.ProcessEnv): readonly string[] {
  const [program = '', ...args] = process.command;
  // A relative path is resolved against the same working directory again.
  if (program.includes('/') && !isAbsolute(program)) return process.command;
  const found = isAbsolute(program)
    ? isFile(program)
    : (env.PATH ?? '').split(delimiter).some((dir) => dir !== '' && isFile(join(dir, program)));
  return found || process.exe === undefined ? process.command : [process.exe, ...args];
}

function environOf(pid: number): NodeJS.ProcessEnv | undefined {
  const entries = procEnviron(pid) ?? [];
  if (entries.length === 0) return undefined;
  return Object.fromEntries(
    entries.map((entry) => [
      entry.slice(0, entry.indexOf('=')),
      entry.slice(entry.indexOf('=') + 1),
    ]),
  );
}

function existing(path: string | undefined): string | undefined {
  if (path === undefined) return undefined;
  return statOf(path)?.isDirectory() ? path : undefined;
}

function isFile(path: string): boolean {
  return statOf(path)?.isFile() ?? false;
}
