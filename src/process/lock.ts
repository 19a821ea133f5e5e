/**
 * Keeps two processes of ours from acting on one server: each has a claim file, in directories for each server. A daemon
 * holds the lock as long as it runs, a command only until its act is done.
 *
 * One shared lock file cannot be taken over safely from a dead holder without a lock on the takeover itself: a daemon
 * that read "dead" a moment ago may remove the file of the next, living holder. So nobody removes a living daemon's
 * file: each daemon writes its own claim first and then reads the others'. If two claim at once, at least one of them
 * sees the other. The one with the smaller pid stays; the other withdraws its claim and waits. A daemon that already
 * holds the lock stays in any case (Lamport's bakery).
 */
import { randomUUID } from 'node:crypto';
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import * as z from 'zod';
import { type Clock, sleep } from '../lib/clock.js';
import { lstatOf } from '../lib/file-stat.js';
import {
  ensurePrivateDirectory,
  isPrivateDirectory,
  readPrivateFile,
  serverKey,
  writePrivateFile,
} from '../lib/state-dir.js';
import { SYSTEM_STATE, systemServerDirs } from '../lib/system-state.js';
import { MAX_RECORD_BYTES } from './server/state-file.js';
import { openProcessTable } from './table/open-table.js';
import { procLink } from './table/proc-files.js';
import { bootId } from './table/proc-table.js';
import type { ProcessTable } from './table/process-table.js';

export class LockHeldError extends Error {
  override readonly name = 'LockHeldError';
  readonly pid: number;
  readonly caller: Caller;
  constructor({ pid, caller, path }: Rival, url: string) {
    super(
      caller === 'daemon'
        ? `another opencode-watchdog (pid ${pid}) watches ${url} already (lock: ${path}): stop it, or use another server.url`
        : `another command of opencode-watchdog (pid ${pid}) starts or restarts ${url} at this moment (lock: ${path}): try again when it has ended`,
    );
    this.pid = pid;
    this.caller = caller;
  }
}

/** What holds the lock: a daemon for good, a command until its act is done. */
export type Caller = 'daemon' | 'command';

export interface Lock {
  /** The claim files, the best place first. */
  readonly paths: readonly string[];
  release(): void;
}

export interface LockOptions {
  url: string;
  env: NodeJS.ProcessEnv;
  stateDir: string;
  clock: Clock;
  /** Default: `daemon`. */
  caller?: Caller;
  /** How long a command that holds the lock is waited for. A daemon is not waited for. Default: 0. */
  waitMs?: number;
  /** Called once, with a sentence, when the wait begins. */
  onWait?: (says: string) => void;
  signal?: AbortSignal;
  table?: ProcessTable;
  /** For tests that hold several locks in one process. */
  pid?: number;
  /** The folder of the system units' state. For tests. */
  systemState?: string;
}

const claimSchema = z.object({
  pid: z.int(),
  startTime: z.string(),
  bootId: z.string(),
  pidNamespace: z.string(),
  held: z.boolean(),
  /** Version 0.1 does not write it, and only its daemons take the lock. */
  caller: z.enum(['daemon', 'command']).default('daemon'),
});
type Claim = z.infer<typeof claimSchema>;
type Rival = Claim & { path: string };

/** Rivals decide within a few passes over the directory, but the machine may be slow. */
const RIVAL_WAIT_MS = 5_000;
const POLL_MS = 10;
/** A command holds the lock for the seconds in which a server starts, so it is looked at less often. */
const HELD_POLL_MS = 100;

/**
 * Does `act` while this process alone acts on the server.
 * @throws LockHeldError, and what `act` throws
 */
export async function underLock<T>(options: LockOptions, act: () => Promise<T>): Promise<T> {
  const lock = await acquireLock(options);
  try {
    return await act();
  } finally {
    lock.release();
  }
}

