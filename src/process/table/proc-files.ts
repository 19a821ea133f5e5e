/**
 * Reads /proc (proc(5)). Processes end while they are read, and another user's may not be read: both give undefined.
 *
 * All is synchronous: what is read of one process is then of one moment as nearly as can be had, and a file of /proc
 * costs about 20 µs.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

export const procText = (path: string) => attempt(() => readFileSync(path, 'utf8'));

export const procLink = (path: string) => attempt(() => readlinkSync(path));

export const procNames = (path: string) => attempt(() => readdirSync(path));

/** The processes among the names in /proc. */
export function procPids(names: readonly string[]): number[] {
  return names.filter((name) => /^\d+$/.test(name)).map(Number);
}

/** A process's environment, `NAME=value` each; empty where it has none (a kernel thread) or hides it. */
export function procEnviron(pid: number): string[] | undefined {
  return procText(`/proc/${pid}/environ`)
    ?.split('\0')
    .filter((entry) => entry.indexOf('=') > 0);
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
