/** `status`: the running daemon's view, once or refreshed in place. */
import { SystemClock, sleep } from '../lib/clock.js';
import { printable } from '../lib/printable.js';
import { DaemonClient, NoDaemonError } from './daemon-client.js';
import {
  complain,
  EXIT,
  loadForCommand,
  printJson,
  printJsonLine,
  printPainted,
} from './shared.js';
import { type DaemonStatus, readStatus } from './status-schema.js';
import { statusLines } from './status-text.js';

export interface StatusOptions {
  config?: string;
  url?: string;
  watch?: boolean;
  all?: boolean;
  json?: boolean;
}

const REFRESH_MS = 2_000;
/** Where nothing says how wide the output is: a pipe. */
const DEFAULT_COLUMNS = 120;
const ENTER_SCREEN = '\u001b[?1049h\u001b[?25l';
const LEAVE_SCREEN = '\u001b[?25h\u001b[?1049l';
const HOME = '\u001b[H';
const CLEAR_LINE = '\u001b[K';
const CLEAR_REST = '\u001b[J';

export async function status({
  config,
  url,
  watch,
  all = false,
  json,
}: StatusOptions): Promise<number> {
  const client = new DaemonClient(
    loadForCommand({
      ...(config === undefined ? {} : { config }),
      ...(url === undefined ? {} : { url }),
    }),
  );
  if (watch) return watchStatus(client, json === true, all);
  const { body } = await client.get('/status');
  const seen = readStatus(body);
  if (json) printJson(body);
  else printPainted(statusLines(seen, { ...terminal(), all }).join('\n'));
  const missing = await client.missingToken(body);
  // What may be seen without it has been printed.
  if (missing !== undefined) throw missing;
  if (seen.withheld !== undefined) complain(seen.withheld);
  return EXIT.done;
}

async function watchStatus(client: DaemonClient, json: boolean, all: boolean): Promise<number> {
  const stop = new AbortController();
  const onSignal = () => stop.abort();
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  const screen = process.stdout.isTTY === true && !json;
  const clock = new SystemClock();
  let last: string[] = [];
  if (screen) process.stdout.write(ENTER_SCREEN);
  try {
    while (!stop.signal.aborted) {
      if (json) printJsonLine((await client.get('/status')).body);
      else {
        last = await frame(client, all);
        if (screen) draw(last);
        else printPainted(`${last.join('\n')}\n`);
      }
      await sleep(clock, REFRESH_MS, stop.signal).catch(() => {
        // Told to stop: the loop's condition sees it.
      });
    }
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
    // What was seen last stays in the terminal's own history.
    if (screen) process.stdout.write(`${LEAVE_SCREEN}${last.join('\n')}\n`);
  }
  return EXIT.done;
}

/** A daemon that is being restarted is waited for. */
async function frame(client: DaemonClient, all: boolean): Promise<string[]> {
  let seen: DaemonStatus;
  try {
    seen = readStatus((await client.get('/status')).body);
  } catch (error) {
    if (!(error instanceof NoDaemonError)) throw error;
    return [printable(error.message, 'line')];
  }
  return statusLines(seen, { ...terminal(), all });
}

function draw(lines: readonly string[]): void {
  const rows = process.stdout.rows ?? lines.length;
  const shown = lines.slice(0, rows).map((line) => `${line}${CLEAR_LINE}`);
  process.stdout.write(`${HOME}${shown.join('\r\n')}${CLEAR_REST}`);
}

function terminal() {
  const { isTTY, columns } = process.stdout;
  return {
    columns: columns ?? DEFAULT_COLUMNS,
    colours: isTTY === true && !process.env.NO_COLOR,
  };
}
