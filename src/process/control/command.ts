/** `server.control: command`: the user's own command restarts the server (`systemctl restart opencode`, a script). */

import { commandEnvironment } from '../../lib/child-env.js';
import { scrubCommand } from '../identity/describe.js';
import { environmentOf, type ServerUser } from '../identity/user.js';
import { type CommandResult, runCommand } from '../run-command.js';
import { awaitHealth } from '../server/await-health.js';
import { SET_DIRECTORY } from '../server/launch.js';
import type { LocalOptions } from '../server/local-server.js';
import { type ProcessRef, sameProcess } from '../table/process-table.js';
import { attached } from './attached.js';
import {
  type Answering,
  ControlError,
  type ControlMode,
  type OnStarting,
  type RestartedServer,
  type StartedServer,
} from './control.js';
import { LocalControl } from './local-control.js';

export interface CommandOptions extends LocalOptions {
  restartCommand: readonly string[];
  /** How long the command itself may take. After it the server has `startTimeoutMs` to get healthy. */
  commandTimeoutMs: number;
}

export class CommandControl extends LocalControl {
  readonly mode: ControlMode = 'command';
  readonly #options: CommandOptions;

  constructor(options: CommandOptions) {
    super({ owner: 'anybody', ...options });
    this.#options = options;
  }

  async start(signal: AbortSignal, onStarting?: OnStarting): Promise<StartedServer> {
    const { deps, clock, startTimeoutMs } = this.#options;
    const began = clock.now();
    // The command would end a server that is only slow to answer.
    let health: Answering | null = await deps.isHealthy(signal);
    if (health?.strange === 'boots') {
      const outcome = await awaitHealth({ deps, clock, timeoutMs: startTimeoutMs, signal });
      health = outcome.kind === 'healthy' ? outcome : await deps.isHealthy(signal);
    }
    signal.throwIfAborted();
    if (health !== null) {
      return attached(this, { ...health, tookMs: clock.now() - began }, signal);
    }
    onStarting?.();
    return this.runCommand(this.#options.restartCommand, signal, undefined);
  }

  restart(signal: AbortSignal): Promise<RestartedServer> {
    return this.restartWith(this.#options.restartCommand, signal);
  }

  protected async restartWith(
    command: readonly string[],
    signal: AbortSignal,
    runAs?: ServerUser,
  ): Promise<RestartedServer> {
    const found = await this.local.find();
    const old = found.kind === 'proven' ? found.server : undefined;
    // The end of the old server is now expected.
    this.local.letGo();
    const started = await this.runCommand(command, signal, old, runAs);
    return { ...started, ...(old && { oldPid: old.pid }) };
  }

  override async endsOnStop(): Promise<boolean> {
    return false;
  }

  /** What the command started belongs to its own manager. */
  override async dispose(): Promise<void> {
    this.local.release();
  }

  /** Runs the command, and waits for a healthy server that is not the old one. @throws ControlError */
  protected async runCommand(
    command: readonly string[],
    signal: AbortSignal,
    old: ProcessRef | undefined,
    runAs?: ServerUser,
  ): Promise<StartedServer> {
    const { deps, clock, startTimeoutMs, commandTimeoutMs } = this.#options;
    const began = clock.now();
    const words = scrubCommand(command);
    const env = commandEnvironment(this.#options.env);
    const result = await runCommand(command, {
      ...this.#options,
      env: runAs ? environmentOf(runAs, env) : env,
      ...(runAs && { runAs }),
      table: this.local.table,
      timeoutMs: commandTimeoutMs,
      cwd: this.#options.directory,
      cwdAdvice: SET_DIRECTORY,
      signal,
      onLine: (line) => deps.onNotice('info', `${command[0]}: ${line}`, { line }),
    });
    const failure = describeFailure(result, commandTimeoutMs);
    if (failure) await this.#fail(`the restart command \`${words}\` ${failure}`, old, signal);

    const outcome = await awaitHealth({
      deps,
      clock,
      timeoutMs: startTimeoutMs,
      signal,
      accept: async () => !(await this.#isSame(old)),
    });
    if (outcome.kind !== 'healthy') {
      const why = (await this.#isSame(old))
        ? `the old server still runs (pid ${old?.pid})`
        : `no healthy server was seen within ${startTimeoutMs} ms (server.startTimeout)`;
      await this.#fail(`the restart command \`${words}\` said success, but ${why}`, old, signal);
    }
    return attached(this, { ...outcome, tookMs: clock.now() - began }, signal);
  }

  async #isSame(old: ProcessRef | undefined): Promise<boolean> {
    if (!old) return false;
    const found = await this.local.find();
    return found.kind === 'proven' && sameProcess(found.server, old);
  }

  async #fail(message: string, old: ProcessRef | undefined, signal: AbortSignal): Promise<never> {
    // A process that could not be seen before the command may still serve after it.
    const serverAlive = old === undefined ? 'unknown' : await this.local.table.isAlive(old);
    // The same server still runs: go on watching it.
    if (serverAlive === true) await this.attach(signal);
    throw new ControlError(message, { serverAlive });
  }
}

function describeFailure(result: CommandResult, timeoutMs: number): string | undefined {
  const said =
    result.lastLines.length === 0 ? '' : `; its last output:\n${result.lastLines.join('\n')}`;
  switch (result.kind) {
    case 'not-started':
      return `could not be started: ${result.why}`;
    case 'timeout':
      return `did not end within ${timeoutMs} ms and was ended${said}`;
    case 'exit':
      if (result.code === 0) return undefined;
      return `failed (${result.signal ?? `exit code ${result.code}`})${said}`;
  }
}
