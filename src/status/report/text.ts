/** A report as one screen of text, for a terminal of any width. */
import { printableDeep } from '../../lib/printable.js';
import { cutTo, shortId } from '../../lib/text-width.js';
import { counted, time } from '../../telemetry/number-text.js';
import { reasonWords } from '../../telemetry/reason-words.js';
import type { RestartEnd } from '../restart-left.js';
import type { Outage, Report, RunEnd } from './collect.js';
import type { SessionName } from './session-names.js';
import type { Unwatched } from './unwatched.js';

/** Rows of each part, so that all parts together fit on a screen. */
const ROWS = 6;
/** A begin is derived from two clocks, and rounded: a subagent's may seem to be before that of its parent. */
const SLACK_MS = 1_000;
/** Outcomes of runs that nobody needs to look at. */
const UNEVENTFUL: ReadonlySet<string> = new Set(['completed', 'aborted_elsewhere']);

export interface Part {
  title: string;
  rows: string[];
  /** Rows that were left out. */
  more: number;
}

/** The content and its order, the same for every form of the report. */
export function partsOf(report: Report): { head: string[]; parts: Part[] } {
  const clean = printableDeep(report);
  const { restarts, outages, waiting, budgets, asked } = clean;
  // Outages have their own part.
  const incidents = clean.incidents.filter(({ kind }) => kind !== 'outage');
  const when = clockOf(clean);
  const stuck = incidents.map((incident) => {
    const { startedAt, endedAt, outcome, session, says, reason, id, kind } = incident;
    const lasted = endedAt === undefined ? 0 : Date.parse(endedAt) - Date.parse(startedAt);
    const end = endedAt === undefined ? 'OPEN' : `${outcome ?? 'over'} after ${time(lasted)}`;
    const what = session === undefined ? kind.replace('_', ' ') : nameOf(session);
    const why =
      session === undefined
        ? says
        : `${kind} (${reason === undefined ? 'no reason known' : reasonWords(reason)})`;
    return `${when(startedAt)}  ${what}: ${why} → ${end}  #${id}`;
  });
  const cuts = restarts.map((restart) => {
    const { time: at, reason, detail, cut, moreCut = 0 } = restart;
    const end = restartEnd(restart);
    const rest = moreCut > 0 ? ` and ${moreCut} more` : '';
    const names = cut.length === 0 ? 'cut nothing' : `cut ${cut.map(nameOf).join(', ')}${rest}`;
    return `${when(at)}  ${reason}, ${end}; ${names}${detail === undefined ? '' : ` (${detail})`}`;
  });
  const unwatched = clean.lines === 0 ? [] : clean.unwatched.toReversed();
  const parts = [
    part(
      `Not watched, as far as the log tells: ${unwatched.length}`,
      unwatched.map((each) => unwatchedRow(each, clean, when)),
      unwatched.length > 0,
    ),
    part(
      `Waiting for a person ${endOf(clean, when)}: ${waiting.length}`,
      waiting.map(
        ({ since, session, what }) =>
          `${when(since)}  ${session === undefined ? '' : `${nameOf(session)}: `}${what}`,
      ),
    ),
    part(
      runsTitle(clean.runs),
      notable(clean.runs).map((run) => runRow(run, when)),
    ),
    part(`Incidents: ${incidents.length}${openWords(incidents)}`, stuck),
    part(`Restarts: ${restarts.length}`, cuts),
    part(
      `Outages: ${outages.length}`,
      outages.map((outage) => {
        const { time: at, provider, model, sessions, message } = outage;
        const said = message === undefined ? '' : ` (${message})`;
        return `${when(at)}  ${provider}/${model}, ${counted(sessions ?? 0, 'session')}, ${outageEnd(outage)}${said}`;
      }),
    ),
    part(
      `Budgets: ${budgets.filter(({ isSpent }) => isSpent).length} spent, ${counted(budgets.filter(({ isSpent }) => !isSpent).length, 'warning')}`,
      budgets.map(({ time: at, says }) => `${when(at)}  ${says}`),
      budgets.length > 0,
    ),
    part(
      `People asked: ${asked.length}`,
      asked.map(({ time: at, says }) => `${when(at)}  ${says}`),
      asked.length > 0,
    ),
  ];
  return { head: headOf(clean), parts: parts.filter((each) => each !== undefined) };
}

export function textReport(report: Report, columns: number): string {
  const { head, parts } = partsOf(report);
  const lines = [
    ...head,
    ...parts.flatMap(({ title, rows, more }) => [
      title,
      ...rows.map((row) => `  ${row}`),
      ...(more > 0 ? [`  … and ${more} more`] : []),
    ]),
  ];
  return lines.map((line) => cutTo(line, columns)).join('\n');
}

/** `shop · Fix the build`; the id's end if there is no title. */
export function nameOf({ id, title, project }: SessionName): string {
  const words = title ?? shortId(id);
  return project === undefined ? words : `${project} · ${words}`;
}

function headOf({ from, until, servers, starts, dryRun, lines }: Report): string[] {
  const length = time(Date.parse(until) - Date.parse(from));
  const where = servers.length === 0 ? '' : ` at ${servers.join(', ')}`;
  const restarted = starts > 1 ? `; the daemon started ${starts} times` : '';
  return [
    `${dateOf(from)} ${hourOf(from)} to ${dateOf(until)} ${hourOf(until)} (${length})${where}${restarted}`,
    ...(lines === 0 ? ['Nothing is known of that time: did the daemon run?'] : []),
    ...(dryRun === true ? ['A dry run: of the acts below, nothing was done.'] : []),
    ...(dryRun === 'partly'
      ? ['A dry run for a part of the time: of the acts of that part, nothing was done.']
      : []),
  ];
}

