/** `status`: the running daemon's view, once or refreshed in place. */
import { DaemonClient } from './daemon-client.js';
import {
  type CommonOptions,
  commonOf,
  complain,
  EXIT,
  loadForCommand,
  printJson,
  printPainted,
} from './shared.js';
import { readStatus } from './status-schema.js';
import { MAX_SESSIONS, statusLines } from './status-text.js';

export interface StatusOptions extends CommonOptions {
  watch?: boolean;
  all?: boolean;
  json?: boolean;
}

export async function status(options: StatusOptions): Promise<number> {
  const { watch, all = false, json } = options;
  const client = new DaemonClient(loadForCommand(commonOf(options)));
  if (watch) {
    const { watchStatus } = await import('./status-watch.js');
    return watchStatus(client, json === true, all);
  }
  const { body } = await client.get('/status');
  const seen = readStatus(body);
  if (json) printJson(body);
  else printPainted(statusLines(seen, { ...terminal(), all }).join('\n'));
  const missing = await client.missingToken(body);
  // What may be seen without the token has been printed.
  if (missing !== undefined) throw missing;
  if (seen.withheld !== undefined) complain(seen.withheld);
  return EXIT.done;
}

/** A pipe is for `grep` and for files, so nothing is cut or left out there. */
function terminal(): { columns: number; colours: boolean; sessions?: number } {
  const { isTTY, columns } = process.stdout;
  if (isTTY !== true) return { columns: Number.POSITIVE_INFINITY, colours: false };
  return { columns: columns || 80, colours: !process.env.NO_COLOR, sessions: MAX_SESSIONS };
}
