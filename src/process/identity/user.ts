/**
 * The user that `server.user` names. A daemon that runs as root may adopt this user's opencode, and starts one as this
 * user.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';

export interface ServerUser {
  name: string;
  uid: number;
  gid: number;
  home: string;
  shell: string;
}

/** A directory service may be slow. It is asked at the start, and at a reload with another `server.user`. */
const LOOKUP_TIMEOUT_MS = 10_000;

/** Finds a user by name or uid; undefined if the system knows no such user. */
export function findUser(name: string): ServerUser | undefined {
  return parsePasswd(readPasswd(), name) ?? parsePasswd(getent(name), name);
}

/** A line of passwd(5): name:password:uid:gid:comment:home:shell. */
export function parsePasswd(text: string, wanted: string): ServerUser | undefined {
  for (const line of text.split('\n')) {
    const [name = '', , uid = '', gid = '', , home = '/', shell = ''] = line.split(':');
    if (name === '' || (name !== wanted && uid !== wanted)) continue;
    if (!/^\d+$/.test(uid) || !/^\d+$/.test(gid)) continue;
    return { name, uid: Number(uid), gid: Number(gid), home, shell: shell || '/bin/sh' };
  }
  return undefined;
}

/** The daemon's environment as this user would have it: nothing in it points into root's home. */
export function environmentOf(user: ServerUser, env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const rootHome = env.HOME || homedir();
  const kept = Object.entries(env).filter(
    ([name, value]) =>
      !/^(SUDO_.*|MAIL|XDG_RUNTIME_DIR|DBUS_SESSION_BUS_ADDRESS|STATE_DIRECTORY)$/.test(name) &&
      !(name.startsWith('XDG_') && value?.startsWith(`${rootHome}/`)),
  );
  const { name, home, shell } = user;
  return { ...Object.fromEntries(kept), HOME: home, USER: name, LOGNAME: name, SHELL: shell };
}

function readPasswd(): string {
  try {
    return readFileSync('/etc/passwd', 'utf8');
  } catch {
    // The file is missing or unreadable: a directory service may know the user.
    return '';
  }
}

/** Asks LDAP and the like (nsswitch.conf(5)); not every system has `getent`. */
function getent(name: string): string {
  try {
    const options = { encoding: 'utf8', timeout: LOOKUP_TIMEOUT_MS, stdio: 'pipe' } as const;
    return execFileSync('getent', ['passwd', '--', name], options);
  } catch {
    return '';
  }
}
