/** The real daemon on a traffic server. The lines of its log are counted, and only those about problems are kept. */
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

/** At most this many problems are kept, the first ones. All other lines are only counted. */
const MAX_KEPT = 200;

export interface Watched {
  readonly pid: number;
  readonly statusUrl: string;
  /** How many lines were logged, by event. */
  readonly lines: Map<string, number>;
  /** Problems, as they were logged or printed on stderr. */
  readonly problems: string[];
  stop(): Promise<void>;
}

export interface WatchedOptions {
  config: Record<string, unknown>;
  /** Arguments for Node itself: a profiler, an inspector. */
  nodeArgs?: readonly string[];
  cli?: string;
  env?: Record<string, string>;
  /** Returns true for a line on stderr that is no problem. */
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
  // Keeps the whole log if wanted, to find out afterwards why something was aborted.
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
