/** The unix socket that `healthcheck` asks first, because over TCP others may occupy every connection. */
import { readdirSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { serverKey } from '../lib/state-dir.js';

/** sun_path holds 108 bytes with its closing zero (unix(7)). */
const SUN_PATH_BYTES = 107;

const PREFIX = 'opencode-watchdog-';
const SUFFIX = '.health';

/**
 * A path in $RUNTIME_DIRECTORY (systemd.exec(5)) or $XDG_RUNTIME_DIR. Undefined if there is neither, or the path is too
 * long.
 */
export function healthSocketPath(env: NodeJS.ProcessEnv, url: string): string | undefined {
  const folder = folderOf(env);
  if (folder === undefined) return undefined;
  const path = join(folder, `${PREFIX}${serverKey(url)}${SUFFIX}`);
  return Buffer.byteLength(path) <= SUN_PATH_BYTES ? path : undefined;
}

/** Every path there that has such a name, whoever made it; none if the folder cannot be read. */
export function healthSocketsIn(env: NodeJS.ProcessEnv): string[] {
  const folder = folderOf(env);
  if (folder === undefined) return [];
  try {
    return readdirSync(folder)
      .filter((name) => name.startsWith(PREFIX) && name.endsWith(SUFFIX))
      .map((name) => join(folder, name));
  } catch {
    // The folder is not there, or this user may not read it: no daemon of this user has a socket in it.
    return [];
  }
}

function folderOf(env: NodeJS.ProcessEnv): string | undefined {
  const folder = env.RUNTIME_DIRECTORY?.split(':')[0] || env.XDG_RUNTIME_DIR;
  return folder && isAbsolute(folder) ? folder : undefined;
}
