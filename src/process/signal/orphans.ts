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

/** The topmost of what is left; Linux only, as no `ps` shows another process's descriptors. */
export async function findOrphans(marker: string, table: ProcessTable): Promise<ProcessStat[]> {
  if (table.kind !== 'proc') return [];
  const marked = (await table.list()).filter(
    ({ pid, state }) => isAliveState(state) && pid !== process.pid && isMarked(pid, marker),
  );
  const pids = new Set(marked.map(({ pid }) => pid));
  return marked.filter(({ pid, ppid }) => !pids.has(ppid) && talksToSomebody(pid));
}

/** Whether a process was started with this marker; false where its environment may not be read. Linux only. */
export function isMarked(pid: number, marker: string): boolean {
  return procEnviron(pid)?.includes(`${MARKER}=${marker}`) ?? false;
}

/** Its standard output or error is a pipe or a socket (proc(5), /proc/PID/fd): whoever held its other end is dead. */
function talksToSomebody(pid: number): boolean {
  return [1, 2].some((fd) => {
    const target = procLink(`/proc/${pid}/fd/${fd}`) ?? '';
    return target.startsWith('pipe:') || target.startsWith('socket:');
  });
}
