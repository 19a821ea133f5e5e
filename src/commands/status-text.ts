/** The daemon's status as lines for a terminal of any width, and uncut for a pipe. */
import { styleText } from 'node:util';
import { printableDeep } from '../lib/printable.js';
import { cutTo, shortId, widthOf } from '../lib/text-width.js';
import { projectOf } from '../telemetry/catalogue/session-name.js';
import { bytes, counted, time } from '../telemetry/number-text.js';
import { reasonWords } from '../telemetry/reason-words.js';
import { HEALTHS, type Health, type ServerHealth } from '../watchdog/decision.js';
import type { DaemonStatus } from './status-schema.js';

/**
 * Sessions that `status` shows on a terminal, without `--watch`. With the head lines and the incidents, that is at most
 * twenty lines. At the limit: the rest is counted; a pipe and `--watch` have them all.
 */
export const MAX_SESSIONS = 9;
/** Incidents that `status` shows. At the limit: older ones are left out. */
export const MAX_INCIDENTS = 4;
/** Below this width, a table's columns are too narrow to be read. */
const NARROW = 70;
/** From this width on there is room for whole ids. */
const ROOMY = 130;
const PROJECT_COLUMNS = 16;
/** A silence shorter than this is not worth showing, ms. */
const QUIET_WORTH_MS = 10_000;

export interface View {
  /** Infinity if nothing is cut: a pipe. */
  columns: number;
  colours: boolean;
  /** Shows idle sessions whose last run is completed, too. */
  all?: boolean;
  /** How many sessions are shown. */
  sessions?: number;
  /** Shows only sessions whose title, project or id contains this. */
  query?: string;
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

type Sessions = DaemonStatus['sessions'];
type Session = Sessions[number];
type Paint = (word: string, as?: string) => string;

/** What stands still at the top of a watched screen, and what scrolls below it. */
export interface StatusParts {
  head: string[];
  body: string[];
}

/** The lines have only our own colours: what the answer holds is made printable first. */
export function statusParts(answer: DaemonStatus, view: View): StatusParts {
  const { columns, colours, all = false, query = '', sessions = Number.POSITIVE_INFINITY } = view;
  const status = printableDeep(answer);
  const paint: Paint = (word, as = word.trim()) => {
    const colour = COLOUR_OF[as];
    return colours && colour !== undefined
      ? styleText(colour, word, { validateStream: false })
      : word;
  };
  const now = Date.parse(status.time);
  const narrow = columns < NARROW;
  const wanted = shownSessions(status, all).filter((session) => fits(session, query));
  // On a narrow terminal, each session takes two lines.
  const shown = wanted.slice(0, narrow ? Math.ceil(sessions / 2) : sessions);
  const rest = wanted.length - shown.length;
  const about = { now, limits: status.watchdog.limits };
  const rows = narrow ? list(shown, about, paint) : table(shown, about, columns, paint);
  const cut = (lines: string[]) => lines.map((line) => cutPainted(line, columns));
  return {
    head: cut([...head(status, now, paint), sessionsLine(status, paint)]),
    body: cut([
      ...rows,
      ...(rest > 0 ? [`… and ${rest} more`] : []),
      ...incidents(status, paint, sessions === Number.POSITIVE_INFINITY),
    ]),
  };
}

export function statusLines(answer: DaemonStatus, view: View): string[] {
  const { head, body } = statusParts(answer, view);
  return [...head, ...body];
}

/**
 * The active sessions, and the idle ones whose last run did not do its work: by their health they look just like the
 * others.
 */
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

function fits({ id, title = '', directory = '' }: Session, query: string): boolean {
  return `${id} ${title} ${directory}`.toLowerCase().includes(query.toLowerCase());
}

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
    watchdog.dryRun ? paint('DRY RUN: nothing is done', 'paused') : undefined,
    watchdog.paused ? paint('PAUSED: acts no more until resumed', 'paused') : undefined,
  ];
  return [
    `server    ${paint(server.health)}  ${join(facts)}  ${server.url}`,
    ...(server.says === undefined ? [] : [`          ${server.says}`]),
    `watchdog  ${join(own)}`,
  ];
}

