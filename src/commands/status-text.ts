/** The daemon's status as some twenty lines for a terminal of any width. */
import { styleText } from 'node:util';
import Table from 'cli-table3';
import { printableDeep } from '../lib/printable.js';
import { bytes, counted, time } from '../telemetry/number-text.js';
import { HEALTHS, type Health, type ServerHealth } from '../watchdog/decision.js';
import type { DaemonStatus } from './status-schema.js';

/**
 * Sessions that `status` shows. With the head lines and the incidents at most twenty lines. At the limit: the rest is
 * counted.
 */
export const MAX_SESSIONS = 9;
/** Incidents that `status` shows. At the limit: older ones are left out. */
export const MAX_INCIDENTS = 4;
/** Below this width, a table's columns are too narrow to be read. */
const NARROW = 70;

export interface View {
  columns: number;
  colours: boolean;
  /** Idle sessions whose last run is completed, too. */
  all?: boolean;
}

type Colour = Parameters<typeof styleText>[0];

const COLOUR_OF: Readonly<Record<string, Colour>> = {
  healthy: 'green',
  busy: 'green',
  delegating: 'cyan',
  waiting: 'blue',
  starting: 'yellow',
  restarting: 'yellow',
  retrying: 'yellow',
  looping: 'yellow',
  stalled: 'yellow',
  unauthorized: 'red',
  unresponsive: 'red',
  down: 'red',
  held: 'red',
  stuck: 'red',
  wedged: 'magenta',
  paused: 'yellow',
} satisfies Partial<Record<Health | ServerHealth | 'paused', Colour>>;

const WORST_FIRST: readonly string[] = HEALTHS.toReversed();

/** Painted with our own colours only: what the answer holds is made printable first. */
export function statusLines(
  answer: DaemonStatus,
  { columns, colours, all = false }: View,
): string[] {
  const status = printableDeep(answer);
  const paint = (word: string, as = word) => {
    const colour = COLOUR_OF[as];
    return colours && colour !== undefined
      ? styleText(colour, word, { validateStream: false })
      : word;
  };
  const now = Date.parse(status.time);
  const lines = [
    ...head(status, now, paint),
    sessionsLine(status, paint),
    ...(columns < NARROW ? list : table)(shownSessions(status, all), now, columns, paint),
    ...incidents(status, paint),
  ];
  return lines.map((line) => cutTo(line, columns));
}

type Sessions = DaemonStatus['sessions'];

/** The active ones, and of the idle ones those whose last run did not do its work: they look just like the others. */
function shownSessions({ sessions }: DaemonStatus, all: boolean): Sessions {
  return sessions.filter(
    ({ health, outcome = 'completed', parkedUntil, quarantined }) =>
      all ||
      health !== 'idle' ||
      outcome !== 'completed' ||
      parkedUntil !== undefined ||
      quarantined === true,
  );
}

type Paint = (word: string, as?: string) => string;

function head({ server, watchdog }: DaemonStatus, now: number, paint: Paint): string[] {
  const facts = [
    server.since === undefined ? undefined : `for ${time(now - Date.parse(server.since))}`,
    server.version,
    server.api === 2 ? 'API of OpenCode 2' : undefined,
    server.pid === undefined ? undefined : `pid ${server.pid}`,
    server.memoryBytes === undefined ? undefined : bytes(server.memoryBytes),
    counted(server.restarts, 'restart'),
    server.stream.connected ? undefined : paint('event stream lost', 'down'),
  ];
  const { state, until } = server.breaker;
  const breaker =
    state === 'closed'
      ? undefined
      : `breaker ${state.replace('_', ' ')}${until === undefined ? '' : `, again in ${time(Math.max(0, Date.parse(until) - now))}`}`;
  const own = [
    watchdog.version,
    `up ${time(now - Date.parse(watchdog.startedAt))}`,
    `pid ${watchdog.pid}`,
    bytes(watchdog.memoryBytes),
    breaker === undefined ? undefined : paint(breaker, 'held'),
    watchdog.dryRun ? paint('dry run: acts never', 'paused') : undefined,
    watchdog.paused ? paint('PAUSED: acts no more until resumed', 'paused') : undefined,
  ];
  return [
    `server    ${paint(server.health)}  ${join(facts)}  ${server.url}`,
    `watchdog  ${join(own)}`,
  ];
}

/** `$1.25`, or `12,000 tokens` where the model has no price. */
function spentWords(costUsd = 0, tokens = 0): string | undefined {
  if (costUsd >= 0.01) return `$${costUsd.toFixed(2)}`;
  return tokens > 0 ? `${tokens.toLocaleString('en')} tokens` : undefined;
}

function sessionsLine({ counts, spentToday }: DaemonStatus, paint: Paint): string {
  const words = WORST_FIRST.filter((health) => (counts[health] ?? 0) > 0).map(
    (health) => `${counts[health]} ${paint(health)}`,
  );
  const spent = spentWords(spentToday?.costUsd, spentToday?.tokens);
  return `sessions  ${words.join(', ') || 'none'}${spent === undefined ? '' : `; ${spent} today`}`;
}

