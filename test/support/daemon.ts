/** Runs the real daemon (`dist/cli.js run`) beside a test and reads its log as structured events. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { withUnits } from './durations.js';
import { waitFor } from './wait.js';

export const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));

/** These are logged every few seconds. In an error's excerpt of the log they would push out what matters. */
const REPEATED = /"event":"(health\.summary|session\.health)"/;

/** One line of the log. */
export interface LogLine {
  event: string;
  level: string;
  time: string;
  msg: string;
  server: string;
  sessionID?: string;
  reason?: string;
  health?: string;
  pid?: number;
  [field: string]: unknown;
}

export interface DaemonOptions {
  /** The configuration file's content. */
  config: Record<string, unknown>;
  /** The environment. If the daemon is to start opencode: that of an opencode home. */
  env: NodeJS.ProcessEnv;
  args?: readonly string[];
}

export interface TestDaemon {
  readonly pid: number;
  readonly child: ChildProcess;
  readonly lines: LogLine[];
  /** Everything that it printed, stderr included: for tests that a secret is not in it. */
  output(): string;
  events(event: string, where?: Partial<LogLine>): LogLine[];
  /** Waits for the first line of this event whose fields equal `where`. Fails as soon as the daemon has ended. */
  saw(event: string, where?: Partial<LogLine>, timeout?: number): Promise<LogLine>;
  /** Sends SIGTERM by default, and returns the exit code. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

export async function startDaemon(options: DaemonOptions): Promise<TestDaemon> {
  const folder = await mkdtemp(join(tmpdir(), 'watchdog-test-'));
  const file = join(folder, 'config.yaml');
  await writeFile(file, stringify(withUnits(options.config)));
  const child = spawn(process.execPath, [CLI, 'run', '--config', file, ...(options.args ?? [])], {
    env: options.env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const lines: LogLine[] = [];
  const raw: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => {
    raw.push(line);
    lines.push(JSON.parse(line) as LogLine);
  });
  createInterface({ input: child.stderr }).on('line', (line) => raw.push(line));
  const exited = once(child, 'exit');
  const ended = new AbortController();
  // Not `exit`: by now its last lines are read too.
  child.once('close', (code, signal) => {
    ended.abort(new Error(`the daemon has ended (${signal ?? `exit code ${code}`})`));
  });
  const events = (event: string, where: Partial<LogLine> = {}) =>
    lines.filter(
      (line) =>
        line.event === event && Object.entries(where).every(([key, value]) => line[key] === value),
    );
  return {
    pid: child.pid!,
    child,
    lines,
    output: () => raw.join('\n'),
    events,
    async saw(event, where = {}, timeout = 60_000) {
      const what = `${event} ${JSON.stringify(where)}`;
      try {
        const { signal } = ended;
        return await waitFor(() => events(event, where)[0], { timeout, what, signal });
      } catch (cause) {
        const telling = raw.filter((line) => !REPEATED.test(line)).slice(-40);
        const why = cause instanceof Error ? cause.message : String(cause);
        throw new Error(`no ${what}: ${why}; the log's end:\n${telling.join('\n')}`, { cause });
      }
    },
    async stop(signal = 'SIGTERM') {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal);
      await exited;
      await rm(folder, { recursive: true, force: true });
      return child.exitCode;
    },
  };
}
