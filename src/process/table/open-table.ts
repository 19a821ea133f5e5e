/** Chooses the process table of this machine. */
import { existsSync } from 'node:fs';
import { ProcTable } from './proc-table.js';
import type { ProcessTable } from './process-table.js';
import { PsTable } from './ps-table.js';

export function openProcessTable(): ProcessTable {
  return existsSync('/proc/self/stat') ? new ProcTable() : new PsTable();
}
