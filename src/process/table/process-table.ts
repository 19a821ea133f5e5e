/**
 * The table of processes, as an interface (/proc on Linux, `ps` elsewhere; open-table.ts chooses), and its family trees.
 *
 * A pid names a process only together with its start time, so every entry has both; whoever keeps a pid keeps its
 * start time too, and asks again before acting on it.
 */
/** What is cheap to read of every process at once. */
export interface ProcessStat {
  pid: number;
  ppid: number;
  /** Clock ticks since boot in /proc (proc(5), stat field 22), the start date elsewhere. */
  startTime: string;
  /** The kernel's short name, at most 15 characters on Linux; may hold anything, spaces and parentheses too. */
  name: string;
  /** proc(5), stat field 3; '?' where the table does not tell. */
  state: string;
  pgid?: number;
  sid?: number;
  rssBytes: number;
}

/** What is read of a single process, in one moment. */
export interface ProcessInfo extends ProcessStat {
  /** argv; empty for a kernel thread, a zombie, or what may not be read. */
  command: readonly string[];
  /** The executable's path, without the kernel's " (deleted)"; absent where it may not be read. */
  exe?: string;
  /** True where the executable was replaced or removed since the start: an upgrade does that. */
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
   * The living processes below and including `roots`, without reading all others; undefined where the system does not
   * say who is whose child.
   */
  family?(roots: readonly number[]): ProcessStat[] | undefined;
  /** One process; undefined where there is none, also where it ended while it was read. */
  read(pid: number): Promise<ProcessInfo | undefined>;
  /** The state of that very process (proc(5), stat field 3; '?' where it is not told); undefined where it has ended. */
  stateOf(ref: ProcessRef): Promise<string | undefined>;
  /** For many readings of one process: `stateOf` at its cheapest. Absent where the table has nothing cheaper. */
  follow?(ref: ProcessRef): Followed;
  /** Whether that very process still runs. A zombie does not: it only waits for its parent to reap it. */
  isAlive(ref: ProcessRef): Promise<boolean>;
}

/** One process that is read again and again. */
export interface Followed {
  /** As `ProcessTable.stateOf` says it. @throws where it cannot be told */
  state(): string | undefined;
  close(): void;
}

/** Z: zombie, X and x: dead (proc(5)). */
export function isAliveState(state: string): boolean {
  return state !== 'Z' && state !== 'X' && state !== 'x';
}

/** T: stopped by a signal. A process that a debugger holds is in t, and is the debugger's business. */
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
    // A table that is not of one moment may hold a circle.
    if (found.has(next.pid)) continue;
    found.set(next.pid, next);
    queue.push(...(children.get(next.pid) ?? []));
  }
  // A zombie's children were given away already, so leaving it out loses nobody.
  return [...found.values()].filter((entry) => isAliveState(entry.state));
}

/** The parents of `pid`, nearest first, as far as the table shows them. */
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
