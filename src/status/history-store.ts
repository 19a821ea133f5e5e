/**
 * The history that outlives the daemon: the log events that people ask about later, in two files in the state
 * directory. `history` holds what happened to the sessions and the server. `health` holds what only the page's last
 * hour is drawn from. It has a lower limit of its own, so that busy sessions cannot push an incident out.
 */

import type { Clock } from '../lib/clock.js';
import { NEWS_ROOMS } from '../telemetry/catalogue/events.js';
import { type LogLine, logLineOf, parseLogLine } from '../telemetry/log-line.js';
import type { TelemetryRecord } from '../telemetry/logger.js';
import { LogRate } from '../telemetry/rate-limit.js';
import { withoutContent } from './content.js';
import { HistoryFile, readLines } from './history-file.js';

/**
 * Size of the history file, some ten thousand events. At the limit: the file replaces the previous one, whose events
 * are forgotten.
 */
export const MAX_HISTORY_BYTES = 4 * 1024 ** 2;
/** Size of the file of health changes, for the page's last hour. At the limit: the same as for the history. */
export const MAX_HEALTH_BYTES = 1024 ** 2;
/**
 * Events that `/history` can return. At the limit: the oldest is no longer returned, and `complete` says so; the files
 * may hold more.
 */
export const MAX_EVENTS = 5_000;
/** How far a file may exceed its limit when it is read: one event may be as long as the log allows. */
const SLACK_BYTES = 1024 ** 2;

const HISTORY = 'history';
const HEALTH = 'health';
/** Events that say nothing about the past, although all other events of their rooms are kept. */
const NOT_KEPT: ReadonlySet<string> = new Set(['session.health', 'server.output', 'daemon.state']);

/** Which file an event belongs to, if any. */
export function fileFor({ event, level, fields }: LogLine): 'history' | 'health' | undefined {
  if (event === 'session.health') return fields.previous === undefined ? undefined : HEALTH;
  if (event === 'health.summary') return HEALTH;
  const [room = ''] = event.split('.', 1);
  if (!NEWS_ROOMS.has(room) || NOT_KEPT.has(event)) return undefined;
  if (event === 'server.notice') return level === 'warn' || level === 'error' ? HISTORY : undefined;
  return HISTORY;
}

/**
 * Reads everything that is kept, oldest first, for the report and for the daemon's start.
 *
 * @param owner the uid of another user's daemon whose history it is; only root can read that
 */
export function readHistory(
  directory: string,
  owner?: number,
): { lines: LogLine[]; problems: string[] } {
  const history = readLines(directory, HISTORY, MAX_HISTORY_BYTES + SLACK_BYTES, owner);
  const health = readLines(directory, HEALTH, MAX_HEALTH_BYTES + SLACK_BYTES, owner);
  const lines = [...history.lines, ...health.lines].flatMap((line) => parseLogLine(line) ?? []);
  return {
    lines: lines.sort((a, b) => a.time - b.time),
    problems: [...history.problems, ...health.problems],
  };
}

export interface HistoryOptions {
  /** Undefined: the history is kept in memory only. */
  directory: string | undefined;
  clock: Clock;
  /** Called once, when the history cannot be read or written. What cannot be written is kept in memory only. */
  onProblem(says: string): void;
}

interface Event {
  time: number;
  json: string;
  /** The JSON of what may be read without the token, once somebody has asked for it. */
  bare?: string;
}

export class HistoryStore {
  readonly #o: HistoryOptions;
  readonly #files: Readonly<Record<'history' | 'health', HistoryFile>> | undefined;
  /** Events that outsiders can make us repeat must not push the others out. */
  readonly #rate: LogRate;
  /** Oldest first. */
  readonly #events: Event[] = [];
  /** Time of the last event that was dropped from memory, epoch ms. */
  #forgottenUntil = Number.NEGATIVE_INFINITY;
  #saidProblem = false;
  /** The events from before the daemon's start, oldest first; released once they are taken. */
  #past: LogLine[] = [];