function table(active: Sessions, now: number, columns: number, paint: Paint): string[] {
  if (active.length === 0) return [];
  const shown = active.slice(0, MAX_SESSIONS);
  const healthWidth = 10;
  const forWidth = 13;
  const idWidth = Math.max(...shown.map(({ id }) => id.length), 7);
  const rest = Math.max(20, columns - healthWidth - forWidth - idWidth - 2 * 5);
  const titleWidth = Math.max(8, Math.floor(rest * 0.4));
  const none = Object.fromEntries(PLACES.map((place) => [place, '']));
  const drawn = new Table({
    head: ['HEALTH', 'FOR', 'SESSION', 'TITLE', 'DOING'],
    chars: { ...none, middle: '  ' },
    colWidths: [healthWidth, forWidth, idWidth, titleWidth, rest - titleWidth],
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
  });
  for (const session of shown) {
    drawn.push([
      paint(session.health),
      time(now - session.since),
      session.id,
      session.title ?? '',
      doing(session, now),
    ]);
  }
  return ['', ...drawn.toString().split('\n'), ...more(active.length - shown.length)];
}

/** Where there is no room for columns. */
function list(active: Sessions, now: number, _columns: number, paint: Paint): string[] {
  const shown = active.slice(0, Math.floor(MAX_SESSIONS / 2));
  return [
    ...shown.flatMap((session) => [
      `${paint(session.health)} ${time(now - session.since)}  ${session.id}`,
      `  ${join([session.title, doing(session, now)])}`,
    ]),
    ...more(active.length - shown.length),
  ];
}

function more(hidden: number): string[] {
  return hidden > 0 ? [`… and ${hidden} more`] : [];
}

function incidents({ incidents, openIncidents }: DaemonStatus, paint: Paint): string[] {
  if (incidents.length === 0) return ['incidents none'];
  const open = incidents.filter(({ endedAt }) => endedAt === undefined);
  const over = incidents.filter(({ endedAt }) => endedAt !== undefined);
  const shown = [...open, ...over].slice(0, MAX_INCIDENTS);
  return [
    '',
    `incidents ${openIncidents === 0 ? 'none open' : paint(`${openIncidents} open`, 'stuck')}, ${incidents.length} since the start`,
    ...shown.map(({ startedAt, kind, says, outcome }) => {
      const end = outcome ?? paint('open', 'stuck');
      const words = says === undefined ? '' : `: ${says}`;
      return `  ${clock(startedAt)} ${kind.replace('_', ' ')}, ${end}${words}`;
    }),
  ];
}

/** How a run ended, as the status page says it too. */
const ENDED: Readonly<Record<string, string>> = {
  completed: 'finished',
  empty: 'ended with nothing said or done',
  truncated: 'ended in the middle of an answer',
  aborted_elsewhere: 'aborted by somebody else',
};

/** What a session waits for or fails on, or how it ended. */
export function doing(session: DaemonStatus['sessions'][number], now: number): string {
  const { attempt, message, nextAt, reason, tool, waitingFor, model, outcome } = session;
  if (session.quarantined && session.health === 'idle') {
    return 'quarantined: it was at work in crashes, and waits for your prompt';
  }
  if (session.parkedUntil !== undefined) {
    const left = session.parkedUntil - now;
    return left > 0 ? `parked: told to go on in ${time(left)}` : 'parked: told to go on soon';
  }
  if (outcome !== undefined) {
    const why = reason === undefined ? '' : ` (${reason})`;
    const how = `${ENDED[outcome] ?? outcome}${why}${message === undefined ? '' : `: ${message}`}`;
    return join([how, spentWords(session.costUsd, session.tokens)]);
  }
  const next = nextAt === undefined || nextAt <= now ? undefined : `next in ${time(nextAt - now)}`;
  return join([
    waitingFor === undefined ? undefined : `waits for a ${waitingFor}`,
    reason === undefined ? undefined : `${reason}`,
    attempt === undefined ? undefined : `attempt ${attempt}`,
    message,
    next,
    tool === undefined ? undefined : `runs ${tool}`,
    model,
    spentWords(session.costUsd, session.tokens),
  ]);
}

function join(parts: readonly (string | undefined)[]): string {
  return parts.filter((part) => part !== undefined && part !== '').join(', ');
}

function clock(iso: string): string {
  const at = new Date(iso);
  return `${String(at.getHours()).padStart(2, '0')}:${String(at.getMinutes()).padStart(2, '0')}`;
}

/** Cut to the terminal's width, colours not counted. */
function cutTo(line: string, columns: number): string {
  const parts = line.split(ESCAPE);
  let left = columns;
  let cut = false;
  const kept = parts.map((part, at) => {
    // Every other part is an escape sequence, which takes no room.
    if (at % 2 === 1) return part;
    const piece = part.slice(0, left);
    cut ||= piece.length < part.length;
    left -= piece.length;
    return piece;
  });
  const text = kept.join('').trimEnd();
  return cut && columns > 1 ? text.replace(/.((?:\p{Cc}\[[\d;]*m)*)$/u, '…$1') : text;
}

const ESCAPE = /(\p{Cc}\[[\d;]*m)/u;
const PLACES =
  'top top-mid top-left top-right bottom bottom-mid bottom-left bottom-right left left-mid mid mid-mid right right-mid'.split(
    ' ',
  );
