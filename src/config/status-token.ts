/**
 * The status endpoint's token: from the file of `status.tokenFile`, else from one that the daemon makes in its state
 * directory. It protects against other users and web pages. Whatever runs as the daemon's own user can read it.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, constants, lstatSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import {
  openPrivateFile,
  openStateDirectory,
  readPrivateFile,
  serverStateDir,
} from '../lib/state-dir.js';
import { type SystemServerDir, systemServerDirs } from '../lib/system-state.js';
import { MAX_SECRET_BYTES, readSecretFile } from './credentials.js';
import type { Config } from './schema.js';
import { Secret } from './secret.js';

const NAME = 'status-token';
/** 256 bits: nobody can guess it, even without a limit on tries. */
const TOKEN_BYTES = 32;
const IS_TOKEN = /^[\w-]{40,}$/;

type Where = Pick<Config, 'status' | 'server'>;

export function statusTokenFile(
  { status, server }: Where,
  env: NodeJS.ProcessEnv,
  cwd: string,
): string {
  return status.tokenFile === null
    ? join(serverStateDir(env, server.url), NAME)
    : resolve(cwd, status.tokenFile);
}

export type MadeToken =
  | { kind: 'made'; token: Secret; file: string }
  /** Nobody can act over TCP then, and nobody can read content. */
  | { kind: 'none'; why: string };

/** The daemon's own token. That of an earlier start is kept if there is one, so that links stay valid. */
export function makeStatusToken(config: Where, env: NodeJS.ProcessEnv): MadeToken {
  const directory = openStateDirectory(serverStateDir(env, config.server.url));
  if (directory.kind === 'unavailable') {
    return { kind: 'none', why: `the state directory cannot be written: ${directory.why}` };
  }
  const file = join(directory.path, NAME);
  const known = readPrivateFile(file, MAX_SECRET_BYTES);
  if (known.kind === 'refused') return { kind: 'none', why: known.problem };
  if (known.kind === 'text' && IS_TOKEN.test(known.text.trim())) {
    return { kind: 'made', token: new Secret(known.text.trim()), file };
  }
  const value = randomBytes(TOKEN_BYTES).toString('base64url');
  try {
    // A file that is empty or cut off was left by a full disk.
    const fresh = known.kind === 'absent' ? constants.O_EXCL : constants.O_TRUNC;
    const fd = openPrivateFile(file, constants.O_WRONLY | constants.O_CREAT | fresh);
    try {
      writeFileSync(fd, `${value}\n`);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    return { kind: 'none', why: (error as Error).message };
  }
  return { kind: 'made', token: new Secret(value), file };
}

export type ReadToken =
  | { kind: 'token'; token: Secret; file: string; owner: number }
  | { kind: 'absent'; file: string }
  /** The file is there, but no token can be read from it. */
  | { kind: 'refused'; file: string; owner: number; problem: string };

/**
 * The token as a command finds it. A link is followed for `status.tokenFile`, because Kubernetes' secrets are links. If
 * root runs no daemon itself, it gets the token of the machine's own unit.
 */
export function readStatusToken(
  config: Where,
  env: NodeJS.ProcessEnv,
  cwd: string,
  systemState?: string,
): ReadToken {
  const read = readTokenFile(config, env, cwd);
  if (read.kind !== 'absent' || config.status.tokenFile !== null) return read;
  const [found] = systemServerDirs(config.server.url, systemState).flatMap(
    (each) => readSystemToken(each) ?? [],
  );
  return found ?? read;
}

/** A file is read as a token only if the unit's account owns it and it has the form of one. */
function readSystemToken({ path, owner }: SystemServerDir): ReadToken | undefined {
  const file = join(path, NAME);
  const read = readPrivateFile(file, MAX_SECRET_BYTES, owner);
  if (read.kind !== 'text' || !IS_TOKEN.test(read.text.trim())) return undefined;
  return { kind: 'token', token: new Secret(read.text.trim()), file, owner };
}

function readTokenFile(config: Where, env: NodeJS.ProcessEnv, cwd: string): ReadToken {
  const file = statusTokenFile(config, env, cwd);
  let owner: number;
  try {
    const stat = lstatSync(file);
    owner = stat.uid;
    if (config.status.tokenFile === null && !stat.isFile()) {
      return { kind: 'refused', file, owner, problem: 'it is no regular file' };
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return { kind: 'absent', file };
    return { kind: 'refused', file, owner: -1, problem: String(code) };
  }
  const read = readSecretFile(file);
  return 'secret' in read
    ? { kind: 'token', token: read.secret, file, owner }
    : { kind: 'refused', file, owner, problem: read.problem };
}