/** @throws LockHeldError, and the reason of `signal` */
export async function acquireLock(options: LockOptions): Promise<Lock> {
  const { url, clock, caller = 'daemon', waitMs = 0, signal, pid = process.pid } = options;
  let { onWait } = options;
  const table = options.table ?? openProcessTable();
  const dirs = lockDirectories(options);
  const claim: Claim = {
    pid,
    startTime: (await table.read(pid))?.startTime ?? '',
    bootId: bootId(),
    pidNamespace: procLink('/proc/self/ns/pid') ?? '',
    held: false,
    caller,
  };
  const paths = writable(dirs, claim).map((dir) => join(dir, `${pid}.json`));
  const release = () => {
    for (const path of paths) rmSync(path, { force: true });
  };
  let claimed = false;
  try {
    const heldUntil = clock.now() + waitMs;
    let deadline = clock.now() + RIVAL_WAIT_MS;
    for (;;) {
      // All directories are read: a rival with a full disk may have had to claim in another one.
      const rivals = (await Promise.all(dirs.map((dir) => living(dir, claim, table)))).flat();
      const holder = rivals.find((rival) => rival.held);
      if (holder) {
        if (holder.caller === 'daemon' || clock.now() >= heldUntil) {
          throw new LockHeldError(holder, url);
        }
        onWait?.(
          `waiting for another command of opencode-watchdog (pid ${holder.pid}), which starts or restarts the server …`,
        );
        onWait = undefined;
        release();
        claimed = false;
        await sleep(clock, HELD_POLL_MS, signal);
        deadline = clock.now() + RIVAL_WAIT_MS;
        continue;
      }
      const [rival] = rivals;
      if (!rival && claimed) break;
      if (rival && clock.now() >= deadline) throw new LockHeldError(rival, url);
      if (!rival) {
        write(paths, claim);
        claimed = true;
        continue;
      }
      // The smaller pid stays. The daemon that withdraws goes on reading: the other may itself withdraw for a third,
      // and the error must name the one that holds the lock in the end.
      if (claimed && rivals.some((other) => other.pid < pid)) {
        release();
        claimed = false;
      }
      await sleep(clock, POLL_MS, signal);
    }
    signal?.throwIfAborted();
    write(paths, { ...claim, held: true });
    return { paths, release };
  } catch (error) {
    release();
    throw error;
  }
}

/**
 * Where a claim is, the best place first. It is in all of them, because a daemon with another environment (cron, a system
 * unit) has another runtime directory, or none, and because that directory is emptied when its user logs out. A unit may
 * have a temporary folder of its own (PrivateTmp=), but the state of a system unit is always in the same place.
 */
function lockDirectories(options: LockOptions): string[] {
  const { url, env, stateDir, systemState = SYSTEM_STATE } = options;
  const bases = [
    ...(env.XDG_RUNTIME_DIR ? [join(env.XDG_RUNTIME_DIR, 'opencode-watchdog')] : []),
    stateDir,
    join(tmpdir(), `opencode-watchdog-${process.geteuid?.() ?? 'user'}`),
    ...systemServerDirs(url, systemState).map(({ path }) => path),
  ];
  return [...new Set(bases)].map((base) => join(base, `lock-${serverKey(url)}`));
}

/** The directories that accept a claim. On a full disk an empty file can be made, and only writing to it fails. */
function writable(dirs: readonly string[], claim: Claim): string[] {
  const failures: string[] = [];
  const accepting = dirs.filter((dir) => {
    const probe = join(dir, `.${randomUUID()}`);
    try {
      // In a shared temporary folder another user may have made either directory before us: then we do not use it.
      ensurePrivateDirectory(dirname(dir));
      ensurePrivateDirectory(dir);
      writeFileSync(probe, JSON.stringify(claim), { mode: 0o600, flag: 'wx' });
      return true;
    } catch (error) {
      failures.push(String(error));
      return false;
    } finally {
      // `rmSync` throws if it cannot look at the file, even with `force`.
      if (lstatOf(probe) !== undefined) rmSync(probe, { force: true });
    }
  });
  if (accepting.length > 0) return accepting;
  throw new Error(`no directory for the lock can be written: ${failures.join('; ')}`);
}

/** Each is written to a temporary file and renamed, so that a reader sees a whole claim or none. */
function write(paths: readonly string[], claim: Claim): void {
  for (const path of paths) writePrivateFile(path, JSON.stringify(claim));
}

/** The claims of living daemons. Dead ones' claims are removed, which is safe: nobody writes another daemon's claim. */
async function living(dir: string, own: Claim, table: ProcessTable): Promise<Rival[]> {
  const found: Rival[] = [];
  for (const name of namesIn(dir)) {
    if (!/^\d+\.json$/.test(name) || name === `${own.pid}.json`) continue;
    const claim = read(join(dir, name));
    if (!claim) continue;
    // After a reboot, or in another container that left its claim in a shared volume, pids and start times say nothing:
    // such a claim counts as dead. Two living containers with one volume and one server are not told apart.
    const comparable = claim.bootId === own.bootId && claim.pidNamespace === own.pidNamespace;
    if (comparable && (await table.isAlive(claim))) found.push({ ...claim, path: join(dir, name) });
    else if (read(join(dir, name))?.startTime === claim.startTime)
      rmSync(join(dir, name), { force: true });
  }
  return found;
}

/** A directory that does not exist, or that others could write to, holds no claim that we could trust. */
function namesIn(dir: string): string[] {
  if (!isPrivateDirectory(dirname(dir)) || !isPrivateDirectory(dir)) return [];
  try {
    return readdirSync(dir);
  } catch {
    return [];
  }
}

function read(path: string): Claim | undefined {
  try {
    const file = readPrivateFile(path, MAX_RECORD_BYTES);
    return file.kind === 'text' ? claimSchema.parse(JSON.parse(file.text)) : undefined;
  } catch {
    // The claim was withdrawn meanwhile, or the file is no claim of ours.
    return undefined;
  }
}
