/**
 * What a server leaves when it dies without us: a tool whose parent is gone, so that no tree shows whose it was.
 *
 * A server that we start carries a mark in its environment, which all that it starts inherits. Of the marked, only those
 * are leftovers whose output still leads to the dead server: a daemon that a tool has put into the background (a build
 * daemon, a dev server with a log file) was let go of on purpose, and lives on.
 */
import { procEnviron, procLink } from '../table/proc-files.js';
import { isAliveState, type ProcessStat, type ProcessTable } from '../table/process-table.js';

/** Not of the prefix that configures us: a tool may call us, and would be refused for an unknown key. */
const MARK = 'OPENCODE_WATCHED_AS';

export const markedWith = (mark: string): Record<string, string> => ({ [MARK]: mark });

/** The topmost of what is left; Linux only, as no `ps` shows another process's descriptors. */
export async function findOrphans(mark: string, table: ProcessTable): Promise<ProcessStat[]> {
  if (table.kind !== 'proc') return [];
  const marked = (await table.list()).filter(
    ({ pid, state }) => isAliveState(state) && pid !== process.pid && isMarked(pid, mark),
  );
  const pids = new Set(marked.map(({ pid }) => pid));
  return marked.filter(({ pid, ppid }) => !pids.has(ppid) && talksToSomebody(pid));
}

/** Whether a process was started with this mark; false where its environment may not be read. Linux only. */
export function isMarked(pid: number, mark: string): boolean {
  return procEnviron(pid)?.includes(`${MARK}=${mark}`) ?? false;
}

/** Its standard output or error is a pipe or a socket (proc(5), /proc/PID/fd): whoever held its other end is dead. */
function talksToSomebody(pid: number): boolean {
  return [1, 2].some((fd) => {
    const target = procLink(`/proc/${pid}/fd/${fd}`) ?? '';
    return target.startsWith('pipe:') || target.startsWith('socket:');
  });
}
