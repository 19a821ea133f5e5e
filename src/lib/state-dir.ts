/**
 * The state directory: where it is, and how files in it are made and read.
 *
 * It holds what other users must neither read nor choose (a token, which process is ours). So its folder has mode 0700
 * and its files 0600, and a file that is a link or belongs to somebody else does not count as ours, whoever put it
 * there.
 */
import { createHash, randomUUID } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { homedir, hostname } from 'node:os';
import { join } from 'node:path';
import { addressOf } from './server-address.js';
import { readOpenFile } from './text-file.js';

const DIRECTORY_MODE = 0o700;
const FILE_MODE = 0o600;
const OTHERS = 0o077;
const WRITABLE_BY_OTHERS = 0o022;

/** `unavailable`: the code that opened it reports this once. What would be kept there then lives in memory. */
export type StateDirectory =
  | { kind: 'available'; path: string }
  | { kind: 'unavailable'; path: string; why: string };

export type PrivateFile =
  | { kind: 'text'; text: string }
  | { kind: 'absent' }
  /** The file is there, but the daemon did not make it like that: `problem` says what is wrong. */
  | { kind: 'refused'; problem: string };

/** $STATE_DIRECTORY (systemd.exec(5): the first, if there are several), else the XDG base directory for state. */
export function stateHome(env: NodeJS.ProcessEnv): string {
  const fromSystemd = env.STATE_DIRECTORY?.split(':')[0];
  if (fromSystemd) return fromSystemd;
  return join(xdgStateHome(env), 'opencode-watchdog');
}

/** The XDG base directory for state. */
export function xdgStateHome(env: NodeJS.ProcessEnv): string {
  return env.XDG_STATE_HOME || join(env.HOME || homedir(), '.local/state');
}

/** The folder of one server as watched from one host, because machines may share a home. */
export function serverStateDir(env: NodeJS.ProcessEnv, url: string, host = hostname()): string {
  return serverDirIn(stateHome(env), url, host);
}

/** The same in a state directory that is not that of our environment. */
export function serverDirIn(home: string, url: string, host = hostname()): string {
  return join(home, `${plainName(host)}_${serverKey(url)}`);
}

/** A file name that is the same for every spelling of one server's address: all names of loopback count as one. */
export function serverKey(url: string): string {
  const { hostname } = new URL(url);
  const loopback = /^(localhost|127(\.\d+){3}|\[::1\]|0\.0\.0\.0|\[::\])$/.test(hostname);
  const name = `${loopback ? 'localhost' : hostname}:${addressOf(url).port}`;
  const hash = createHash('sha256').update(name).digest('hex').slice(0, 8);
  return `${plainName(name)}-${hash}`;
}

/** Makes the folder if it does not exist, and tests that it can be written. */
export function openStateDirectory(path: string): StateDirectory {
  try {
    ensurePrivateDirectory(path);
    const probe = join(path, `.${randomUUID()}`);
    closeSync(openPrivateFile(probe, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL));
    rmSync(probe, { force: true });
    return { kind: 'available', path };
  } catch (error) {
    return { kind: 'unavailable', path, why: (error as Error).message };
  }
}

/**
 * Makes sure that a folder is our own and that nobody else may look into it; makes it, and its parents, if needed.
 * @throws if it is not our own, or cannot be made so
 */
export function ensurePrivateDirectory(path: string): void {
  mkdirSync(path, { recursive: true, mode: DIRECTORY_MODE });
  const { uid, mode } = directoryAt(path);
  if (!isOwn(uid)) {
    throw new Error(
      `${path} belongs to uid ${uid}, not to this daemon (uid ${process.geteuid?.()}): remove it, or name another state directory`,
    );
  }
  if ((mode & OTHERS) !== 0) chmodSync(path, DIRECTORY_MODE);
}

/** Whether only we (or root) can have put something into a folder. False if there is none. */
export function isPrivateDirectory(path: string): boolean {
  try {
    const { uid, mode } = directoryAt(path);
    return isOwn(uid) && (mode & WRITABLE_BY_OTHERS) === 0;
  } catch {
    // It does not exist, or is a link or a file: nothing in it is ours.
    return false;
  }
}

/**
 * Opens a file of the state directory: never a link, a pipe or another user's.
 *
 * @param flags as open(2); a file that is made gets mode 0600
 * @throws ELOOP for a link (open(2), O_NOFOLLOW), and an error that names the file if it is not ours
 */
export function openPrivateFile(path: string, flags: number, owner?: number): number {
  // Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
  const safe = flags | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const fd = openSync(path, safe, FILE_MODE);
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw new Error(`${path} is not a regular file`);
    const isRight = owner === undefined ? isOwn(stat.uid) : stat.uid === owner;
    if (!isRight) throw new Error(`${path} belongs to uid ${stat.uid}`);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Reads a small file of ours, or of `owner`. A file that is larger than `maxBytes`, or not UTF-8, is refused. */
export function readPrivateFile(path: string, maxBytes: number, owner?: number): PrivateFile {
  let fd: number;
  try {
    fd = openPrivateFile(path, constants.O_RDONLY, owner);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return { kind: 'absent' };
    return { kind: 'refused', problem: code === 'ELOOP' ? `${path} is a link` : message };
  }
  try {
    const read = readOpenFile(fd, maxBytes);
    return 'text' in read
      ? { kind: 'text', text: read.text }
      : { kind: 'refused', problem: `${path} is not ${read.problem}` };
  } finally {
    closeSync(fd);
  }
}

/**
 * Writes a draft and renames it, so that a reader sees either the old content or the new, and all of it, even after a
 * crash. @throws
 */
export function writePrivateFile(path: string, text: string): void {
  const draft = `${path}.${randomUUID()}`;
  try {
    const fd = openPrivateFile(draft, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL);
    try {
      writeFileSync(fd, text);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    // A link in its place is replaced, not followed (rename(2)).
    renameSync(draft, path);
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
  }
}

function directoryAt(path: string): { uid: number; mode: number } {
  const stat = lstatSync(path);
  if (!stat.isDirectory()) throw new Error(`${path} is not a folder (a link is none)`);
  return stat;
}

/** On a system without such users (Windows), everything is ours. */
function isOwn(uid: number): boolean {
  const self = process.geteuid?.();
  return self === undefined || uid === self;
}

function plainName(name: string): string {
  return name.replace(/[^\w.-]/g, '-');
}
