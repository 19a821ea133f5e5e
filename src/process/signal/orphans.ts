/**
 * What a server leaves when it dies without us: a tool whose parent is gone, so that no tree shows whose it was.
 *
 * A server that we start carries a marker in its environment, which all that it starts inherits. Of the marked, only those
 * are orphans whose output still leads to the dead server: a daemon that a tool has put into the background (a build
 * daemon, a dev server with a log file) was let go of on purpose, and lives on.
 */
import { procEnviron, procLink } from '../table/proc-files.js';
import { isAliveState, type ProcessStat, type ProcessTable } from '../table/process-table.js';

/** Not of the prefix that configures us: a tool may call us, and would be refused for an unknown key. */
const MARKER = 'OPENCODE_WATCHED_AS';

export const markedWith = (marker: string): Record<string, string> => ({ [MARKER]: marker });

/**
 * What servers that are gone have left running, the topmost of each; Linux only, as no `ps` shows another process's
 * descriptors.
 *
 * @param marks of servers that were seen to be gone
 * @param uid whose processes are ours to end
 */
export async function findOrphans(
  marks: ReadonlySet<string>,
  table: ProcessTable,
  uid: number | undefined,
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
      // Read once more as a whole: the pid may be another's by now.
      const info = await table.read(entry.pid);
      const isSame = info?.startTime === entry.startTime && info.uid === uid;
      return isSame && marks.has(markOf(entry.pid) ?? '') ? [entry] : [];
    }),
  );
  return found.flat();
}

/** Whether a process was started with this marker; false where its environment may not be read. Linux only. */
export function isMarked(pid: number, marker: string): boolean {
  return markOf(pid) === marker;
}

/** Of several, the first counts, as for getenv(3). */
function markOf(pid: number): string | undefined {
  const prefix = `${MARKER}=`;
  return procEnviron(pid)
    ?.find((entry) => entry.startsWith(prefix))
    ?.slice(prefix.length);
}

/** Its standard output or error is a pipe or a socket (proc(5), /proc/PID/fd): whoever held its other end is dead. */
function talksToSomebody(pid: number): boolean {
  return [1, 2].some((fd) => {
    const target = procLink(`/proc/${pid}/fd/${fd}`) ?? '';
    return target.startsWith('pipe:') || target.startsWith('socket:');
  });
}
