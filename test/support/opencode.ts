/** Starts a real `opencode serve` in a home of its own, and stops all of its processes. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { api, type OpencodeApi } from './opencode-api.js';
import { type Home, type HomeOptions, opencodeEnv, prepareHome } from './opencode-home.js';
import { freePort } from './ports.js';
import { descendants, isAlive, killAll } from './processes.js';
import { noteBoot } from './slowness.js';
import { waitFor } from './wait.js';

export { api } from './opencode-api.js';
export { binary, opencodeEnv, prepareHome } from './opencode-home.js';

/** A cold start on a busy machine has taken a minute. */
const START_TIMEOUT_MS = 120_000;
/** A connection made in the last 300 ms before "listening" is accepted and never answered (1.18.33). */
const PROBE_TIMEOUT_MS = 1000;

export interface StartOptions extends HomeOptions {
  provider: { url: string };
  password?: string;
  /** The server's working directory. Default: the home's `project`. */
  directory?: string;
  port?: number;
  /** Start in this prepared home. The caller who made it removes it. */
  home?: Home;
  env?: Record<string, string>;
}

export interface Opencode {
  url: string;
  port: number;
  /** The process that we started: with `viaWrapper` the wrapper, not the server. */
  pid: number;
  child: ChildProcess;
  home: Home;
  directory: string;
  api: OpencodeApi;
  /** What it wrote to stdout and stderr. */
  output(): string;
  /** The pids of the server and of everything that it has started. */
  tree(): number[];
  /** Kills the whole tree. Removes the home too, unless it was passed in. */
  stop(): Promise<void>;
}

export async function startOpencode(options: StartOptions): Promise<Opencode> {
  const { provider, password, env } = options;
  const home = options.home ?? (await prepareHome(provider, options));
  const directory = options.directory ?? home.directory;
  const port = options.port ?? (await freePort());
  const url = `http://127.0.0.1:${port}`;

  const began = Date.now();
  const child = spawn(home.command, ['serve', '--hostname', '127.0.0.1', '--port', String(port)], {
    cwd: directory,
    env: {
      ...opencodeEnv(home.path),
      ...(password && { OPENCODE_SERVER_PASSWORD: password }),
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  await once(child, 'spawn');
  const pid = child.pid!;

  const tree = () => [...new Set([pid, ...descendants(pid), ...home.processes()])].filter(isAlive);
  const stop = async () => {
    await killAll(tree, `opencode ${pid} and its tree`);
    if (!options.home) await home.remove();
  };

  const exited = () => child.exitCode !== null || child.signalCode !== null;
  const client = api(url, { password });
  try {
    await waitFor(
      async () => {
        return exited() || (await client.health(PROBE_TIMEOUT_MS)).healthy;
      },
      { what: `opencode at ${url} to be healthy`, timeout: START_TIMEOUT_MS, interval: 100 },
    );
    noteBoot(Date.now() - began);
    if (exited()) throw new Error(`opencode exited with ${child.exitCode ?? child.signalCode}`);
  } catch (error) {
    await stop();
    throw new Error(`${(error as Error).message}\n${output}`, { cause: error });
  }
  return {
    url,
    port,
    pid,
    child,
    home,
    directory,
    tree,
    stop,
    api: client,
    output: () => output,
  };
}