/** `$1.25`, or `12,000 tokens` if the model has no price. */
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

interface About {
  now: number;
  limits: DaemonStatus['watchdog']['limits'];
}

const HEAD = ['HEALTH', 'FOR', 'PROJECT', 'TITLE', 'ID', 'DOING'] as const;
const GAP = '  ';

function table(shown: Sessions, about: About, columns: number, paint: Paint): string[] {
  if (shown.length === 0) return [];
  const rows = shown.map((session) => [
    session.health,
    time(about.now - session.since),
    cutTo(
      projectOf(session.directory ?? '') ?? '',
      columns === Number.POSITIVE_INFINITY ? columns : PROJECT_COLUMNS,
    ),
    `${session.parentID === undefined ? '' : '↳ '}${session.title ?? ''}`,
    columns >= ROOMY ? session.id : shortId(session.id),
    doing(session, about),
  ]);
  const natural = HEAD.map((name, at) =>
    Math.max(name.length, ...rows.map((row) => widthOf(row[at] ?? ''))),
  );
  const [health = 0, since = 0, project = 0, title = 0, id = 0] = natural;
  const rest = columns - health - since - project - id - GAP.length * (HEAD.length - 1);
  // A pipe has room for everything. A terminal gives the title what it needs, but at most 40 % of the rest.
  const titleWidth = Math.min(title, Math.max(12, Math.floor(rest * 0.4)));
  const widths = [health, since, project, titleWidth, id];
  const line = (cells: readonly string[]) =>
    cells.map((cell, at) => {
      const width = widths[at];
      return width === undefined ? cell : padTo(cutTo(cell, width), width);
    });
  return [
    '',
    line(HEAD).join(GAP),
    ...rows.map((row) => {
      const [first = '', ...others] = line(row);
      return [paint(first), ...others].join(GAP).trimEnd();
    }),
  ];
}

function padTo(text: string, width: number): string {
  return `${text}${' '.repeat(Math.max(0, width - widthOf(text)))}`;
}

/** For a terminal that has no room for columns: the project comes first, and the id is whole. */
function list(shown: Sessions, about: About, paint: Paint): string[] {
  return shown.flatMap((session) => {
    const name = [projectOf(session.directory ?? ''), session.title].filter(Boolean).join(' · ');
    return [
      `${paint(session.health)} ${time(about.now - session.since)}  ${name}`.trimEnd(),
      `  ${session.id}  ${doing(session, about)}`.trimEnd(),
    ];
  });
}

function incidents(
  { incidents, openIncidents }: DaemonStatus,
  paint: Paint,
  all: boolean,
): string[] {
  if (incidents.length === 0) return ['incidents none'];
  const open = incidents.filter(({ endedAt }) => endedAt === undefined);
  const over = incidents.filter(({ endedAt }) => endedAt !== undefined);
  const shown = [...open, ...over].slice(0, all ? incidents.length : MAX_INCIDENTS);
  return [
    '',
    `incidents ${openIncidents === 0 ? 'none open' : paint(`${openIncidents} open`, 'stuck')}, ${incidents.length} remembered`,
    ...shown.map(({ startedAt, kind, says, outcome }) => {
      const ending = outcome ?? paint('open', 'stuck');
      const words = says === undefined ? '' : `: ${says}`;
      return `  ${clock(startedAt)} ${kind.replace('_', ' ')}, ${ending}${words}`;
    }),
  ];
}

/** How a run ended, in the words of the status page. */
const ENDED: Readonly<Record<string, string>> = {
  completed: 'finished',
  empty: 'ended with nothing said or done',
  truncated: 'ended in the middle of an answer',
  aborted_elsewhere: 'aborted by somebody else',
};

/** Who ended a run that was aborted on request, or cut. */
const ENDERS: Readonly<Record<string, string>> = {
  page: 'from the status page',
  command: 'by a command',
  http: 'by a request over HTTP',
  stop: 'by the end of the daemon',
  dispose: 'as its project was loaded anew',
  elsewhere: 'by somebody else',
};

