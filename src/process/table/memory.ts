/**
 * Measures the resident memory of a process tree.
 *
 * The sum of RSS counts pages that processes share more than once. PSS would not, but reading smaps_rollup holds the
 * process's memory lock and takes milliseconds for one of opencode's size; its tree is one large process with small
 * ones below, which share little.
 */
import { type ProcessTable, tree } from './process-table.js';

/** In bytes; undefined where none of the roots lives. */
export async function treeMemory(
  table: ProcessTable,
  roots: readonly number[],
): Promise<number | undefined> {
  const family = table.family?.(roots) ?? tree(roots, await table.list());
  if (family.length === 0) return undefined;
  return family.reduce((sum, entry) => sum + entry.rssBytes, 0);
}
