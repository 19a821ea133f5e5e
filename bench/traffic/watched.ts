/** The real daemon on a traffic server: its log is read and counted, and only what is out of the ordinary is kept. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { stringify } from 'yaml';
import { CLI } from '../../test/support/daemon.js';
import { withUnits } from '../../test/support/durations.js';
import { freePort } from '../../test/support/ports.js';

/** Lines of other events are counted only; of these the last ones are kept. */
const MAX_KEPT = 200;

export interface Watched {
  readonly pid: number;
  readonly statusUrl: string;
  /** Lines by their event. */
  readonly lines: Map<string, number>;
  /** What went wrong, as it was logged. */
  readonly problems: string[];
  stop(): Promise<void>;
}

export interface WatchedOptions {
  config: Record<string, unknown>;
  /** For Node itself: a profiler, an inspector. */
  nodeArgs?: readonly string[];
  cli?: string;
  env?: Record<string, string>;
  /** Lines on stderr that are no problem; each is shown. */
  isNoise?(line: string): boolean;
}

export async function startWatched(options: WatchedOptions): Promise<Watched> {
  const folder = await mkdtemp(join(tmpdir(), 'watchdog-bench-'));
  const file = join(folder, 'config.yaml');
  const listen = `127.0.0.1:${await freePort()}`;
  await writeFile(file, stringify(withUnits({ status: { listen }, ...options.config })));
  const { OPENCODE_API_URL: _, ...env } = process.env;
  const child = spawn(
    process.execPath,
    [...(options.nodeArgs ?? []), options.cli ?? CLI, 'run', '--config', file],
    {
      env: { ...env, XDG_CONFIG_HOME: folder, XDG_STATE_HOME: folder, ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  const lines = new Map<string, number>();
  const problems: string[] = [];
  // The whole log, to tell afterwards why something was aborted.
  const { BENCH_LOG: keptIn } = process.env;
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (keptIn) appendFileSync(keptIn, `${line}\n`);
    const event = /"event":"([^"]+)"/.exec(line)?.[1] ?? 'not a log line';
    lines.set(event, (lines.get(event) ?? 0) + 1);
    const isProblem = event === 'error' || event === 'log.dropped' || event === 'daemon.gap';
    if (isProblem && problems.length < MAX_KEPT) problems.push(line);
  });
  createInterface({ input: child.stderr }).on('line', (line) => {
    if (!options.isNoise?.(line) && problems.length < MAX_KEPT) problems.push(line);
  });
  const exited = once(child, 'exit');
  return {
    pid: child.pid ?? 0,
    statusUrl: `http://${listen}`,
    lines,
    problems,
    async stop() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
      await exited;
      await rm(folder, { recursive: true, force: true });
    },
  };
}
