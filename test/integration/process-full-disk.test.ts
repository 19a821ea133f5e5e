import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { SystemClock } from '../../src/lib/clock.js';
import { SpawnControl } from '../../src/process/control/spawn.js';
import { acquireLock, LockHeldError } from '../../src/process/lock.js';
import { isAlive } from '../support/processes.js';
import { waitFor } from '../support/wait.js';
import { Habitat } from '../unit/process/support.js';

/** As on a full disk: a file can be created, but nothing can be written to it. */
const disk = vi.hoisted(() => ({ full: undefined as string | undefined }));
vi.mock('node:fs', async (original) => {
  const fs = await original<typeof import('node:fs')>();
  const paths = new Map<unknown, string>();
  const openSync: typeof fs.openSync = (path, flags, mode) => {
    const fd = fs.openSync(path, flags, mode);
    paths.set(fd, String(path));
    return fd;
  };
  const writeFileSync: typeof fs.writeFileSync = (file, data, options) => {
    const path = typeof file === 'number' ? (paths.get(file) ?? '') : String(file);
    const isFull = disk.full !== undefined && path.startsWith(disk.full);
    fs.writeFileSync(file, isFull ? '' : data, options);
    if (isFull) throw Object.assign(new Error('ENOSPC: no space left'), { code: 'ENOSPC' });
  };
  return { ...fs, default: { ...fs, openSync, writeFileSync }, openSync, writeFileSync };
});

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'watchdog-full-'));
  // The lock has a place in the temporary folder, which the machine's other daemons and tests share.
  vi.stubEnv('TMPDIR', dir);
});
afterEach(() => {
  vi.unstubAllEnvs();
  disk.full = undefined;
  rmSync(dir, { recursive: true });
});

const clock = new SystemClock();
const url = 'http://localhost:4096';

test('a daemon whose state directory is full locks elsewhere, and one that holds there is seen', async () => {
  const stateDir = join(dir, 'state');
  const options = { url, env: { XDG_RUNTIME_DIR: join(dir, 'run') }, stateDir, clock };
  disk.full = options.env.XDG_RUNTIME_DIR;
  const lock = await acquireLock({ ...options, pid: process.pid });
  expect(lock.paths[0]).toContain(stateDir);
  disk.full = undefined;
  await expect(acquireLock({ ...options, pid: process.ppid })).rejects.toThrow(LockHeldError);
  lock.release();

  const first = await acquireLock({ ...options, pid: process.pid });
  expect(first.paths[0]).toContain(options.env.XDG_RUNTIME_DIR);
  disk.full = options.env.XDG_RUNTIME_DIR;
  await expect(acquireLock({ ...options, pid: process.ppid })).rejects.toThrow(LockHeldError);
  first.release();
});

test('a server that was started while the disk was full is watched, and ended with the daemon', async () => {
  const habitat = await Habitat.make();
  try {
    const options = habitat.options();
    disk.full = options.stateDir;
    const control = new SpawnControl(options);
    const { pid } = await control.start(habitat.signal);
    expect(habitat.notices.join('\n')).toContain('cannot be written');
    expect(existsSync(options.stateDir) ? readdirSync(options.stateDir) : []).not.toContainEqual(
      expect.stringContaining('.json'),
    );
    disk.full = undefined;
    // As soon as there is room the server is recorded for the next daemon.
    const record = () => readdirSync(options.stateDir).some((name) => name.endsWith('.json'));
    await waitFor(record, { what: 'the server to be written down' });
    const again = await control.restart(habitat.signal);
    expect(again.oldPid).toBe(pid);
    expect(isAlive(pid!)).toBe(false);
    await control.dispose('stop');
    expect(habitat.processes()).toEqual([]);
  } finally {
    await habitat.clear();
  }
});
