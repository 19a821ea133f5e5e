/** Whether others may write a file that we trust. */
import { existsSync, readFileSync } from 'node:fs';
import { statOf } from '../lib/file-stat.js';

const GROUP_WRITE = 0o020;
const OTHERS_WRITE = 0o002;

/**
 * Who may write the file, in words. Undefined if only root, the owner and the owner's own group may. For a link, its
 * target counts.
 */
export function othersWhoMayWrite(path: string): string | undefined {
  // Without a file that can be looked at, reading it tells why it cannot be used.
  const stat = statOf(path);
  // Windows has no such modes.
  if (stat === undefined || process.getuid === undefined) return undefined;
  if ((stat.mode & OTHERS_WRITE) !== 0) return 'every user';
  if ((stat.mode & GROUP_WRITE) !== 0 && stat.gid !== ownGroup(stat.uid)) {
    return `the group ${stat.gid}, which is not its owner's own`;
  }
  return undefined;
}

/** The primary group of a user. Undefined if the user has no account here. */
function ownGroup(uid: number): number | undefined {
  try {
    for (const line of readFileSync('/etc/passwd', 'utf8').split('\n')) {
      const [, , user, group] = line.split(':');
      if (user !== '' && Number(user) === uid) return Number(group);
    }
  } catch {
    // There is no such file, so only our own group is known.
  }
  return uid === process.getuid?.() ? process.getgid?.() : undefined;
}

/** Whether we run in a container: files that are mounted into it have modes and owners from outside. */
export function inContainer(env: NodeJS.ProcessEnv): boolean {
  return (
    existsSync('/.dockerenv') ||
    existsSync('/run/.containerenv') ||
    Boolean(env.KUBERNETES_SERVICE_HOST || env.container)
  );
}
