/** `models`: the models that can be asked for, those of connected providers first, with their limits. */
import { printableDeep } from '../lib/printable.js';
import type { ModelList } from '../opencode/driver/types.js';
import { type DrivingOptions, drive, READS } from './driver-commands.js';
import { plainTable, rowsOf } from './sessions.js';
import { complain, EXIT, print, printJson } from './shared.js';

export interface ModelsOptions extends DrivingOptions {
  all?: boolean;
}

export async function models(_args: string[], options: ModelsOptions): Promise<number> {
  const { all = false, json = false } = options;
  return drive(
    options,
    async ({ driver, signal }) => {
      const list = await driver.models({ all, signal });
      if (json) printJson(list);
      else print(tableOf(list));
      if (!all && !json) complain('--all lists those of providers that are not connected, too');
      return EXIT.done;
    },
    READS,
  );
}

function tableOf(list: ModelList): string {
  const { models: shown, configured } = printableDeep(list);
  const table = plainTable(['model', 'context', 'output', 'variants', '']);
  for (const { id, connected, contextLimit, outputLimit, variants = {} } of shown) {
    const marks = [id === configured ? 'default' : '', connected ? '' : 'not connected'];
    const limits = [contextLimit, outputLimit].map((limit) => (limit ? String(limit) : '-'));
    const names = Object.keys(variants).join(', ');
    table.push([id, ...limits, names, marks.filter(Boolean).join(', ')]);
  }
  return rowsOf(table);
}
