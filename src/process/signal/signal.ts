/**
 * The only place that sends a signal, and the rules of what may never get one.
 *
 * Right before each signal the process is proven again by its start time. Between that check and the signal pass a few
 * microseconds; only a pidfd would close them, and Node has none.
 */
import treeKill from 'tree-kill';
import { ancestors, type ProcessRef, type ProcessTable } from '../table/process-table.js';

export type SignalOutcome =
  | { sent: true }
  /** `gone`: ended, or its pid is another's now. `protected`: never ours to signal. `denied`: the kernel said no. */
  | { sent: false; why: 'gone' | 'protected' | 'denied'; message: string };

export class Signaller {
  readonly #table: ProcessTable;
  readonly #ancestors: ReadonlySet<number>;

  private constructor(table: ProcessTable, ancestors: ReadonlySet<number>) {
    this.#table = table;
    this.#ancestors = ancestors;
  }

  /** Made anew for each kill: who our ancestors are changes when one of them ends. */
  static async open(table: ProcessTable): Promise<Signaller> {
    const above = ancestors(process.pid, await table.list()).map(({ pid }) => pid);
    return new Signaller(table, new Set([process.ppid, ...above]));
  }

  /**
   * True for what no rule can make us signal: everything (-1), our group (0), init (1), ourselves, and whoever started
   * us. A negative pid would mean a whole process group, which nobody has proven.
   */
  isProtected(pid: number): boolean {
    return !Number.isInteger(pid) || pid <= 1 || pid === process.pid || this.#ancestors.has(pid);
  }

  async send(ref: ProcessRef, signal: NodeJS.Signals): Promise<SignalOutcome> {
    if (this.isProtected(ref.pid)) {
      return { sent: false, why: 'protected', message: `pid ${ref.pid} is never signalled` };
    }
    if (!(await this.#table.isAlive(ref))) {
      return { sent: false, why: 'gone', message: `pid ${ref.pid} has ended` };
    }
    try {
      process.kill(ref.pid, signal);
      return { sent: true };
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === 'ESRCH') return { sent: false, why: 'gone', message };
      return {
        sent: false,
        why: 'denied',
        message: `${signal} to pid ${ref.pid} was refused (${code ?? message})`,
      };
    }
  }

  /**
   * SIGKILL to a process and its descendants by the tree-kill package: a second net where the table comes from one
   * slow `ps` and may have missed a fork. Not used where there is /proc: tree-kill proves no identity, and it ends the
   * whole daemon with an unhandled error where `ps` is missing, as in slim images.
   */
  async killTree(ref: ProcessRef): Promise<void> {
    if (this.#table.kind === 'proc' || this.isProtected(ref.pid)) return;
    if (!(await this.#table.isAlive(ref))) return;
    // Its error would be a process that ended meanwhile, or one that the list names as a survivor afterwards.
    await new Promise<void>((resolve) => treeKill(ref.pid, 'SIGKILL', () => resolve()));
  }
}
