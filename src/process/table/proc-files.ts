/**
 * Reads /proc (proc(5)). A process may end while it is read, or may belong to another user and be unreadable: both give
 * undefined.
 *
 * Everything is synchronous, so that what is read of one process comes from one moment as nearly as possible. A file of
 * /proc costs about 20 µs.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

export const procText = (path: string) => attempt(() => readFileSync(path, 'utf8'));

export const procLink = (path: string) => attempt(() => readlinkSync(path));

export const procNames = (path: string) => attempt(() => readdirSync(path));

/** The processes among the names in /proc. */
export function procPids(names: readonly string[]): number[] {
  return names.filter((name) => /^\d+$/.test(name)).map(Number);
}

/** A process's environment, as `NAME=value` entries; empty if it has none (a kernel thread) or hides it. */
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
