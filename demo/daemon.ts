/** Runs the real daemon (`dist/cli.js run`) for the demo, and reads its log line by line as it comes. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { stringify } from 'yaml';
import { withUnits } from '../test/support/durations.js';
import { waitFor } from '../test/support/wait.js';

const CLI = fileURLToPath(new URL('../dist/cli.js', import.meta.url));

/** The daemon's own limit for a clean stop is a few seconds (`server.stopGrace` and the checks after it). */
const STOP_TIMEOUT_MS = 15_000;

/** One line of the log; `docs/log-events.md` has the fields. */
export interface LogLine {
  event: string;
  level: string;
  time: string;
  msg: string;
  sessionID?: string;
  title?: string;
  health?: string;
  previous?: string;
  reason?: string;
  pid?: number;
  oldPid?: number;
  tookMs?: number;
  attempt?: number;
  nextAt?: string;
  interrupted?: string[];
  outcome?: string;
  version?: string;
}

export interface Daemon {
  lines(where: Partial<LogLine>): LogLine[];
  /** Waits for the first line like this. */
  saw(event: string, where?: Partial<LogLine>, timeoutMs?: number): Promise<LogLine>;
  /** What `opencode-watchdog report` prints from the daemon's history. */
  report(): Promise<string>;
  /** Sends SIGTERM, and if that is not enough, SIGKILL. */
  stop(): Promise<void>;
}

export interface DaemonOptions {
  folder: string;
  config: Record<string, unknown>;
  env: Record<string, string>;
  onLine(line: LogLine): void;
}

export async function startDaemon({ folder, config, env, onLine }: DaemonOptions): Promise<Daemon> {
  const file = join(folder, 'watchdog.yaml');
  await writeFile(file, stringify(withUnits(config)));
  const child = spawn(process.execPath, [CLI, 'run', '--config', file], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    // Outside the terminal's process group: Ctrl-C reaches only the demo, which then stops the daemon in order.
    detached: true,
  });
  const log: LogLine[] = [];
  let complaints = '';
  createInterface({ input: child.stdout }).on('line', (text) => {
    const line = parse(text);
    if (line === undefined) {
      complaints += `${text}\n`;
      return;
    }
    log.push(line);
    onLine(line);
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaints += text;
  });
  const exited = once(child, 'exit');
  const hasExited = () => child.exitCode !== null || child.signalCode !== null;

  const lines = (where: Partial<LogLine>) => {
    const wanted = Object.entries(where) as [keyof LogLine, unknown][];
    return log.filter((line) => wanted.every(([key, value]) => line[key] === value));
  };
  return {
    lines,
    async saw(event, where = {}, timeoutMs = 60_000) {
      const look = () => lines({ ...where, event })[0];
      const what = `the log line ${event} ${JSON.stringify(where)}`;
      await waitFor(() => look() ?? hasExited(), { what, timeout: timeoutMs });
      const line = look();
      if (line) return line;
      throw new Error(
        `the daemon ended before ${what}: exit code ${child.exitCode}\n${complaints}`,
      );
    },
    async report() {
      const args = [CLI, 'report', '--since', '1h', '--config', file];
      const { stdout } = await promisify(execFile)(process.execPath, args, { env });
      return stdout;
    },
    async stop() {
      if (hasExited()) return;
      child.kill('SIGTERM');
      const impatience = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
      await exited;
      clearTimeout(impatience);
    },
  };
}

/** A crash may write anything among the log's lines. */
function parse(text: string): LogLine | undefined {
  try {
    return JSON.parse(text) as LogLine;
  } catch {
    return undefined;
  }
}
