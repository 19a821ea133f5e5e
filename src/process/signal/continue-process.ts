/**
 * Continues a server that a signal has stopped (SIGCONT), together with the processes that were stopped along with it.
 *
 * A terminal's Ctrl-Z and `kill -STOP -PGID` stop the whole process group. So every stopped process of the tree that is
 * in the process group of one of its roots is continued. A child that a tool has stopped itself stays stopped.
 */
import { type Clock, sleep } from '../../lib/clock.js';
import {
  isSuspendedState,
  type ProcessRef,
  type ProcessTable,
  tree,
} from '../table/process-table.js';
import { Signaller } from './signal.js';

export interface ContinueOptions {
  table: ProcessTable;
  clock: Clock;
  /** The server first, then its wrappers; they must have been proven just before. */
  roots: readonly ProcessRef[];
}

/** SIGCONT takes effect at once, but a check may still see the moment before. */
const WAIT_MS = 1_000;
const POLL_MS = 10;

/** Resolves to a description of what went wrong, or to undefined if every root runs again. */
export async function continueTree({
  table,
  clock,
  roots,
}: ContinueOptions): Promise<string | undefined> {
  const pids = new Set(roots.map(({ pid }) => pid));
  const family = tree(pids, await table.list());
  const groups = new Set(family.filter(({ pid }) => pids.has(pid)).map(({ pgid }) => pgid));
  const stopped = family.filter(({ state, pgid }) => isSuspendedState(state) && groups.has(pgid));
  const signaller = await Signaller.open(table);
  const refused: string[] = [];
  for (const each of stopped) {
    const outcome = await signaller.send(each, 'SIGCONT');
    if (!outcome.sent && outcome.why !== 'gone') refused.push(outcome.message);
  }
  if (refused.length > 0) return refused.join('; ');
  const until = clock.now() + WAIT_MS;
  for (;;) {
    const states = await Promise.all(roots.map((root) => table.stateOf(root)));
    const still = roots.filter((_, index) => isSuspendedState(states[index]));
    if (still.length === 0) return undefined;
    if (clock.now() >= until)
      return `pid ${still.map(({ pid }) => pid).join(', ')} is still stopped`;
    await sleep(clock, POLL_MS);
  }
}
