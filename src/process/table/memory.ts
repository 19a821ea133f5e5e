/**
 * Measures the resident memory of a process tree.
 *
 * The sum of RSS counts shared pages more than once. PSS would not, but reading smaps_rollup holds the process's memory
 * lock, and for a process of opencode's size it takes milliseconds. opencode's tree is one large process with small
 * ones below it, which share little.
 */
import { basename } from 'node:path';
import { type ProcessTable, tree } from './process-table.js';

/** What a process tree uses. */
export interface TreeUsage {
  /** Resident memory, in bytes. */
  bytes: number;
  processes: number;
  /**
   * The largest processes below the server itself (MCP and language servers, shells), each with everything below it.
   */
  children: readonly { name: string; pid: number; bytes: number }[];
}

/** Children that are named. At the limit: the smaller ones are left out. */
const MAX_CHILDREN = 5;
/** Characters of a child's name. At the limit: it is cut. */
const MAX_NAME = 80;

/** In bytes; undefined if none of the roots is alive. */
export async function treeMemory(
  table: ProcessTable,
  roots: readonly number[],
): Promise<number | undefined> {
  const family = table.family?.(roots) ?? tree(roots, await table.list());
  if (family.length === 0) return undefined;
  return family.reduce((sum, entry) => sum + entry.rssBytes, 0);
}

/** Undefined if none of the roots is alive. */
export async function treeUsage(
  table: ProcessTable,
  roots: readonly number[],
): Promise<TreeUsage | undefined> {
  const family = table.family?.(roots) ?? tree(roots, await table.list());
  if (family.length === 0) return undefined;
  const total = (entries: typeof family) =>
    entries.reduce((sum, { rssBytes }) => sum + rssBytes, 0);
  const isRoot = new Set(roots);
  // A wrapper is a root too, and the server is its child. Only what is below the server is wanted.
  const below = family.filter(({ pid, ppid }) => isRoot.has(ppid) && !isRoot.has(pid));
  const largest = below
    .map((entry) => ({ entry, bytes: total(tree([entry.pid], family)) }))
    .sort((a, b) => b.bytes - a.bytes)
    .slice(0, MAX_CHILDREN);
  const children = await Promise.all(
    largest.map(async ({ entry: { pid, name }, bytes }) => {
      const command = (await table.read(pid))?.command ?? [];
      return { name: nameOf(command) ?? name, pid, bytes };
    }),
  );
  return { bytes: total(family), processes: family.length, children };
}

/** Names the program and the script that it runs (`node typescript-language-server`). The rest may hold secrets. */
function nameOf([program, script]: readonly string[]): string | undefined {
  if (program === undefined) return undefined;
  const isScript = script !== undefined && !script.startsWith('-') && !script.includes('=');
  const words = isScript ? [basename(program), basename(script)] : [basename(program)];
  return words.join(' ').slice(0, MAX_NAME);
}
