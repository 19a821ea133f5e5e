/**
 * The process table for systems without /proc (macOS), read with `ps` through ps-list.
 *
 * It knows less: argv is split at spaces, there is no session, and the start time has whole seconds only.
 */
import { totalmem } from 'node:os';
import psList, { type ProcessDescriptor } from 'ps-list';
import {
  isAliveState,
  type ProcessInfo,
  type ProcessRef,
  type ProcessStat,
  type ProcessTable,
} from './process-table.js';

export class PsTable implements ProcessTable {
  readonly kind = 'ps';
  readonly #ps: () => Promise<ProcessDescriptor[]>;

  constructor(ps: () => Promise<ProcessDescriptor[]> = () => psList()) {
    this.#ps = ps;
  }

  async list(): Promise<ProcessStat[]> {
    return this.#all();
  }

  async read(pid: number): Promise<ProcessInfo | undefined> {
    return (await this.#all()).find((entry) => entry.pid === pid);
  }

  async stateOf(ref: ProcessRef): Promise<string | undefined> {
    const entry = await this.read(ref.pid);
    const same = entry?.startTime === ref.startTime;
    return entry && same && isAliveState(entry.state) ? entry.state : undefined;
  }

  async isAlive(ref: ProcessRef): Promise<boolean> {
    return (await this.stateOf(ref)) !== undefined;
  }

  async #all(): Promise<ProcessInfo[]> {
    return (await this.#ps()).map(describe);
  }
}

function describe(entry: ProcessDescriptor): ProcessInfo {
  const cmd = entry.cmd ?? '';
  return {
    pid: entry.pid,
    ppid: entry.ppid,
    name: entry.name,
    startTime: entry.startTime?.toISOString() ?? '',
    // ps(1) shows a zombie as "<defunct>" on Linux and as "(name)" on macOS.
    state: /<defunct>|^\(.*\)$/.test(cmd) ? 'Z' : '?',
    // ps-list gives only a process's share of the machine's memory.
    rssBytes: Math.round(((entry.memory ?? 0) / 100) * totalmem()),
    command: cmd === '' ? [] : cmd.split(/\s+/),
    ...(entry.path?.startsWith('/') && { exe: entry.path }),
    ...(entry.uid !== undefined && { uid: entry.uid }),
  };
}
