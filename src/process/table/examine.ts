/**
 * Shows what each process of a tree is doing now, thread by thread, so that a person can see later why a server hung.
 *
 * Read from /proc (proc(5)): `/proc/PID/task/TID/stat` has a thread's state. `/proc/PID/task/TID/wchan` has the kernel
 * function that it sleeps in, or "0" if the thread runs or the kernel hides it from us (ptrace(2), access modes).
 * Neither takes the process's memory lock, so neither has to wait for a process that hangs.
 */
import { procNames, procText } from './proc-files.js';
import { parseStat } from './proc-table.js';
import { type ProcessTable, tree } from './process-table.js';

export interface ExaminedThread {
  tid: number;
  name: string;
  /** proc(5), stat field 3: R runs, S sleeps, D waits for a device, T is stopped by a signal. */
  state: string;
  /** The kernel function that it waits in; absent if the kernel does not tell. */
  waitsIn?: string;
}

export interface ExaminedProcess {
  pid: number;
  ppid: number;
  /** The kernel's short name: a command line may hold secrets. */
  name: string;
  state: string;
  /** Resident memory. */
  bytes: number;
  /** Empty if the system does not show them. */
  threads: ExaminedThread[];
}

/** Processes of the server's tree in the evidence of an incident. At the limit: the smaller ones are left out. */
export const MAX_EXAMINED = 50;
/** Threads of one process in the evidence of an incident. At the limit: the rest are left out. */
export const MAX_THREADS = 64;

/** The server first, the others by their memory; undefined if none of the roots is alive. */
export async function examineTree(
  table: ProcessTable,
  roots: readonly number[],
): Promise<ExaminedProcess[] | undefined> {
  const family = table.family?.(roots) ?? tree(roots, await table.list());
  if (family.length === 0) return undefined;
  const isRoot = new Set(roots);
  const rank = ({ pid }: { pid: number }) => (isRoot.has(pid) ? 0 : 1);
  return family
    .toSorted((a, b) => rank(a) - rank(b) || b.rssBytes - a.rssBytes)
    .slice(0, MAX_EXAMINED)
    .map(({ pid, ppid, name, state, rssBytes }) => ({
      pid,
      ppid,
      name,
      state,
      bytes: rssBytes,
      threads: table.kind === 'proc' ? threadsOf(pid) : [],
    }));
}

function threadsOf(pid: number): ExaminedThread[] {
  const names = procNames(`/proc/${pid}/task`) ?? [];
  return names.slice(0, MAX_THREADS).flatMap((tid) => {
    const stat = parseStat(procText(`/proc/${pid}/task/${tid}/stat`) ?? '');
    if (stat === undefined) return [];
    const waitsIn = procText(`/proc/${pid}/task/${tid}/wchan`)?.trim() ?? '';
    const isTold = waitsIn !== '' && waitsIn !== '0';
    const { name, state } = stat;
    return [{ tid: Number(tid), name, state, ...(isTold && { waitsIn }) }];
  });
}
