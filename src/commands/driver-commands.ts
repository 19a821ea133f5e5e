/** What the commands that drive opencode share: the driver, Ctrl-C, and errors turned into exit codes. */

import type { LoadedConfig } from '../config/load.js';
import type { Config } from '../config/schema.js';
import { missingUnit, parseDuration } from '../config/units.js';
import { OpencodeDriver } from '../index.js';
import { SystemClock } from '../lib/clock.js';
import { DriverError, type DriverErrorKind } from '../opencode/driver/error.js';
import { LONGEST_MS } from '../opencode/driver/limits.js';
import { interruptible } from './interruptible.js';
import { checkServerBinary, guardFor, isForOtherUser, startRefusal } from './server.js';
import {
  type CommonOptions,
  commonOf,
  complain,
  deliverJson,
  EXIT,
  type ExitCode,
  ExitError,
  loadForCommand,
  loadToAct,
} from './shared.js';

export interface DrivingOptions extends CommonOptions {
  json?: boolean;
}

export interface Driving {
  driver: OpencodeDriver;
  /** Aborted by Ctrl-C, SIGTERM and SIGHUP. */
  signal: AbortSignal;
}

/** For a command that changes nothing: keys that need trust are left out. */
export const READS = { reads: true } as const;

/** Runs a command with a driver of the configured server. Its errors become the exit codes of the contract. */
export async function drive(
  options: DrivingOptions,
  work: (driving: Driving) => Promise<number>,
  { reads = false }: { reads?: boolean } = {},
): Promise<number> {
  const wanted = commonOf(options);
  return driveLoaded(options, reads ? loadForCommand(wanted) : await loadToAct(wanted), work);
}

/** As `drive`, for a command that has read its configuration. */
export async function driveLoaded(
  { json = false }: DrivingOptions,
  loaded: LoadedConfig,
  work: (driving: Driving) => Promise<number>,
): Promise<number> {
  const { server, loop } = loaded.config;
  // The driver finds a password that we made by itself. Given as a person's, it would go to opencode 1.x as well.
  const given = loaded.passwordIsMade ? undefined : loaded.secrets.password;
  // OpenCode's background service may register later, or again, while the command runs.
  const password = () => (loaded.findPassword?.() ?? given)?.reveal();
  const { authorise } = guardFor(loaded, new SystemClock());
  const refusal = startRefusal(loaded.config) ?? otherUserRefusal(server);
  const driver = new OpencodeDriver({
    authorise,
    url: server.url,
    api: server.api,
    username: server.username,
    password,
    command: server.command,
    serverDirectory: server.directory,
    findBinary: () => checkServerBinary(loaded.config),
    startTimeoutMs: server.startTimeout,
    loop,
    onNotice: complain,
    ...(refusal !== undefined && { startServer: refuseStart(refusal) }),
  });
  const says = 'interrupted: aborting and deleting what runs …';
  const { code, interrupted } = await interruptible(says, async (signal) => {
    try {
      return await work({ driver, signal });
    } catch (error) {
      if (!(error instanceof DriverError)) throw error;
      complain(error.message);
      if (json) await deliverJson({ ok: false, error });
      // This is a bug: a report needs the stack.
      if (error.kind === 'internal' && error.cause instanceof Error) {
        complain(error.cause.stack ?? error.cause.message);
      }
      return EXIT_OF[error.kind];
    } finally {
      await driver.close();
    }
  });
  // If everything was done when the signal came, the signal has ended nothing.
  return code === EXIT.done ? code : (interrupted ?? code);
}

/** The driver starts a server as the user that it runs as itself. */
function otherUserRefusal(server: Config['server']): string | undefined {
  if (!isForOtherUser(server)) return undefined;
  return `server.user is "${server.user}", and the driver would start the server as root: start it with \`opencode-watchdog check --start\``;
}

const refuseStart = (why: string) => async (): Promise<never> => {
  throw new DriverError('unreachable', `${why}.`);
};

const EXIT_OF: Record<DriverErrorKind, ExitCode> = {
  usage: EXIT.usage,
  bad_model_spec: EXIT.usage,
  model_unknown: EXIT.usage,
  variant_unknown: EXIT.usage,
  agent_unknown: EXIT.usage,
  binary_not_found: EXIT.unreachable,
  unreachable: EXIT.unreachable,
  unauthorized: EXIT.unauthorized,
  server: EXIT.failed,
  session_not_found: EXIT.failed,
  session_in_retry: EXIT.failed,
  session_busy: EXIT.failed,
  abort_failed: EXIT.failed,
  delete_failed: EXIT.failed,
  provider_not_connected: EXIT.failed,
  provider_unreachable: EXIT.failed,
  provider_failed: EXIT.failed,
  run_failed: EXIT.failed,
  empty_reply: EXIT.failed,
  truncated: EXIT.failed,
  loop: EXIT.failed,
  step_limit: EXIT.failed,
  timeout: EXIT.failed,
  aborted: EXIT.failed,
  internal: EXIT.failed,
};

/** A flag's duration. @throws ExitError with code 2 */
export function durationOf(flag: string, text: string): number {
  const ms = parseDuration(text);
  const unitless = missingUnit(text);
  if (unitless !== undefined) {
    throw new ExitError(EXIT.usage, `${flag} is ${text}; expected ${unitless}`);
  }
  if (ms !== undefined && ms > LONGEST_MS) {
    throw new ExitError(EXIT.usage, `${flag} is ${text}; expected at most 24d`);
  }
  if (ms !== undefined && ms > 0) return ms;
  throw new ExitError(
    EXIT.usage,
    `${flag} "${text}" is no duration: write it like 90s, 5m or 500ms`,
  );
}

/** A flag's count. @throws ExitError with code 2 */
export function countOf(flag: string, text: string, least = 1): number {
  const count = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(count) && count >= least) return count;
  throw new ExitError(EXIT.usage, `${flag} "${text}" is no whole number from ${least} up`);
}
