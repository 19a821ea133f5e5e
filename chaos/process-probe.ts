/** Reads /proc: which servers run in this world, what else of it lives, and whether a process is stopped. */
import { readdirSync, readFileSync } from 'node:fs';
import type { Process } from './evidence.js';

interface Entry extends Process {
  ppid: number;
  state: string;
}

/**
 * Between fork and exec a process still has its parent's environment. So one that seems foreign is checked again for
 * this long.
 */
const SETTLE_MS = 2_000;

export interface Sight {
  /** `opencode serve` on this world's port, without children that were forked and have not called exec. */
  servers: Entry[];
  /** Every process that was started in this world's home, servers included. */
  family: Entry[];
  /** Command lines of all processes on the machine. */
  commands: string[];
}

export class ProcessProbe {
  readonly #marker: string;
  readonly #server: RegExp;
  /** By pid and start: when it was first seen, and whether it belongs to this world. */
  readonly #known = new Map<string, { seenAt: number; ours: boolean }>();

  /** `marker`: an environment entry that everything in this world has, and nothing else. */
  constructor(marker: string, port: number) {
    this.#marker = marker;
    this.#server = new RegExp(`\\bserve\\b.* --port[ =]${port}\\b`);
  }

  look(now: number): Sight {
    const all = processes();
    const keys = new Set(all.map(key));
    for (const known of this.#known.keys()) if (!keys.has(known)) this.#known.delete(known);
    const family = all.filter((entry) => this.#isOurs(entry, now));
    const candidates = family.filter(({ command }) => this.#server.test(command));
    const servers = candidates.filter(
      ({ ppid }) => !candidates.some((other) => other.pid === ppid),
    );
    return { servers, family, commands: all.map(({ command }) => command) };
  }

  #isOurs(entry: Entry, now: number): boolean {
    const known = this.#known.get(key(entry));
    if (known?.ours || (known && now - known.seenAt > SETTLE_MS)) return known.ours;
    const ours = read(entry.pid, 'environ').split('\0').includes(this.#marker);
    this.#known.set(key(entry), { seenAt: known?.seenAt ?? now, ours });
    return ours;
  }
}

/** Stopped by SIGSTOP or by a debugger. */
export function isStopped(pid: number): boolean {
  const state = entryOf(pid)?.state;
  return state === 'T' || state === 't';
}

function processes(): Entry[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => entryOf(Number(name)))
    .filter((entry) => entry !== undefined)
    .filter(({ state }) => state !== 'Z' && state !== 'X');
}

/** proc(5): state, parent and start time are the 3rd, 4th and 22nd field of `stat`; the 2nd may contain anything. */
function entryOf(pid: number): Entry | undefined {
  const text = read(pid, 'stat');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const [state, ppid] = fields;
  if (state === undefined || ppid === undefined) return undefined;
  const command = read(pid, 'cmdline').split('\0').join(' ').trim();
  return { pid, ppid: Number(ppid), state, start: Number(fields[19]), command };
}

const key = ({ pid, start }: Process) => `${pid}:${start}`;

/** Processes come and go while we read. One that cannot be read counts as gone. */
function read(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'latin1');
  } catch {
    return '';
  }
}
