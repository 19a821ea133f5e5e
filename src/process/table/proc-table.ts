/**
 * The process table of Linux, read from /proc. It does not need `ps`, which slim images lack. If a process cannot be
 * read, it counts as gone.
 */
import { closeSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { procLink, procNames, procPids, procText } from './proc-files.js';
import {
  type Followed,
  isAliveState,
  type ProcessInfo,
  type ProcessRef,
  type ProcessStat,
  type ProcessTable,
} from './process-table.js';

/** getauxval(3): the type of the entry that holds the page size. */
const AT_PAGESZ = 6n;
const DEFAULT_PAGE_BYTES = 4096;
/**
 * Longer than all that comes before the state: the pid, the name (64 bytes at most for a kernel thread), separators.
 */
const STAT_HEAD_BYTES = 256;
const CLOSE_PARENTHESIS = 0x29;
/** readlink on /proc/PID/exe appends this when the file was unlinked (proc(5)). */
const DELETED = ' (deleted)';

export class ProcTable implements ProcessTable {
  readonly kind = 'proc';
  readonly #root: string;
  readonly #pageBytes: number;

  constructor(root = '/proc') {
    this.#root = root;
    this.#pageBytes = pageBytes();
  }

  async list(): Promise<ProcessStat[]> {
    const found: ProcessStat[] = [];
    for (const pid of procPids(readdirSync(this.#root))) {
      const stat = this.#stat(pid);
      if (stat) found.push(stat);
    }
    return found;
  }

  /**
   * Uses `children` (Linux 4.2, proc(5)): a machine may have a thousand processes, and opencode's family only a few.
   */
  family(roots: readonly number[]): ProcessStat[] | undefined {
    const found = new Map<number, ProcessStat>();
    const queue = [...roots];
    for (let pid = queue.shift(); pid !== undefined; pid = queue.shift()) {
      const stat = found.has(pid) ? undefined : this.#stat(pid);
      if (stat === undefined) continue;
      const children = this.#children(pid);
      if (children === undefined && this.#stat(pid) !== undefined) return undefined;
      found.set(pid, stat);
      queue.push(...(children ?? []));
    }
    return [...found.values()].filter(({ state }) => isAliveState(state));
  }

  async read(pid: number): Promise<ProcessInfo | undefined> {
    const before = this.#stat(pid);
    if (!before) return undefined;
    const command = this.#text(pid, 'cmdline')?.split('\0') ?? [];
    // cmdline ends with a NUL, which is not an argument. A program that wrote its own title may have more of them.
    while (command.at(-1) === '') command.pop();
    const uid = /^Uid:\s+\d+\s+(\d+)/m.exec(this.#text(pid, 'status') ?? '')?.[1];
    const link = this.#link(pid, 'exe');
    // Read again: between the two reads another process may have got the pid.
    const after = this.#stat(pid);
    if (after?.startTime !== before.startTime) return undefined;
    return {
      ...after,
      command,
      ...(link !== undefined && {
        exe: link.endsWith(DELETED) ? link.slice(0, -DELETED.length) : link,
        exeDeleted: link.endsWith(DELETED),
      }),
      ...(uid !== undefined && { uid: Number(uid) }),
    };
  }

  async stateOf(ref: ProcessRef): Promise<string | undefined> {
    const stat = this.#stat(ref.pid);
    const same = stat?.startTime === ref.startTime;
    return stat && same && isAliveState(stat.state) ? stat.state : undefined;
  }

  /**
   * Keeps a descriptor open. It stands for exactly this process, whichever process gets its pid afterwards, and reading
   * it fails (ESRCH) once the process is gone. @throws if the state cannot be read
   */
  follow(ref: ProcessRef): Followed {
    let fd = this.#open(ref);
    const head = Buffer.alloc(STAT_HEAD_BYTES);
    const close = () => {
      if (fd !== undefined) closeSync(fd);
      fd = undefined;
    };
    const state = () => {
      if (fd === undefined) return undefined;
      const known = stateIn(fd, head);
      if (known === undefined) close();
      return known;
    };
    return { state, close };
  }

  async isAlive(ref: ProcessRef): Promise<boolean> {
    return (await this.stateOf(ref)) !== undefined;
  }

  /** Undefined if exactly this process is no longer there. */
  #open(ref: ProcessRef): number | undefined {
    let fd: number;
    try {
      fd = openSync(`${this.#root}/${ref.pid}/stat`, 'r');
    } catch (error) {
      if (isGone(error)) return undefined;
      throw error;
    }
    // Checked after opening, because from then on the descriptor cannot change its process.
    if (this.#stat(ref.pid)?.startTime === ref.startTime) return fd;
    closeSync(fd);
    return undefined;
  }

  #stat(pid: number): ProcessStat | undefined {
    const text = this.#text(pid, 'stat');
    return text === undefined ? undefined : parseStat(text, this.#pageBytes);
  }

  #text(pid: number, name: string): string | undefined {
    return procText(`${this.#root}/${pid}/${name}`);
  }

  /** The children of all its threads; undefined if the kernel does not tell them. */
  #children(pid: number): number[] | undefined {
    const threads = procNames(`${this.#root}/${pid}/task`) ?? [];
    const texts = threads.map((thread) => this.#text(pid, `task/${thread}/children`));
    const known = texts.filter((text) => text !== undefined);
    if (known.length === 0) return undefined;
    return known.flatMap((text) => text.trim().split(' ')).flatMap((word) => Number(word) || []);
  }

  #link(pid: number, name: string): string | undefined {
    return procLink(`${this.#root}/${pid}/${name}`);
  }
}

/** Any other error (too many open files, no memory) says nothing about the process. */
function isGone(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code;
  return code === 'ENOENT' || code === 'ESRCH';
}

/** The state of a living process in /proc/PID/stat, without reading anything else. */
function stateIn(fd: number, head: Buffer): string | undefined {
  let length: number;
  try {
    length = readSync(fd, head, 0, head.length, 0);
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
  const end = head.subarray(0, length).lastIndexOf(CLOSE_PARENTHESIS);
  const state = end < 0 ? undefined : head.toString('latin1', end + 2, end + 3);
  return state !== undefined && isAliveState(state) ? state : undefined;
}

/** Parses /proc/PID/stat. The name in parentheses may itself hold spaces and parentheses, so the last one counts. */
export function parseStat(
  text: string,
  bytesPerPage = DEFAULT_PAGE_BYTES,
): ProcessStat | undefined {
  const open = text.indexOf('(');
  const close = text.lastIndexOf(')');
  if (open < 0 || close < open) return undefined;
  // proc(5) counts fields from 1, and field 3 is the first one after the name.
  const fields = text.slice(close + 2).split(' ');
  const field = (number: number) => fields[number - 3];
  const startTime = field(22);
  const state = field(3);
  if (startTime === undefined || state === undefined) return undefined;
  return {
    pid: Number(text.slice(0, open)),
    name: text.slice(open + 1, close),
    state,
    ppid: Number(field(4)),
    pgid: Number(field(5)),
    sid: Number(field(6)),
    startTime,
    rssBytes: Math.max(0, Number(field(24) ?? 0)) * bytesPerPage,
  };
}

/** The kernel counts resident memory in pages. Node does not tell their size, but the auxiliary vector does. */
function pageBytes(): number {
  try {
    const vector = readFileSync('/proc/self/auxv');
    const words = new BigUint64Array(vector.buffer, vector.byteOffset, vector.byteLength >> 3);
    for (let i = 0; i + 1 < words.length; i += 2) {
      if (words[i] === AT_PAGESZ) return Number(words[i + 1]);
    }
  } catch {
    // The kernel hides the vector: the default below is right for nearly every machine.
  }
  return DEFAULT_PAGE_BYTES;
}

/** Changes with every boot: a start time in ticks since boot means nothing after a reboot. */
export function bootId(): string {
  return procText('/proc/sys/kernel/random/boot_id')?.trim() ?? '';
}
