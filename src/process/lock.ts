/**
 * Keeps two daemons from watching one server: a claim file for each daemon, in a directory for each server.
 *
 * One shared lock file cannot be taken over safely from a dead holder without a lock on the takeover itself: who read
 * "dead" a moment ago may remove the file of the next, living holder. So nobody removes a living daemon's file: each
 * writes its own claim first and then reads the others'. Of two that claim at once at least one sees the other; the
 * one with the smaller pid stays, the other withdraws its claim and waits, and one that holds already stays in any
 * case (Lamport's bakery).
 */
import { randomUUID } from 'node:crypto';
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import * as z from 'zod';
import { type Clock, sleep } from '../lib/clock.js';
import {
  ensurePrivateDirectory,
  isPrivateDirectory,
  readPrivateFile,
  serverKey,
  writePrivateFile,
} from '../lib/state-dir.js';
import { MAX_RECORD_BYTES } from './server/state-file.js';
import { openProcessTable } from './table/open-table.js';
import { procLink } from './table/proc-files.js';
import { bootId } from './table/proc-table.js';
import type { ProcessTable } from './table/process-table.js';

export class LockHeldError extends Error {
  override readonly name = 'LockHeldError';
  readonly pid: number;
  constructor(pid: number, url: string, path: string) {
    super(
      `another opencode-watchdog (pid ${pid}) watches ${url} already (lock: ${path}): stop it, or use another server.url`,
    );
    this.pid = pid;
  }
}

export interface Lock {
  readonly path: string;
  release(): void;
}

export interface LockOptions {
  url: string;
  env: NodeJS.ProcessEnv;
  stateDir: string;
  clock: Clock;
  table?: ProcessTable;
  /** For tests, which hold several locks in one process. */
  pid?: number;
}

const claimSchema = z.object({
  pid: z.int(),
  startTime: z.string(),
  bootId: z.string(),
  pidNamespace: z.string(),
  held: z.boolean(),
});
type Claim = z.infer<typeof claimSchema>;

/** Rivals decide within a few readings of the directory; it may be a slow machine. */
const RIVAL_WAIT_MS = 5_000;
const POLL_MS = 10;

/** @throws LockHeldError */
export async function acquireLock(options: LockOptions): Promise<Lock> {
  const { url, clock, pid = process.pid } = options;
  const table = options.table ?? openProcessTable();
  const dirs = lockDirectories(options);
  const claim: Claim = {
    pid,
    startTime: (await table.read(pid))?.startTime ?? '',
    bootId: bootId(),
    pidNamespace: procLink('/proc/self/ns/pid') ?? '',
    held: false,
  };
  const path = join(firstWritable(dirs, claim), `${pid}.json`);
  const release = () => rmSync(path, { force: true });
  let claimed = false;
  try {
    const deadline = clock.now() + RIVAL_WAIT_MS;
    for (;;) {
      // Everywhere, as a rival whose disk was full may have had to claim elsewhere.
      const rivals = (await Promise.all(dirs.map((dir) => living(dir, claim, table)))).flat();
      const holder = rivals.find((rival) => rival.held);
      if (holder) throw new LockHeldError(holder.pid, url, holder.path);
      const [rival] = rivals;
      if (!rival && claimed) break;
      if (rival && clock.now() >= deadline) throw new LockHeldError(rival.pid, url, path);
      if (!rival) {
        write(path, claim);
        claimed = true;
        continue;
      }
      // The smaller pid stays. Who makes way goes on reading: the stronger may make way for another in its turn, and
      // the one that holds in the end is to be named.
      if (claimed && rivals.some((other) => other.pid < pid)) {
        release();
        claimed = false;
      }
      await sleep(clock, POLL_MS);
    }
    write(path, { ...claim, held: true });
    return { path, release };
  } catch (error) {
    release();
    throw error;
  }
}

/** Where a claim may be, the best place first: the runtime directory is emptied when its user leaves. */
function lockDirectories({ url, env, stateDir }: LockOptions): string[] {
  const bases = [
    ...(env.XDG_RUNTIME_DIR ? [join(env.XDG_RUNTIME_DIR, 'opencode-watchdog')] : []),
    stateDir,
    join(tmpdir(), `opencode-watchdog-${process.geteuid?.() ?? 'user'}`),
  ];
  return bases.map((base) => join(base, `lock-${serverKey(url)}`));
}

/** The first that takes a claim: a full disk makes empty files, and says so only when something is written to them. */
function firstWritable(dirs: readonly string[], claim: Claim): string {
  const failures: string[] = [];
  for (const dir of dirs) {
    const probe = join(dir, `.${randomUUID()}`);
    try {
      // Others may have made either in a shared temporary folder before us: then it is not a place of ours.
      ensurePrivateDirectory(dirname(dir));
      ensurePrivateDirectory(dir);
      writeFileSync(probe, JSON.stringify(claim), { mode: 0o600, flag: 'wx' });
      return dir;
    } catch (error) {
      failures.push(String(error));
    } finally {
      rmSync(probe, { force: true });
    }
  }
  throw new Error(`no directory for the lock can be written: ${failures.join('; ')}`);
}

/** Written aside and renamed: a reader sees a whole claim or none. */
function write(path: string, claim: Claim): void {
  writePrivateFile(path, JSON.stringify(claim));
}

/** The claims of daemons that live; those of the dead are removed, which is safe: nobody writes another's claim. */
async function living(
  dir: string,
  own: Claim,
  table: ProcessTable,
): Promise<(Claim & { path: string })[]> {
  const found: (Claim & { path: string })[] = [];
  for (const name of namesIn(dir)) {
    if (!/^\d+\.json$/.test(name) || name === `${own.pid}.json`) continue;
    const claim = read(join(dir, name));
    if (!claim) continue;
    // After a boot, or in another container that left its claim in a shared volume, pids and start times say nothing:
    // such a claim is taken for dead. Two living containers with one volume and one server are not told apart.
    const comparable = claim.bootId === own.bootId && claim.pidNamespace === own.pidNamespace;
    if (comparable && (await table.isAlive(claim))) found.push({ ...claim, path: join(dir, name) });
    else if (read(join(dir, name))?.startTime === claim.startTime)
      rmSync(join(dir, name), { force: true });
  }
  return found;
}

/** A place that is not there, or that others could fill, has nobody's claim that we could honour. */
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
    // Withdrawn meanwhile, or no claim of ours.
    return undefined;
  }
}
