/** `status --watch`: the status refreshed in place, with keys to scroll and to search. */
import { emitKeypressEvents, type Key } from 'node:readline';
import { SystemClock, sleep } from '../lib/clock.js';
import { printable } from '../lib/printable.js';
import { type DaemonClient, NoDaemonError } from './daemon-client.js';
import { EXIT, printJsonLine, printPainted } from './shared.js';
import { type DaemonStatus, readStatus } from './status-schema.js';
import { cutPainted, type StatusParts, statusParts } from './status-text.js';

const REFRESH_MS = 2_000;
const ENTER_SCREEN = '\u001b[?1049h\u001b[?25l';
const LEAVE_SCREEN = '\u001b[?25h\u001b[?1049l';
const HOME = '\u001b[H';
const CLEAR_LINE = '\u001b[K';
const CLEAR_REST = '\u001b[J';
/** The size of a terminal that does not report one. */
const DEFAULT_ROWS = 24;
const DEFAULT_COLUMNS = 80;

/** What a person looks at, and searches for. */
export interface Place {
  /** First line of the body that is shown. */
  top: number;
  query: string;
  /** True while the search is being typed. */
  typing: boolean;
}

export const START: Place = { top: 0, query: '', typing: false };

/** The place after a key; undefined ends the watch. @param page lines of the body that are shown */
export function pressed(
  place: Place,
  key: Pick<Key, 'name' | 'ctrl' | 'sequence'>,
  page: number,
): Place | undefined {
  const { name = '', ctrl = false, sequence = '' } = key;
  if (ctrl && name === 'c') return undefined;
  if (place.typing) {
    if (name === 'return' || name === 'enter') return { ...place, typing: false };
    if (name === 'escape') return { ...place, typing: false, query: '', top: 0 };
    if (name === 'backspace') return { ...place, query: place.query.slice(0, -1), top: 0 };
    const isText = !ctrl && /^[^\p{Cc}]$/u.test(sequence);
    return isText ? { ...place, query: place.query + sequence, top: 0 } : place;
  }
  switch (name) {
    case 'q':
      return undefined;
    case 'escape':
      return { ...place, query: '', top: 0 };
    case 'up':
    case 'k':
      return { ...place, top: place.top - 1 };
    case 'down':
    case 'j':
      return { ...place, top: place.top + 1 };
    case 'pageup':
      return { ...place, top: place.top - page };
    case 'pagedown':
    case 'space':
      return { ...place, top: place.top + page };
    case 'home':
    case 'g':
      return { ...place, top: 0 };
    case 'end':
      return { ...place, top: Number.MAX_SAFE_INTEGER };
    default:
      return sequence === '/' ? { ...place, typing: true, query: '', top: 0 } : place;
  }
}

/** The lines of one screen, and the place limited to what is possible. */
export function screenOf(
  { head, body }: StatusParts,
  place: Place,
  { rows, columns, clock }: { rows: number; columns: number; clock: string },
): { lines: string[]; place: Place } {
  const room = Math.max(1, rows - head.length - 1);
  const top = Math.max(0, Math.min(place.top, body.length - room));
  const shown = body.slice(top, top + room);
  const blank = Array.from({ length: Math.max(0, room - shown.length) }, () => '');
  return {
    lines: [
      ...head.slice(0, rows - 2),
      ...shown,
      ...blank,
      foot(body.length, top, shown.length, place, clock, columns),
    ].slice(-rows),
    place: { ...place, top },
  };
}

function foot(
  all: number,
  top: number,
  shown: number,
  place: Place,
  clock: string,
  columns: number,
): string {
  if (place.typing) return cutPainted(`/${place.query}▏`, columns);
  const part = all > shown ? `${top + 1}–${top + shown} of ${all} lines  ` : '';
  const query = place.query === '' ? '' : `/${place.query}  `;
  return cutPainted(`${clock}  ${part}${query}q ends, / searches, ↑ ↓ scroll`, columns);
}

export async function watchStatus(
  client: DaemonClient,
  json: boolean,
  all: boolean,
): Promise<number> {
  const { stdout, stdin } = process;
  const isScreen = stdout.isTTY === true && !json;
  const stop = new AbortController();
  const end = () => stop.abort();
  let code: number = EXIT.done;
  const onSignal = (_: string, signal: number) => {
    // Contract, "Command line".
    code = 128 + signal;
    end();
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  const clock = new SystemClock();
  let place = START;
  let seen: DaemonStatus | string | undefined;
  let last: string[] = [];

  function draw(): void {
    if (seen === undefined) return;
    const { rows, columns } = sizeOf();
    const colours = !process.env.NO_COLOR;
    const parts =
      typeof seen === 'string'
        ? { head: [cutPainted(seen, columns)], body: [] }
        : statusParts(seen, { columns, colours, all, query: place.query });
    const screen = screenOf(parts, place, {
      rows,
      columns,
      clock: new Date().toTimeString().slice(0, 8),
    });
    place = screen.place;
    last = [...parts.head, ...parts.body];
    const text = screen.lines.map((line) => `${line}${CLEAR_LINE}`).join('\r\n');
    stdout.write(`${HOME}${text}${CLEAR_REST}`);
  }

  function onKey(_text: string | undefined, key: Key): void {
    const next = pressed(place, key, Math.max(1, sizeOf().rows - 5));
    if (next === undefined) {
      end();
      return;
    }
    place = next;
    draw();
  }

  if (isScreen) {
    stdout.write(ENTER_SCREEN);
    stdout.on('resize', draw);
    if (stdin.isTTY) {
      emitKeypressEvents(stdin);
      stdin.setRawMode(true).on('keypress', onKey).resume();
    }
  }
  try {
    while (!stop.signal.aborted) {
      if (json) printJsonLine((await client.get('/status')).body);
      else {
        seen = await poll(client);
        if (isScreen) draw();
        else printPainted(`${linesOf(seen, all).join('\n')}\n`);
      }
      await sleep(clock, REFRESH_MS, stop.signal).catch(() => {
        // It was told to stop: the loop's condition sees that.
      });
    }
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
    if (isScreen) {
      stdout.off('resize', draw);
      if (stdin.isTTY) stdin.off('keypress', onKey).setRawMode(false).pause();
      // What was seen last stays in the terminal's own history.
      stdout.write(`${LEAVE_SCREEN}${last.join('\n')}\n`);
    }
  }
  return code;
}

function sizeOf(): { rows: number; columns: number } {
  const { rows, columns } = process.stdout;
  return { rows: rows || DEFAULT_ROWS, columns: columns || DEFAULT_COLUMNS };
}

/** If no daemon answers, it may be restarting, so it is asked again. */
async function poll(client: DaemonClient): Promise<DaemonStatus | string> {
  try {
    return readStatus((await client.get('/status')).body);
  } catch (error) {
    if (!(error instanceof NoDaemonError)) throw error;
    return printable(error.message, 'line');
  }
}

function linesOf(seen: DaemonStatus | string, all: boolean): string[] {
  if (typeof seen === 'string') return [seen];
  const { head, body } = statusParts(seen, {
    columns: Number.POSITIVE_INFINITY,
    colours: false,
    all,
  });
  return [...head, ...body];
}