  constructor(options: HistoryOptions) {
    this.#o = options;
    this.#rate = new LogRate({ clock: options.clock, onSuppressed: () => {} });
    const { directory } = options;
    if (directory === undefined) return;
    const { lines, problems } = readHistory(directory);
    for (const problem of problems) this.#complain(problem);
    this.#past = lines;
    for (const line of lines) {
      if (fileFor(line) === HISTORY) this.#remember(line.time, JSON.stringify(jsonOf(line)));
    }
    this.#files = {
      history: new HistoryFile(directory, HISTORY, MAX_HISTORY_BYTES),
      health: new HistoryFile(directory, HEALTH, MAX_HEALTH_BYTES),
    };
  }

  /** Returns the events from before the daemon's start, oldest first. It returns them only once. */
  takePast(): LogLine[] {
    const past = this.#past;
    this.#past = [];
    return past;
  }

  take(record: TelemetryRecord): void {
    const file = fileFor(record as LogLine);
    if (file === undefined) return;
    const { event, msg } = record;
    const subject = 'sessionID' in record.fields ? String(record.fields.sessionID) : '';
    if (!this.#rate.passes(event, msg, subject)) return;
    const json = logLineOf(event === 'daemon.started' ? withoutConfig(record) : record);
    if (file === HISTORY) this.#remember(record.time, json);
    try {
      this.#files?.[file].append(json);
    } catch (error) {
      this.#complain(error instanceof Error ? error.message : String(error));
    }
  }

  /**
   * The events as JSON texts, oldest first. Thousands may be asked for over and over, beside the watch, so no answer
   * parses what an earlier one has.
   *
   * @param from epoch ms
   */
  since(from: number, withContent: boolean): { events: string[]; complete: boolean } {
    const events = this.#events.filter(({ time }) => time >= from);
    return {
      events: events.map((event) => (withContent ? event.json : bareOf(event))),
      complete: from > this.#forgottenUntil,
    };
  }

  /**
   * The last events of one session, oldest first, at most `max`.
   *
   * @param from epoch ms
   */
  ofSession(sessionID: string, from: number, max: number): unknown[] {
    const found: unknown[] = [];
    const named = JSON.stringify(sessionID);
    for (const { time, json } of this.#events.toReversed()) {
      if (time < from || found.length >= max) break;
      // Only what names the session is parsed.
      if (!json.includes(named)) continue;
      const event: unknown = JSON.parse(json);
      if (isOf(sessionID, event)) found.push(event);
    }
    return found.reverse();
  }

  close(): void {
    this.#files?.history.close();
    this.#files?.health.close();
  }

  #remember(time: number, json: string): void {
    this.#events.push({ time, json });
    if (this.#events.length <= MAX_EVENTS) return;
    const gone = this.#events.shift();
    if (gone !== undefined) this.#forgottenUntil = gone.time;
  }

  #complain(says: string): void {
    if (this.#saidProblem) return;
    this.#saidProblem = true;
    this.#o.onProblem(says);
  }
}

function bareOf(event: Event): string {
  event.bare ??= JSON.stringify(withoutContent(JSON.parse(event.json)));
  return event.bare;
}

function isOf(sessionID: string, event: unknown): boolean {
  return (
    typeof event === 'object' &&
    event !== null &&
    'sessionID' in event &&
    event.sessionID === sessionID
  );
}

/** The whole configuration at every start would fill most of the history. */
function withoutConfig(
  record: Extract<TelemetryRecord, { event: 'daemon.started' }>,
): TelemetryRecord {
  const { version, pid } = record.fields;
  return { ...record, fields: { version, pid, config: {} } };
}

function jsonOf({ event, level, time, msg, would, fields }: LogLine): object {
  const head = { level, time: new Date(time).toISOString(), event, msg };
  return { ...head, ...(would && { would }), ...fields };
}
