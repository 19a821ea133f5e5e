/**
 * The password that we make for a server that we start, if nobody gave one. OpenCode 2 never runs without a password,
 * and would make one that only its output shows (opencode-2-facts, section 1.4). opencode 1.x does not read ours, and
 * runs without a password as it always did.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import {
  openStateDirectory,
  readPrivateFile,
  serverStateDir,
  writePrivateFile,
} from '../lib/state-dir.js';
import { Secret } from './secret.js';

const NAME = 'server-password';
const PASSWORD_BYTES = 32;
/** The file of a made password. It has 44 bytes, so a larger file is not ours. At the limit: it is taken as absent. */
const MAX_MADE_BYTES = 4096;
const IS_PASSWORD = /^[\w-]{40,}$/;

export function madePasswordFile(env: NodeJS.ProcessEnv, url: string): string {
  return join(serverStateDir(env, url), NAME);
}

/** The password that an earlier start has made. Undefined if there is none of ours. */
export function readMadePassword(env: NodeJS.ProcessEnv, url: string): Secret | undefined {
  const known = readPrivateFile(madePasswordFile(env, url), MAX_MADE_BYTES);
  const text = known.kind === 'text' ? known.text.trim() : '';
  return IS_PASSWORD.test(text) ? new Secret(text) : undefined;
}

/**
 * The password of an earlier start, or a new one. If a new one cannot be kept on disk, it is valid as long as this
 * process lives.
 */
export function makePassword(env: NodeJS.ProcessEnv, url: string): Secret {
  const known = readMadePassword(env, url);
  if (known !== undefined) return known;
  const value = randomBytes(PASSWORD_BYTES).toString('base64url');
  try {
    const directory = openStateDirectory(serverStateDir(env, url));
    if (directory.kind === 'available') writePrivateFile(join(directory.path, NAME), `${value}\n`);
  } catch {
    // The code that opens the state directory for more than this reports that it is broken.
  }
  return new Secret(value);
}
