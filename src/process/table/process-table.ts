/**
 * The interface of the process table (/proc on Linux, `ps` elsewhere; open-table.ts chooses), and its family trees.
 *
 * A pid names a process only together with its start time, so every entry has both. Code that keeps a pid keeps the
 * start time too, and asks again before it acts on the process.
 */
/** What can be read cheaply for all processes at once. */
export interface ProcessStat {
  pid: number;
  ppid: number;
  /** Clock ticks since boot in /proc (proc(5), stat field 22), the start date elsewhere. */
  startTime: string;
  /** The kernel's short name, at most 15 characters on Linux. It may hold anything, even spaces and parentheses. */
  name: string;
  /** proc(5), stat field 3; '?' if the table does not tell. */
  state: string;
  pgid?: number;
  sid?: number;
  rssBytes: number;
}

/** What is read of a single process, at one moment. */
export interface ProcessInfo extends ProcessStat {
  /** argv; empty for a kernel thread, a zombie, or a process that cannot be read. */
  command: readonly string[];
  /** The executable's path, without the kernel's " (deleted)"; absent if it cannot be read. */
  exe?: string;
  /** True if the executable was replaced or removed since the start, as an upgrade does. */
  exeDeleted?: boolean;
  uid?: number;
}

/** Enough to tell one process from all others of this boot. */
export interface ProcessRef {
  pid: number;
  startTime: string;
}

export interface ProcessTable {
  readonly kind: 'proc' | 'ps';
  list(): Promise<ProcessStat[]>;
  /**
   * The living processes below and including `roots`, without reading all others; undefined if the system does not say
   * which process is whose child.
   */
  family?(roots: readonly number[]): ProcessStat[] | undefined;
  /** One process; undefined if there is none, or if it ended while it was read. */
  read(pid: number): Promise<ProcessInfo | undefined>;
  /** The state of exactly this process (proc(5), stat field 3; '?' if it is not told); undefined if it has ended. */
  stateOf(ref: ProcessRef): Promise<string | undefined>;
  /** `stateOf` at its cheapest, for one process that is read many times. Absent if the table has nothing cheaper. */
  follow?(ref: ProcessRef): Followed;
  /** Whether exactly this process still runs. A zombie does not: it only waits for its parent to reap it. */
  isAlive(ref: ProcessRef): Promise<boolean>;
}

/** One process that is read again and again. */
export interface Followed {
  /** As `ProcessTable.stateOf`. @throws if the state cannot be read */
  state(): string | undefined;
  close(): void;
}

/** Z: zombie, X and x: dead (proc(5)). */
export function isAliveState(state: string): boolean {
  return state !== 'Z' && state !== 'X' && state !== 'x';
}

/** T: stopped by a signal. A process that a debugger holds is in t, which is the debugger's business. */
export function isSuspendedState(state: string | undefined): boolean {
  return state === 'T';
}

/** The living processes below and including `roots`, parents before children. */
export function tree<T extends ProcessStat>(roots: Iterable<number>, table: readonly T[]): T[] {
  const byPid = new Map(table.map((entry) => [entry.pid, entry]));
  const children = new Map<number, T[]>();
  for (const entry of table) {
    const siblings = children.get(entry.ppid);
    if (siblings) siblings.push(entry);
    else children.set(entry.ppid, [entry]);
  }
  const found = new Map<number, T>();
  const queue = [...roots].flatMap((pid) => byPid.get(pid) ?? []);
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    // A table that is not of one moment may hold a cycle.
    if (found.has(next.pid)) continue;
    found.set(next.pid, next);
    queue.push(...(children.get(next.pid) ?? []));
  }
  // A zombie's children already have another parent, so leaving it out loses none of them.
  return [...found.values()].filter((entry) => isAliveState(entry.state));
}

/** The parents of `pid`, the closest first, as far as the table shows them. */
export function ancestors<T extends ProcessStat>(pid: number, table: readonly T[]): T[] {
  const byPid = new Map(table.map((entry) => [entry.pid, entry]));
  const found: T[] = [];
  let entry = byPid.get(pid);
  while (entry !== undefined) {
    const parent = byPid.get(entry.ppid);
    if (parent === undefined || found.includes(parent)) break;
    found.push(parent);
    entry = parent;
  }
  return found;
}

export function sameProcess(a: ProcessRef, b: ProcessRef): boolean {
  return a.pid === b.pid && a.startTime === b.startTime;
}
