/**
 * Ends a server and everything that it started, and reports what was really ended.
 *
 * Signals to the process group are not enough: opencode gives each tool a session of its own (facts, section 1). So the
 * family is listed before the first signal, watched while it dies, and remembered: a process that was in it once stays
 * in it, even after init has become its parent.
 *
 * Nothing cuts a kill short, because what was left of the family then could not be found any more. It takes at most
 * twice `stopGraceMs`, and a few seconds.
 */
import { type Clock, sleep } from '../../lib/clock.js';
import { describeProcess } from '../identity/describe.js';
import {
  isAliveState,
  type ProcessRef,
  type ProcessStat,
  type ProcessTable,
  sameProcess,
  tree,
} from '../table/process-table.js';
import { Signaller } from './signal.js';

export interface KillOptions {
  table: ProcessTable;
  clock: Clock;
  /** The server first, then its wrappers. They get SIGTERM first, and all their descendants are ended with them. */
  roots: readonly ProcessRef[];
  stopGraceMs: number;
  /** Whether the port can be listened on again; absent if there is no port to free. */
  isPortFree?: () => Promise<boolean>;
}

export interface KillReport {
  /** Processes that were alive at the start or joined the family later, and are proven gone. */
  killed: number[];
  /** Processes that are still alive, each described in words. Empty if the kill worked. */
  survivors: string[];
  /** Signals that the kernel refused. */
  denied: string[];
  portFree: boolean;
  /** True if SIGTERM was not enough. */
  forced: boolean;
  tookMs: number;
}

/** How often the family is read while it dies. One pass costs a few ms. */
const POLL_MS = 25;
/**
 * SIGKILL works at once, except for a process in uninterruptible sleep. Such processes are reported; nobody waits for
 * them longer than this.
 */
const KILL_WAIT_MS = 5_000;
/** The kernel closes a dead process's sockets before its parent learns of its death; this is for a slow machine. */
const PORT_WAIT_MS = 2_000;

export async function killTree(options: KillOptions): Promise<KillReport> {
  const { clock, stopGraceMs } = options;
  const began = clock.now();
  const family = await Family.list(options);

  await family.send(options.roots, 'SIGTERM');
  await family.waitUntil(stopGraceMs, async () => !(await family.anyAlive(options.roots)));
  // These outlived the server and have had no signal yet: a tool in its own session does not notice the server's end.
  const orphans = await family.alive();
  if (orphans.length > 0 && !(await family.anyAlive(options.roots))) {
    await family.send(orphans, 'SIGTERM');
    await family.waitUntil(stopGraceMs, async () => (await family.alive()).length === 0);
  }

  const forced = (await family.alive()).length > 0;
  if (forced) {
    for (const root of options.roots) await family.signaller.killTree(root);
    // Signals are sent repeatedly, because the family may fork while it is killed.
    await family.waitUntil(KILL_WAIT_MS, async () => {
      const left = await family.alive();
      await family.send(left, 'SIGKILL');
      return left.length === 0;
    });
  }
  let portFree = true;
  const { isPortFree } = options;
  if (isPortFree && (await family.alive()).length === 0) {
    await family.waitUntil(PORT_WAIT_MS, async () => {
      portFree = await isPortFree();
      return portFree;
    });
  }
  return { ...(await family.count()), portFree, forced, tookMs: clock.now() - began };
}

/** All processes that belong to the server, remembered by pid and start time. */
class Family {
  readonly signaller: Signaller;
  readonly #options: KillOptions;
  readonly #members = new Map<string, ProcessStat>();
  readonly #denied = new Set<string>();

  private constructor(options: KillOptions, signaller: Signaller) {
    this.#options = options;
    this.signaller = signaller;
  }

  static async list(options: KillOptions): Promise<Family> {
    const family = new Family(options, await Signaller.open(options.table));
    await family.alive();
    return family;
  }

  /** Reads again which processes of the family are alive, including those started since. */
  async alive(): Promise<ProcessStat[]> {
    const all = await this.#options.table.list();
    const known = new Set([...this.#members.keys(), ...this.#options.roots.map(key)]);
    const roots = all.filter((entry) => known.has(key(entry)));
    const pids = roots.map(({ pid }) => pid);
    const living = tree(pids, all).filter(({ pid }) => !this.signaller.isProtected(pid));
    for (const entry of living) this.#members.set(key(entry), entry);
    return living;
  }

  async anyAlive(refs: readonly ProcessRef[]): Promise<boolean> {
    for (const ref of refs) {
      if (await this.#options.table.isAlive(ref)) return true;
    }
    return false;
  }

  async send(refs: readonly ProcessRef[], signal: NodeJS.Signals): Promise<void> {
    for (const ref of refs) {
      const outcome = await this.signaller.send(ref, signal);
      if (!outcome.sent && outcome.why !== 'gone') this.#denied.add(outcome.message);
      // A stopped process (by SIGSTOP or by a debugger that has gone) handles SIGTERM only once it runs again.
      if (outcome.sent && signal === 'SIGTERM') await this.signaller.send(ref, 'SIGCONT');
    }
  }

  /** Reads the family every POLL_MS, which keeps it up to date, until `done` resolves to true or `ms` have passed. */
  async waitUntil(ms: number, done: () => Promise<boolean>): Promise<void> {
    const { clock } = this.#options;
    const deadline = clock.now() + ms;
    while (!(await done())) {
      if (clock.now() >= deadline) return;
      await sleep(clock, POLL_MS);
      await this.alive();
    }
  }

  async count(): Promise<Pick<KillReport, 'killed' | 'survivors' | 'denied'>> {
    const left = new Set<string>();
    const survivors: string[] = [];
    for (const entry of await this.alive()) {
      const info = await this.#options.table.read(entry.pid);
      // Gone since the list was made: a signal takes its time on a busy machine.
      if (info === undefined || !sameProcess(info, entry) || !isAliveState(info.state)) continue;
      left.add(key(entry));
      survivors.push(describeProcess(info));
    }
    const killed = [...this.#members.values()]
      .filter((entry) => !left.has(key(entry)))
      .map(({ pid }) => pid);
    return { killed, survivors, denied: [...this.#denied] };
  }
}

function key(ref: ProcessRef): string {
  return `${ref.pid}:${ref.startTime}`;
}
