/** Finds processes by /proc (Linux): to kill a whole tree, and to prove that nothing of it is left. */
import { readdirSync, readFileSync } from 'node:fs';
import { waitFor } from './wait.js';

function pids(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/** Processes come and go while we read. One that cannot be read counts as gone. */
function procFile(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8');
  } catch {
    return '';
  }
}

/** State and parent from `/proc/PID/stat`. The command name before them may contain anything. */
function stat(pid: number): { state: string; ppid: number } | undefined {
  const text = procFile(pid, 'stat');
  const [state, ppid] = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return state ? { state, ppid: Number(ppid) } : undefined;
}

/** True for a running process; a zombie is dead. */
export function isAlive(pid: number): boolean {
  const now = stat(pid);
  return now !== undefined && now.state !== 'Z' && now.state !== 'X';
}

export function commandLine(pid: number): string {
  return procFile(pid, 'cmdline').split('\0').join(' ').trim();
}

/** All living descendants of `root`, not `root` itself. */
export function descendants(root: number): number[] {
  const children = new Map<number, number[]>();
  for (const pid of pids()) {
    const ppid = stat(pid)?.ppid;
    if (ppid !== undefined) children.set(ppid, [...(children.get(ppid) ?? []), pid]);
  }
  const found: number[] = [];
  const queue = [root];
  for (let pid = queue.pop(); pid !== undefined; pid = queue.pop()) {
    const next = children.get(pid) ?? [];
    found.push(...next);
    queue.push(...next);
  }
  return found.filter(isAlive);
}

/** All living processes with this exact `NAME=value` in the environment they were started with. */
export function processesWithEnv(entry: string): number[] {
  return pids().filter(
    (pid) =>
      pid !== process.pid && procFile(pid, 'environ').split('\0').includes(entry) && isAlive(pid),
  );
}

/**
 * Kills what `find` finds until it finds nothing: a tree may fork while it dies, and opencode's bash children are in
 * sessions of their own.
 */
export async function killAll(find: () => number[], what: string): Promise<void> {
  const seen = new Set<number>();
  await waitFor(
    () => {
      for (const pid of find()) seen.add(pid);
      const living = [...seen].filter(isAlive);
      for (const pid of living) kill(pid);
      return living.length === 0;
    },
    { what: `${what} to be dead`, timeout: 20_000 },
  );
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Stops a process again whenever somebody continues it, until it is gone: a freeze that SIGCONT does not cure. */
export function keepStopped(pid: number): void {
  const timer = setInterval(() => {
    try {
      process.kill(pid, 'SIGSTOP');
    } catch {
      clearInterval(timer);
    }
  }, 20);
}
