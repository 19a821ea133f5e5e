/**
 * pm2's daemon with one process under it, for comparison with ours. It is installed for the measurement and never
 * needed otherwise.
 */
import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const INSTALL_MS = 120_000;

export interface Pm2 {
  /** The pid of pm2's daemon. */
  pid: number;
  stop(): Promise<void>;
}

/** Undefined if pm2 cannot be installed because no registry can be reached. */
export async function startPm2(): Promise<Pm2 | undefined> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-pm2-'));
  const env = { ...process.env, PM2_HOME: join(folder, 'home') };
  const pm2 = (...args: string[]) => run(join(folder, 'node_modules/.bin/pm2'), args, { env });
  const stop = async () => {
    await pm2('kill').catch(() => undefined);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const args = ['install', '--prefix', folder, '--no-audit', '--no-fund', 'pm2'];
    await run('npm', args, { timeout: INSTALL_MS });
    await pm2('start', 'sleep', '--name', 'one', '--interpreter', 'none', '--', '1000000');
    return { pid: Number(readFileSync(join(env.PM2_HOME, 'pm2.pid'), 'utf8')), stop };
  } catch {
    await stop();
    return undefined;
  }
}

/** A Node process that does nothing. */
export function startBareNode(): { pid: number; stop(): void } {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6)'], { stdio: 'ignore' });
  return { pid: child.pid ?? 0, stop: () => child.kill('SIGKILL') };
}
