/** What a process has used so far, read from `/proc` (proc(5)). Linux only. */
import { readdirSync, readFileSync } from 'node:fs';

/** utime and stime are in clock ticks, 100 a second on Linux. */
const TICKS_PER_SECOND = 100;

/** Resident memory in MiB. @throws if there is no such process. */
export function residentMiB(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(line?.[1] ?? 0) / 1024;
}

/** User and system time of all threads, in seconds. @throws if there is no such process. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Open file descriptors: sockets, files, timers, pipes. @throws if there is no such process. */
export const openHandles = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;

/**
 * User and system time of the living threads, in nanoseconds: for spans that are too short for `cpuSeconds` (Linux,
 * Documentation/scheduler/sched-stats.rst). @throws if there is no such process.
 */
export function cpuNanoseconds(pid: number): number {
  return readdirSync(`/proc/${pid}/task`)
    .map((task) =>
      Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]),
    )
    .reduce((sum, own) => sum + own, 0);
}

/** Resident memory that belongs to this process alone, without the pages of its program, in MiB. */
export function anonymousMiB(pid: number): number {
  const line = /^Anonymous:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'));
  return Number(line?.[1] ?? 0) / 1024;
}
