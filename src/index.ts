/** The library of opencode-watchdog: the safe driver, with what it needs to find and start opencode on this machine. */
import { makePassword, readMadePassword } from './config/made-password.js';
import { passwordFinder } from './config/service-registration.js';
import { commandEnvironment } from './lib/child-env.js';
import { SystemClock } from './lib/clock.js';
import { serverStateDir } from './lib/state-dir.js';
import { DEFAULT_URL, OpencodeDriver as Driver } from './opencode/driver/driver.js';
import { DriverError } from './opencode/driver/error.js';
import type { DriverOptions } from './opencode/driver/types.js';
import { messageOf } from './opencode/http/errors.js';
import { isHealthy } from './opencode/is-healthy.js';
import { RecognisingApi } from './opencode/recognising-api.js';
import { createControl } from './process/control/auto.js';
import type { ServerControl } from './process/control/control.js';
import { checkBinary, whyMissing } from './process/identity/binary.js';
import { PasswordGuard } from './process/identity/password-guard.js';
import { startUnderLock } from './process/server/start-under-lock.js';

export type { BatchOptions, BatchResult, BatchTask } from './opencode/driver/batch.js';
export {
  type Attempt,
  DriverError,
  type DriverErrorDetails,
  type DriverErrorKind,
} from './opencode/driver/error.js';
export type { LoopLimits } from './opencode/driver/limits.js';
export type { ModelRef, ModelSpec, Thinking } from './opencode/driver/model.js';
export type { Orphan, SweepOptions, Swept } from './opencode/driver/orphans.js';
export type { OnRequest } from './opencode/driver/run-requests.js';
export type { StreamEvent } from './opencode/driver/stream.js';
export { type Message, renderTranscript } from './opencode/driver/transcript.js';
export type * from './opencode/driver/types.js';
export { OpencodeError, type OpencodeErrorKind } from './opencode/http/errors.js';

export interface OpencodeDriverOptions extends DriverOptions {
  /** How opencode is started by `check({ start: true })`; `--hostname` and `--port` are appended from the URL. */
  command?: readonly string[];
  /** Working directory of a server that is started. */
  serverDirectory?: string;
  /** Default: 60 s. */
  startTimeoutMs?: number;
}

const START_TIMEOUT_MS = 60_000;
const STOP_GRACE_MS = 2_000;

/** Drives an opencode server from a program: every wait bounded, every abort verified, nothing left behind. */
export class OpencodeDriver extends Driver {
  constructor(options: OpencodeDriverOptions = {}) {
    const {
      command = ['opencode', 'serve'],
      url = DEFAULT_URL,
      clock = new SystemClock(),
    } = options;
    const { authorise } = new PasswordGuard({ url, command, clock, caller: 'command' });
    const given = () => passwordOf(options);
    // OpenCode's background service may register one later, or again.
    const findRegistered = passwordFinder(process.env, url);
    // Another process may make one later, for a server that it starts.
    let made: string | undefined;
    const findMade = () => {
      made ??= readMadePassword(process.env, url)?.reveal();
      return made;
    };
    const makeOne = () => {
      made ??= makePassword(process.env, url).reveal();
      return made;
    };
    super({
      authorise,
      findBinary: () => checkBinary(command, commandEnvironment(process.env), directoryOf(options)),
      startServer: (signal) =>
        startServer(this.url, command, options, { findMade, makeOne }, signal),
      ...options,
      password: () => given() ?? findRegistered()?.reveal() ?? findMade(),
    });
  }

  /**
   * Takes the options from opencode's own variables: `OPENCODE_API_URL`, `OPENCODE_SERVER_USERNAME`, and the password
   * from `OPENCODE_PASSWORD` or `OPENCODE_SERVER_PASSWORD`. `options` take precedence.
   */
  static fromEnv(
    options: OpencodeDriverOptions = {},
    env: Readonly<Record<string, string | undefined>> = process.env,
  ): OpencodeDriver {
    const url = env.OPENCODE_API_URL;
    const username = env.OPENCODE_SERVER_USERNAME;
    // The same order as the daemon's, and as OpenCode 2's own.
    const password = env.OPENCODE_PASSWORD || env.OPENCODE_SERVER_PASSWORD;
    return new OpencodeDriver({
      ...(url && { url }),
      ...(username && { username }),
      ...(password && { password }),
      ...options,
    });
  }
}

/** What the caller gave, as it is now. */
function passwordOf({ password }: OpencodeDriverOptions): string | undefined {
  return typeof password === 'function' ? password() : password;
}

function directoryOf({ serverDirectory = process.cwd() }: OpencodeDriverOptions): string {
  return serverDirectory;
}

/** Starts a server as the daemon would, and leaves it running. @throws DriverError */
async function startServer(
  url: string,
  command: readonly string[],
  options: OpencodeDriverOptions,
  passwords: { findMade(): string | undefined; makeOne(): string },
  signal: AbortSignal = new AbortController().signal,
): Promise<void> {
  const { onNotice, clock = new SystemClock(), startTimeoutMs = START_TIMEOUT_MS } = options;
  const { env } = process;
  const stateDir = serverStateDir(env, url);
  const given = passwordOf(options);
  const named = options.username === undefined ? {} : { username: options.username };
  const guard = new PasswordGuard({ url, command, clock, caller: 'daemon' });
  const { authorise } = guard;
  const password = () => given ?? passwords.findMade();
  const client = new RecognisingApi({ url, ...named, password, clock, authorise });
  const isHealthyNow = (probeSignal: AbortSignal) => isHealthy(client, probeSignal);

  async function openControl(): Promise<ServerControl> {
    const directory = directoryOf(options);
    const missing = whyMissing(command, env, directory);
    if (missing !== undefined) throw new DriverError('binary_not_found', missing);
    const { control } = await createControl(
      {
        mode: 'spawn',
        url,
        command,
        directory,
        env,
        ...named,
        password: given ?? passwords.makeOne(),
        passwordIsMade: given === undefined,
        startTimeoutMs,
        stopGraceMs: STOP_GRACE_MS,
        stateDir,
        clock,
        deps: {
          isHealthy: isHealthyNow,
          onExit: () => {},
          onSuspended: () => {},
          onOutput: () => {},
          onNotice: (_level, message) => onNotice?.(message),
        },
      },
      signal,
    );
    guard.follow(control);
    return control;
  }

  try {
    const lock = { url, env, stateDir, clock, ...(onNotice && { onWait: onNotice }) };
    await startUnderLock({ lock, isHealthy: isHealthyNow, startTimeoutMs, signal, openControl });
  } catch (cause) {
    if (cause instanceof DriverError) throw cause;
    throw new DriverError('unreachable', messageOf(cause), { cause });
  } finally {
    await client.close();
  }
}