/** What a session waits for or fails on, measured against its limits, or how it ended. */
export function doing(session: Session, { now, limits }: About): string {
  if (session.quarantined && session.health === 'idle') {
    return 'quarantined: it was at work in crashes, and waits for your prompt';
  }
  if (session.parkedUntil !== undefined) {
    const left = session.parkedUntil - now;
    return left > 0
      ? `parked until ${clock(session.parkedUntil)}: told to go on in ${time(left)}`
      : 'parked: told to go on soon';
  }
  if (session.outcome !== undefined) {
    return join([ended(session), spentWords(session.costUsd, session.tokens)]);
  }
  const { attempt, message, nextAt, reason, tool, toolInput, waitingFor, model, question } =
    session;
  const since = (from: number | undefined) =>
    from === undefined ? '' : `, for ${time(now - from)}`;
  const of = (limit = 0) => (limit > 0 ? ` of ${time(limit)}` : '');
  const next = nextAt === undefined || nextAt <= now ? undefined : `next in ${time(nextAt - now)}`;
  const quietMs = session.quietSince === undefined ? 0 : now - session.quietSince;
  return join([
    waitingFor === undefined
      ? undefined
      : `waits for a person to answer a ${waitingFor}${since(session.waitingSince)}`,
    question,
    reason === undefined ? undefined : reasonWords(reason),
    attempt === undefined
      ? undefined
      : `attempt ${attempt}${limits === undefined ? '' : ` of ${limits.maxAttempts}`}`,
    message,
    next,
    tool === undefined
      ? undefined
      : `${tool}${toolInput === undefined ? '' : ` ${toolInput}`}${
          session.toolSince === undefined
            ? ''
            : ` for ${time(now - session.toolSince)}${of(limits?.maxToolTimeMs)}`
        }`,
    quietMs >= QUIET_WORTH_MS && session.health !== 'delegating'
      ? `quiet for ${time(quietMs)}${of(limits?.maxSilenceMs)}`
      : undefined,
    model,
    spentWords(session.costUsd, session.tokens),
    session.filesChanged === undefined
      ? undefined
      : `${counted(session.filesChanged, 'file')} changed`,
    session.lastWords === undefined ? undefined : `“${session.lastWords.replace(/\s+/g, ' ')}”`,
  ]);
}

function ended({ outcome = '', reason, message, endedAt, endedBy }: Session): string {
  const why = message === undefined ? '' : `: ${message}`;
  if (outcome === 'interrupted') {
    const when = endedAt === undefined ? '' : ` at ${clock(endedAt)}`;
    const by = endedBy === undefined ? '' : ` ${ENDERS[endedBy] ?? `by a restart (${endedBy})`}`;
    return `cut${when}${by}${why}`;
  }
  const words = ENDED[outcome] ?? outcome;
  if (reason === 'manual') return `${words} ${ENDERS[endedBy ?? ''] ?? 'on request'}${why}`;
  return `${words}${reason === undefined ? '' : ` (${reasonWords(reason)})`}${why}`;
}

function join(parts: readonly (string | undefined)[]): string {
  return parts.filter((part) => part !== undefined && part !== '').join(', ');
}

function clock(when: string | number): string {
  const at = new Date(when);
  return `${String(at.getHours()).padStart(2, '0')}:${String(at.getMinutes()).padStart(2, '0')}`;
}

const ESCAPE = /(\p{Cc}\[[\d;]*m)/u;

/** Cuts a line to the terminal's width, not counting colours. */
export function cutPainted(line: string, columns: number): string {
  let left = columns;
  let isCut = false;
  const kept = line.split(ESCAPE).map((part, at) => {
    // Every other part is an escape sequence, which takes no room.
    if (at % 2 === 1) return part;
    if (isCut) return '';
    const width = widthOf(part);
    isCut = width > left;
    const piece = isCut ? cutTo(part, left) : part;
    left -= Math.min(width, left);
    return piece;
  });
  return kept.join('').trimEnd();
}
