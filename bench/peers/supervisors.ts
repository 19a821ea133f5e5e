/**
 * Supervisors that people run beside ours or instead of it, each set up as its documentation says, over one `opencode
 * serve`.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from '../../test/support/ports.js';
import type { World } from '../../test/support/world.js';
import { startCurlLoop } from '../curl-loop.js';

const run = promisify(execFile);
const INSTALL_MS = 180_000;

export interface Supervisor {
  /** The pid of the supervising process. */
  pid: number;
}

/** Resolves when the supervisor is running. It ends with the world. A string says why it is not available here. */
export type Start = (world: World) => Promise<Supervisor | string>;

/** A run counts as stuck after this. The default is minutes; this is what the measurement can wait for. */
export const STUCK_AFTER_MS = 20_000;

export const SUPERVISORS: Record<string, Start> = {
  'opencode-watchdog': async (world) => {
    const limit = `${STUCK_AFTER_MS}ms`;
    const { pid } = await world.daemon({
      retry: { maxDuration: limit },
      stall: { maxSilence: limit },
      status: { listen: `127.0.0.1:${await freePort()}` },
    });
    return { pid };
  },

  pm2: async (world) => {
    const folder = join(world.home.path, 'pm2');
    const args = ['install', '--prefix', folder, '--no-audit', '--no-fund', 'pm2'];
    try {
      await run('npm', args, { timeout: INSTALL_MS });
    } catch {
      return 'pm2 cannot be installed: no npm registry is reached';
    }
    const env = { ...world.env, PM2_HOME: join(folder, 'home') };
    const pm2 = (...words: string[]) =>
      run(join(folder, 'node_modules/.bin/pm2'), words, { env, cwd: world.directory });
    world.defer(() => pm2('kill').catch(() => undefined));
    const [command = '', ...rest] = serve(world);
    await pm2('start', command, '--name', 'opencode', '--interpreter', 'none', '--', ...rest);
    return { pid: Number(readFileSync(join(env.PM2_HOME, 'pm2.pid'), 'utf8')) };
  },

  supervisord: async (world) => {
    const command = installed('supervisord');
    if (command === undefined) return 'supervisord is not installed (apt install supervisor)';
    const folder = folderOf(world, 'supervisord');
    const file = join(folder, 'supervisord.conf');
    writeFileSync(
      file,
      `[supervisord]
nodaemon=true
logfile=${folder}/log
pidfile=${folder}/pid
childlogdir=${folder}

[program:opencode]
command=${serve(world).join(' ')}
directory=${world.directory}
autorestart=true
stopasgroup=true
killasgroup=true
`,
    );
    return started(world, command, ['-c', file]);
  },

  monit: async (world) => {
    const command = installed('monit');
    if (command === undefined) return 'monit is not installed (apt install monit)';
    const folder = folderOf(world, 'monit');
    const pidFile = join(folder, 'opencode.pid');
    const exports = Object.entries(world.env).map(([name, value]) => `export ${name}='${value}'`);
    const start = join(folder, 'start');
    const background = `${serve(world).join(' ')} >/dev/null 2>&1 &`;
    const lines = [...exports, `cd '${world.directory}'`, background, `echo $! >'${pidFile}'`];
    writeFileSync(start, `#!/bin/sh\n${lines.join('\n')}\n`, { mode: 0o755 });
    const stop = join(folder, 'stop');
    writeFileSync(stop, `#!/bin/sh\nkill -9 "$(cat '${pidFile}')"\n`, { mode: 0o755 });
    const file = join(folder, 'monitrc');
    // As often and as patient as the curl loop. With one failure as the limit, monit would restart a server that boots.
    writeFileSync(
      file,
      `set daemon 5
set log ${folder}/log
set pidfile ${folder}/monit.pid
set idfile ${folder}/id
set statefile ${folder}/state
check process opencode with pidfile ${pidFile}
  start program = "${start}"
  stop program = "${stop}"
  if failed host 127.0.0.1 port ${world.port} protocol http request "/global/health"
    with timeout 3 seconds for 2 cycles then restart
`,
    );
    chmodSync(file, 0o600);
    return started(world, command, ['-I', '-c', file]);
  },

  'shell loop': async (world) =>
    started(world, 'bash', ['-c', 'while :; do "$@"; done', 'loop', ...serve(world)]),

  'curl loop': async (world) => {
    const { url, env, directory } = world;
    const { child } = startCurlLoop({ url, command: serve(world), env, cwd: directory });
    endWith(world, child);
    return { pid: child.pid ?? 0 };
  },
};

const serve = ({ home, port }: World) => [
  home.command,
  'serve',
  '--hostname',
  '127.0.0.1',
  '--port',
  `${port}`,
];

function installed(name: string): string | undefined {
  try {
    return execFileSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).trim();
  } catch {
    return undefined;
  }
}

function folderOf({ home }: World, name: string): string {
  const folder = join(home.path, name);
  mkdirSync(folder);
  return folder;
}

/** Starts it in a process group of its own, which is killed with the world. */
function started(world: World, command: string, args: readonly string[]): Supervisor {
  const { env, directory: cwd } = world;
  const child = spawn(command, args, { env, cwd, stdio: 'ignore', detached: true });
  endWith(world, child);
  return { pid: child.pid ?? 0 };
}

/** Kills the process group with the world. What it has started elsewhere ends with the world's home. */
function endWith(world: World, child: ChildProcess): void {
  world.defer(() => {
    try {
      process.kill(-(child.pid ?? 0), 'SIGKILL');
    } catch {
      // Already gone.
    }
  });
}
