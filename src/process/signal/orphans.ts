/**
 * Finds what a server leaves behind when it ends by itself: tools whose parent is gone, so that no process tree shows
 * which server started them.
 *
 * A server that we start has a marker in its environment, and everything that it starts inherits it. A marked process
 * is an orphan only if its output still leads to the dead server. A daemon that a tool has put into the background (a
 * build daemon, a dev server with a log file) was detached on purpose and is left alone.
 */
import { procEnviron, procLink } from '../table/proc-files.js';
import { isAliveState, type ProcessStat, type ProcessTable } from '../table/process-table.js';

/** Without the prefix of our own settings: a tool may start us, and we would refuse the variable as an unknown key. */
const MARKER = 'OPENCODE_WATCHED_AS';

export const markedWith = (marker: string): Record<string, string> => ({ [MARKER]: marker });

/**
 * The processes that ended servers have left running, only the topmost of each tree. Linux only, because `ps` does not
 * show another process's descriptors.
 *
 * @param marks markers of servers that are known to be gone
 * @param uids the users whose processes we may end
 */
export async function findOrphans(
  marks: ReadonlySet<string>,
  table: ProcessTable,
  uids: ReadonlySet<number | undefined>,
): Promise<ProcessStat[]> {
  if (table.kind !== 'proc' || marks.size === 0) return [];
  const marked = (await table.list()).filter(({ pid, state }) => {
    const mark = isAliveState(state) && pid !== process.pid ? markOf(pid) : undefined;
    return mark !== undefined && marks.has(mark);
  });
  const pids = new Set(marked.map(({ pid }) => pid));
  const topmost = marked.filter(({ pid, ppid }) => !pids.has(ppid) && talksToSomebody(pid));
  const found = await Promise.all(
    topmost.map(async (entry) => {
      // Read everything again: the pid may belong to another process by now.
      const info = await table.read(entry.pid);
      const isSame = info?.startTime === entry.startTime && uids.has(info.uid);
      return isSame && marks.has(markOf(entry.pid) ?? '') ? [entry] : [];
    }),
  );
  return found.flat();
}

/** Whether a process was started with this marker; false if its environment cannot be read. Linux only. */
export function isMarked(pid: number, marker: string): boolean {
  return markOf(pid) === marker;
}

/** If there are several, the first counts, as for getenv(3). */
function markOf(pid: number): string | undefined {
  const prefix = `${MARKER}=`;
  return procEnviron(pid)
    ?.find((entry) => entry.startsWith(prefix))
    ?.slice(prefix.length);
}

/** True if its standard output or error is a pipe or a socket (proc(5), /proc/PID/fd), whose other end is then dead. */
function talksToSomebody(pid: number): boolean {
  return [1, 2].some((fd) => {
    const target = procLink(`/proc/${pid}/fd/${fd}`) ?? '';
    return target.startsWith('pipe:') || target.startsWith('socket:');
  });
}
