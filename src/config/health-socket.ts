/** The unix socket that `healthcheck` asks first, because over TCP others may occupy every connection. */
import { isAbsolute, join } from 'node:path';
import { serverKey } from '../lib/state-dir.js';

/** sun_path holds 108 bytes with its closing zero (unix(7)). */
const SUN_PATH_BYTES = 107;

/**
 * A path in $RUNTIME_DIRECTORY (systemd.exec(5)) or $XDG_RUNTIME_DIR. Undefined if there is neither, or the path is too
 * long.
 */
export function healthSocketPath(env: NodeJS.ProcessEnv, url: string): string | undefined {
  const folder = env.RUNTIME_DIRECTORY?.split(':')[0] || env.XDG_RUNTIME_DIR;
  if (!folder || !isAbsolute(folder)) return undefined;
  const path = join(folder, `opencode-watchdog-${serverKey(url)}.health`);
  return Buffer.byteLength(path) <= SUN_PATH_BYTES ? path : undefined;
}
