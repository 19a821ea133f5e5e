/**
 * Finds what a server leaves behind when it ends by itself: tools whose parent is gone, so that no process tree shows
 * which server started them.
 *
 * A server that we start has a marker in its environment, and everything that it starts inherits it. A marked process
 * is an orphan only if its output still leads to the dead server. What a tool has put into the background (a build
 * daemon, a dev server that writes to a log file, to `rotatelogs` or to the journal) was detached on purpose and is left
 * alone.
 */
import { procEnviron } from '../table/proc-files.js';
import { isAliveState, type ProcessStat, type ProcessTable } from '../table/process-table.js';
import { DeadOutput } from './dead-output.js';

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
  const alive = (await table.list()).filter(({ state }) => isAliveState(state));
  const marked = alive.filter(({ pid }) => {
    const mark = pid !== process.pid ? markOf(pid) : undefined;
    return mark !== undefined && marks.has(mark);
  });
  const pids = new Set(marked.map(({ pid }) => pid));
  const all = alive.map(({ pid }) => pid);
  const output = new DeadOutput(all, (pid) => pids.has(pid));
  const topmost = marked.filter(({ pid, ppid }) => !pids.has(ppid) && output.of(pid));
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
