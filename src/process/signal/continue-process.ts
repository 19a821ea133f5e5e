/**
 * Lets a server that a signal has stopped run on (SIGCONT), and what was stopped along with it.
 *
 * A terminal's Ctrl-Z and `kill -STOP -PGID` stop the whole process group, so whoever of the family is stopped and in
 * the group of one of its roots goes on too. A tool that stopped a child of its own keeps it stopped.
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
  /** The server first, then its wrappers; proven just now. */
  roots: readonly ProcessRef[];
}

/** SIGCONT takes effect at once; a check may see the moment before. */
const WAIT_MS = 1_000;
const POLL_MS = 10;

/** Settles with the words of what went wrong, or with undefined where every root runs again. */
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