const UNWATCHED: Readonly<Record<Unwatched['because'], string>> = {
  stopped: 'the daemon was stopped',
  ended: 'the daemon ended',
  asleep: 'it did not run: asleep?',
  no_line: 'no line of the log',
};

function unwatchedRow(time: Unwatched, { from, until }: Report, when: Clock): string {
  const words =
    time.from === from
      ? `until ${when(time.until)}`
      : time.until === until
        ? `since ${when(time.from)}`
        : `${when(time.from)} to ${when(time.until)}`;
  return `${words} (${UNWATCHED[time.because]})`;
}

/** What is known of the end of the report's time is of the moment when the watch ended. */
function endOf({ watchEndedAt }: Report, when: Clock): string {
  return watchEndedAt === undefined ? 'now' : `at ${when(watchEndedAt)}`;
}

function runsTitle(runs: readonly RunEnd[]): string {
  const counts = new Map<string, number>();
  for (const { outcome } of runs) counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
  const words = [...counts]
    .sort((a, b) => b[1] - a[1])
    .map(([outcome, amount]) => `${amount} ${outcome.replaceAll('_', ' ')}`);
  const whole = withoutParts(runs);
  const cost = whole.reduce((sum, run) => sum + (run.costUsd ?? 0), 0);
  const tokens = whole.reduce((sum, run) => sum + (run.tokens ?? 0), 0);
  const spent = [
    ...(cost > 0 ? [`$${cost.toFixed(2)}`] : []),
    ...(tokens > 0 ? [`${tokens.toLocaleString('en')} tokens`] : []),
  ];
  return [`Runs: ${runs.length}`, words.join(', '), spent.join(', ')].filter(Boolean).join('; ');
}

/** The runs whose cost no other run includes: a run's cost has its subagents' in it. */
function withoutParts(runs: readonly RunEnd[]): readonly RunEnd[] {
  const bySession = new Map<string, RunEnd[]>();
  for (const run of runs) {
    const ofSession = bySession.get(run.session.id);
    if (ofSession === undefined) bySession.set(run.session.id, [run]);
    else ofSession.push(run);
  }
  return runs.filter((run) => {
    const { session } = run;
    const above = session.parentID === undefined ? [] : (bySession.get(session.parentID) ?? []);
    const began = beginOf(run);
    // Its end tells nothing: where a restart cuts both runs, the line of its parent may come first.
    return !above.some(
      (parent) => beginOf(parent) - SLACK_MS <= began && began <= Date.parse(parent.time),
    );
  });
}

const beginOf = ({ time: endedAt, began = endedAt }: RunEnd) => Date.parse(began);

/** What went wrong first, then what cost most. */
function notable(runs: readonly RunEnd[]): RunEnd[] {
  const rank = ({ outcome }: RunEnd) => (UNEVENTFUL.has(outcome) ? 1 : 0);
  return runs.toSorted(
    (a, b) =>
      rank(a) - rank(b) || (b.costUsd ?? 0) - (a.costUsd ?? 0) || (a.time < b.time ? 1 : -1),
  );
}

function runRow(
  { time: at, session, outcome, costUsd, tookMs, error }: RunEnd,
  when: Clock,
): string {
  const facts = [
    ...(tookMs === undefined ? [] : [time(tookMs)]),
    ...(costUsd === undefined || costUsd === 0 ? [] : [`$${costUsd.toFixed(2)}`]),
  ];
  const behind = facts.length === 0 ? '' : `, ${facts.join(', ')}`;
  return `${when(at)}  ${outcome.replaceAll('_', ' ')}: ${nameOf(session)}${behind}${error === undefined ? '' : ` (${error})`}`;
}

function restartEnd({ tookMs, error, endUnseen }: RestartEnd): string {
  if (error !== undefined) return `failed: ${error}`;
  if (tookMs !== undefined) return `back after ${time(tookMs)}`;
  return endUnseen ? 'its end was not seen' : 'not back yet';
}

function outageEnd({ endedAt, outageMs }: Outage): string {
  if (outageMs !== undefined) return `over after ${time(outageMs)}`;
  return endedAt === undefined ? 'not over' : 'its end was not seen';
}

function openWords(incidents: Report['incidents']): string {
  const open = incidents.filter(({ endedAt }) => endedAt === undefined).length;
  return open === 0 ? '' : `, ${open} open`;
}

function part(title: string, rows: string[], isShown = true): Part | undefined {
  return isShown
    ? { title, rows: rows.slice(0, ROWS), more: Math.max(0, rows.length - ROWS) }
    : undefined;
}

type Clock = (iso: string) => string;

/** Shows the day beside the time if the report covers more than one day, or the time is of a day before. */
function clockOf({ from, until }: Report): Clock {
  const isOneDay = dateOf(from) === dateOf(until);
  return (iso) =>
    isOneDay && dateOf(iso) === dateOf(from) ? hourOf(iso) : `${dateOf(iso)} ${hourOf(iso)}`;
}

/** The local date, for a person to compare with their own day: `Nov 28`. */
export function dateOf(iso: string): string {
  const at = new Date(iso);
  return `${MONTHS[at.getMonth()]} ${at.getDate()}`;
}

export function hourOf(iso: string): string {
  const at = new Date(iso);
  return `${String(at.getHours()).padStart(2, '0')}:${String(at.getMinutes()).padStart(2, '0')}`;
}

const MONTHS = 'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split(' ');
