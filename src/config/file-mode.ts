/** Whether others may write a file that we believe. */
import { existsSync, readFileSync, statSync } from 'node:fs';

const GROUP_WRITE = 0o020;
const OTHERS_WRITE = 0o002;

/** Who, in words; undefined where only the owner, root and the owner's own group may. A link's target counts. */
export function othersWhoMayWrite(path: string): string | undefined {
  const stat = statSync(path, { throwIfNoEntry: false });
  // Windows has no such modes.
  if (stat === undefined || process.getuid === undefined) return undefined;
  if ((stat.mode & OTHERS_WRITE) !== 0) return 'every user';
  if ((stat.mode & GROUP_WRITE) !== 0 && stat.gid !== ownGroup(stat.uid)) {
    return `the group ${stat.gid}, which is not its owner's own`;
  }
  return undefined;
}

/** The primary group of a user; undefined where it has no account here. */
function ownGroup(uid: number): number | undefined {
  try {
    for (const line of readFileSync('/etc/passwd', 'utf8').split('\n')) {
      const [, , user, group] = line.split(':');
      if (user !== '' && Number(user) === uid) return Number(group);
    }
  } catch {
    // No such file: what we know of ourselves must do.
  }
  return uid === process.getuid?.() ? process.getgid?.() : undefined;
}

/** Files that are mounted into a container have the modes and owners of elsewhere. */
export function inContainer(env: NodeJS.ProcessEnv): boolean {
  return (
    existsSync('/.dockerenv') ||
    existsSync('/run/.containerenv') ||
    Boolean(env.KUBERNETES_SERVICE_HOST || env.container)
  );
}
