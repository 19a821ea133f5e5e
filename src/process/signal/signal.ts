/**
 * The only place that sends a signal, with the rules for what may never get one.
 *
 * Immediately before each signal the process is proven again by its start time. A few microseconds remain between that
 * check and the signal. Only a pidfd would close that gap, and Node has none.
 */
import treeKill from 'tree-kill';
import { ancestors, type ProcessRef, type ProcessTable } from '../table/process-table.js';

export type SignalOutcome =
  | { sent: true }
  /**
   * `gone`: it has ended, or its pid is another's now. `protected`: never ours to signal. `denied`: the kernel refused.
   */
  | { sent: false; why: 'gone' | 'protected' | 'denied'; message: string };

export class Signaller {
  readonly #table: ProcessTable;
  readonly #ancestors: ReadonlySet<number>;

  private constructor(table: ProcessTable, ancestors: ReadonlySet<number>) {
    this.#table = table;
    this.#ancestors = ancestors;
  }

  /** Made anew for each kill, because our ancestors change when one of them ends. */
  static async open(table: ProcessTable): Promise<Signaller> {
    const above = ancestors(process.pid, await table.list()).map(({ pid }) => pid);
    return new Signaller(table, new Set([process.ppid, ...above]));
  }

  /**
   * True for everything that we must never signal: every process (-1), our group (0), init (1), ourselves, and the
   * processes that started us. A negative pid would mean a whole process group, and nobody has proven that.
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
   * Sends SIGKILL to a process and its descendants with the tree-kill package. This is a second safety net for a table
   * that comes from one slow `ps` and may have missed a fork. It is not used if there is /proc: tree-kill proves no
   * identity, and if `ps` is missing, as in slim images, it ends the whole daemon with an unhandled error.
   */
  async killTree(ref: ProcessRef): Promise<void> {
    if (this.#table.kind === 'proc' || this.isProtected(ref.pid)) return;
    if (!(await this.#table.isAlive(ref))) return;
    // An error means that a process ended meanwhile, or that one is left, which is then listed as a survivor.
    await new Promise<void>((resolve) => treeKill(ref.pid, 'SIGKILL', () => resolve()));
  }
}
