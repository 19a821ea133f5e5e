/**
 * The password of a server that we start, where nobody gave one: OpenCode 2 never runs without, and would make one of
 * its own that only its output tells (opencode-2-facts, section 1.4). opencode 1.x does not read it, and runs open as
 * it always did.
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
/** The file of a made password has 44 bytes: what is larger is not ours. At the limit: it is taken as absent. */
const MAX_MADE_BYTES = 4096;
const IS_PASSWORD = /^[\w-]{40,}$/;

export function madePasswordFile(env: NodeJS.ProcessEnv, url: string): string {
  return join(serverStateDir(env, url), NAME);
}

/** The one that an earlier start has made; undefined where there is none of ours. */
export function readMadePassword(env: NodeJS.ProcessEnv, url: string): Secret | undefined {
  const known = readPrivateFile(madePasswordFile(env, url), MAX_MADE_BYTES);
  const text = known.kind === 'text' ? known.text.trim() : '';
  return IS_PASSWORD.test(text) ? new Secret(text) : undefined;
}

/** Where it cannot be kept, it is good for as long as this process lives. */
export function makePassword(env: NodeJS.ProcessEnv, url: string): Secret {
  const known = readMadePassword(env, url);
  if (known !== undefined) return known;
  const value = randomBytes(PASSWORD_BYTES).toString('base64url');
  try {
    const directory = openStateDirectory(serverStateDir(env, url));
    if (directory.kind === 'available') writePrivateFile(join(directory.path, NAME), `${value}\n`);
  } catch {
    // The state directory is said to be broken by whoever opens it for more than this.
  }
  return new Secret(value);
}
