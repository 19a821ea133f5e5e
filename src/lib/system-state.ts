/**
 * The state of daemons that the shipped system units run, for who has no $STATE_DIRECTORY: root's commands, which may read
 * every account's, and the lock of another watchdog of the unit's account.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { lstatOf } from './file-stat.js';
import { serverDirIn } from './state-dir.js';

/** `StateDirectory=` of opencode-watchdog.service; that of opencode-watchdog@NAME.service is the folder NAME below it. */
export const SYSTEM_STATE = '/var/lib/opencode-watchdog';

/** Where a system unit keeps what it knows of one server. */
export interface SystemServerDir {
  path: string;
  /** The unit's account. The agent runs as it, too, and may have put anything there: read only files that it owns. */
  owner: number;
}

/**
 * The folders of one server, the one with the latest change first: a server may have had another unit before. None for
 * another user than root.
 */
export function systemServerDirs(
  url: string,
  systemState = process.geteuid?.() === 0 ? SYSTEM_STATE : undefined,
): SystemServerDir[] {
  if (systemState === undefined) return [];
  return [systemState, ...instancesIn(systemState)]
    .flatMap((home) => serverDir(home, url) ?? [])
    .sort((a, b) => b.changed - a.changed);
}

function instancesIn(systemState: string): string[] {
  try {
    return readdirSync(systemState).map((name) => join(systemState, name));
  } catch {
    // No system unit has run here, or its folder cannot be looked at.
    return [];
  }
}

function serverDir(home: string, url: string): (SystemServerDir & { changed: number }) | undefined {
  const path = serverDirIn(home, url);
  const [unit, server] = [lstatOf(home), lstatOf(path)];
  // A link is no folder.
  if (!unit?.isDirectory() || !server?.isDirectory()) return undefined;
  return { path, owner: unit.uid, changed: server.mtimeMs };
}
