/** What happened in a part of the log: runs, incidents, restarts, outages, and what waits for a person at its end. */
import { defined } from '../../lib/defined.js';
import { itemsOf } from '../../lib/redaction.js';
import { EVENT_NAMES, isAct } from '../../telemetry/catalogue/catalogue.js';
import type { LogLine } from '../../telemetry/log-line.js';
import { recordOf } from '../../telemetry/log-line.js';
import { type Incident, Incidents } from '../incidents.js';
import { isUnderWay, leavesRestart, type RestartEnd } from '../restart-left.js';
import { type SessionName, Sessions } from './session-names.js';
import { type Unwatched, UnwatchedTimes } from './unwatched.js';

/** One run's end (`session.ended`), or what older logs say about it. */
export interface RunEnd {
  time: string;
  session: SessionName;
  outcome: string;
  /** US dollars; undefined if the log does not say. */
  costUsd?: number;
  tokens?: number;
  tookMs?: number;
  /** By the wall clock: `tookMs` leaves out the time in which the daemon did not run. Undefined without `tookMs`. */
  began?: string;
  error?: string;
}

export interface Restart extends RestartEnd {
  time: string;
  reason: string;
  detail?: string;
  /** The sessions whose runs it cut. */
  cut: SessionName[];
  /** How many more it cut: the log names only the first of a long list. */
  moreCut?: number;
}

export interface Outage {
  time: string;
  provider: string;
  model: string;
  sessions?: number;
  message?: string;
  /** Undefined: it has not ended. */
  endedAt?: string;
  /** Undefined, although it has an end: the daemon ended first, and nobody knows how it went on. */
  outageMs?: number;
}

/** Something that only a person can settle. */
export interface Waiting {
  since: string;
  session?: SessionName;
  what: string;
}

export interface Report {
  /** ISO 8601, like all times in the report. */
  from: string;
  until: string;
  servers: string[];
  lines: number;
  /** Starts of the daemon. */
  starts: number;
  /** What happened in these times is not in the report. */
  unwatched: Unwatched[];
  /** When the watch ended, maybe before `from`. Undefined: somebody watched to the end. */
  watchEndedAt?: string;
  /** The daemon did nothing, or nothing for a part of the time: the report says what it would have done. */
  dryRun: boolean | 'partly';
  runs: RunEnd[];
  incidents: (Incident & { session?: SessionName })[];
  restarts: Restart[];
  outages: Outage[];
  budgets: { time: string; says: string; isSpent: boolean }[];
  waiting: Waiting[];
  /** Actions that people asked for. */
  asked: { time: string; says: string }[];
}

const ACTS: ReadonlySet<string> = new Set(EVENT_NAMES.filter(isAct));

/** @param lines oldest first */
export function collect(lines: readonly LogLine[], from: number, until: number): Report {
  const collector = new Collector();
  for (const line of lines) {
    // Earlier lines tell what the sessions are called, and which incidents were open.
    if (line.time <= until) collector.take(line, line.time >= from);
  }
  return collector.report(from, until);
}

class Collector {
  readonly #sessions = new Sessions();
  /** As many as the log has. */
  readonly #incidents = new Incidents(Number.POSITIVE_INFINITY);
  readonly #servers = new Set<string>();
  readonly #runs: RunEnd[] = [];
  readonly #restarts: Restart[] = [];
  readonly #outages: Outage[] = [];
  readonly #budgets: Report['budgets'] = [];
  readonly #asked: Report['asked'] = [];
  /** By session and request, or by what is wrong with the server. */
  readonly #waiting = new Map<string, Waiting>();
  /** Open when their daemon ended. None started before the report's time, so they may have lasted into it. */
  readonly #unwatched = new Set<Incident | Outage>();
  /** Times in which the daemon did not run, by their end. */
  readonly #gaps: { time: number; ms: number }[] = [];
  readonly #unwatchedTimes = new UnwatchedTimes();
  #lines = 0;
  #starts = 0;
  /** Of the daemon that wrote the line; undefined while its lines do not say. */
  #dryRun: boolean | undefined;
  readonly #modes = new Set<boolean>();
  /** The log has `session.ended`, so the ends of runs need not be derived from other events. */
  #saysEnds = false;

  take(line: LogLine, counts: boolean): void {
    const { event, fields, time, msg, server } = line;
    this.#sessions.take(fields);
    if (counts) {
      this.#lines += 1;
      if (server !== undefined) this.#servers.add(server);
    }
    if (event === 'daemon.started') this.#started(line, counts);
    this.#takeMode(line, counts);
    this.#unwatchedTimes.take(line);
    if (event === 'daemon.gap') this.#gaps.push({ time, ms: number(fields.gapMs) ?? 0 });
    this.#incidents.take(recordOf(line));
    this.#takeWaiting(line);
    this.#takeOutage(line);
    if (event === 'session.ended' && !this.#saysEnds) {
      this.#saysEnds = true;
      this.#runs.length = 0;
    }
    if (!counts) return;
    switch (event) {
      case 'session.ended':
        this.#ended(line, text(fields.outcome) ?? 'ended');
        return;
      case 'session.aborted':
      case 'session.failed':
      case 'session.interrupted':
        if (!this.#saysEnds) this.#ended(line, event.slice('session.'.length));
        return;
      case 'session.health':
        // In a log from before `session.ended`, a run that ended from good health was completed.
        if (!this.#saysEnds && fields.health === 'idle' && isWell(fields.previous)) {
          this.#ended(line, 'completed');
        }
        return;
      case 'server.restarting':
        this.#restarting(line);
        return;
      case 'server.restarted':
        this.#lastRestart({ tookMs: number(fields.tookMs) });
        return;
      case 'server.restart_failed':
        if (fields.reason === 'start') return;
        this.#lastRestart({
          error: text(fields.error),
          ...(fields.serverAlive === true && { cut: [], moreCut: 0 }),
        });
        return;
      case 'act.skipped':
        if (leavesRestart(recordOf(line)) && this.#restartUnderWay !== undefined)
          this.#restarts.pop();
        return;
      case 'budget.warning':
      case 'budget.exceeded':
        this.#budgets.push({ time: iso(time), says: msg, isSpent: event === 'budget.exceeded' });
        return;
      case 'act.requested':
      case 'daemon.paused':
      case 'daemon.resumed':
        this.#asked.push({ time: iso(time), says: msg });
        return;
    }
  }

  report(from: number, until: number): Report {
    const watchEndedAt = this.#unwatchedTimes.endedAt(until);
    if (watchEndedAt !== undefined) this.#watchEnded(watchEndedAt, true);
    const isIn = (each: Incident | Outage) =>
      endsSince(from, each.endedAt) || this.#unwatched.has(each);
    const incidents = this.#incidents.list.filter(isIn).map((incident) => ({
      ...incident,
      ...(incident.sessionID === undefined
        ? {}
        : { session: this.#sessions.name(incident.sessionID) }),
    }));
    return {
      from: new Date(from).toISOString(),
      until: new Date(until).toISOString(),
      servers: [...this.#servers],
      lines: this.#lines,
      starts: this.#starts,
      unwatched: this.#unwatchedTimes.within(from, until),
      ...(watchEndedAt !== undefined && { watchEndedAt: iso(watchEndedAt) }),
      dryRun: this.#modes.size === 2 ? 'partly' : this.#modes.has(true),
      runs: this.#runs,
      incidents,
      restarts: this.#restarts,
      outages: this.#outages.filter(isIn),
      budgets: this.#budgets,
      waiting: [...this.#waiting.values()],
      asked: this.#asked,
    };
  }

  #started({ time }: LogLine, counts: boolean): void {
    if (counts) this.#starts += 1;
    // What was open may have ended right after the last line of the daemon before.
    this.#watchEnded(this.#unwatchedTimes.lastTime ?? time, counts);
    // The new daemon logs again what still waits, except the quarantines, which it remembers.
    this.#forget('');
  }

  /** Ends what is open: its daemon is gone, and nobody knows how it went on. */
  #watchEnded(lastSeen: number, counts: boolean): void {
    const open = [...this.#incidents.list, ...this.#outages].filter((each) => !each.endedAt);
    if (counts) for (const each of open) this.#unwatched.add(each);
    this.#lastRestart({ endUnseen: true });
    this.#incidents.endUnwatched(lastSeen);
    for (const outage of this.#outages) outage.endedAt ??= iso(lastSeen);
  }

  /** The history leaves the configuration out of `daemon.started`: there, the acts alone say what the daemon was. */
  #takeMode({ event, fields, would }: LogLine, counts: boolean): void {
    const { config, because } = fields;
    if (event === 'daemon.started') {
      const says = typeof config === 'object' && config !== null && 'dryRun' in config;
      this.#dryRun = says ? config.dryRun === true : undefined;
    } else if (would || (event === 'act.skipped' && because === 'dryRun')) this.#dryRun = true;
    else if (ACTS.has(event)) this.#dryRun ??= false;
    if (counts && this.#dryRun !== undefined) this.#modes.add(this.#dryRun);
  }

  /** When something began that ended at `time` and took so long by a clock that stands still in a gap. */
  #beganAt(time: number, tookMs: number): number {
    let began = time - tookMs;
    for (const gap of this.#gaps.toReversed()) {
      if (gap.time <= began) break;
      began -= gap.ms;
    }
    return began;
  }

  #ended({ time, fields }: LogLine, outcome: string): void {
    const tookMs = number(fields.tookMs);
    this.#runs.push({
      time: iso(time),
      session: this.#sessions.name(String(fields.sessionID)),
      outcome,
      ...defined({
        costUsd: number(fields.costUsd),
        tokens: number(fields.tokens),
        tookMs,
        began: tookMs === undefined ? undefined : iso(this.#beganAt(time, tookMs)),
        error: text(fields.error),
      }),
    });
  }

  #restarting({ time, fields, would }: LogLine): void {
    if (would) return;
    const { items, more } = itemsOf(Array.isArray(fields.interrupted) ? fields.interrupted : []);
    this.#restarts.push({
      time: iso(time),
      reason: text(fields.reason) ?? 'unknown',
      ...defined({ detail: text(fields.detail) }),
      cut: items.map((id) => this.#sessions.name(String(id))),
      ...(more > 0 && { moreCut: more }),
    });
  }

  get #restartUnderWay(): Restart | undefined {
    const last = this.#restarts.at(-1);
    return last !== undefined && isUnderWay(last) ? last : undefined;
  }

  #lastRestart(
    end: { [K in keyof RestartEnd | 'cut' | 'moreCut']?: Restart[K] | undefined },
  ): void {
    const last = this.#restartUnderWay;
    if (last !== undefined) Object.assign(last, defined(end));
  }

  #takeOutage({ event, fields, time }: LogLine): void {
    if (event === 'provider.outage') {
      this.#outages.push({
        time: iso(time),
        provider: text(fields.provider) ?? '?',
        model: text(fields.model) ?? '?',
        ...defined({ sessions: number(fields.sessions), message: text(fields.message) }),
      });
    }
    if (event === 'provider.back') {
      const open = this.#outages.findLast(
        ({ provider, model, endedAt }) =>
          endedAt === undefined && provider === fields.provider && model === fields.model,
      );
      if (open !== undefined) {
        Object.assign(open, {
          endedAt: iso(time),
          ...defined({ outageMs: number(fields.outageMs) }),
        });
      }
    }
  }

  #takeWaiting({ event, fields, time, msg }: LogLine): void {
    const id = text(fields.sessionID);
    const session = id === undefined ? undefined : this.#sessions.name(id);
    const put = (key: string, what: string) =>
      this.#waiting.set(key, { since: iso(time), what, ...defined({ session }) });
    switch (event) {
      case 'session.waiting':
        put(`${id} ${text(fields.requestID)}`, `a ${text(fields.on) ?? 'request'} is unanswered`);
        return;
      case 'session.answered':
        this.#waiting.delete(`${id} ${text(fields.requestID)}`);
        return;
      case 'session.wedged':
        if (fields.next === 'nothing')
          put(
            `${id} wedged`,
            'it cannot be aborted, and nothing more is done for it: restart opencode when its other runs can be spared',
          );
        return;
      case 'session.quarantined':
        put(`${id} quarantined`, 'it was at work in too many crashes, and is continued no more');
        return;
      case 'session.ended':
      case 'session.aborted':
      case 'session.failed':
      case 'session.interrupted':
        this.#forget(`${id} `);
        return;
      case 'session.health':
        if (fields.health === 'idle') this.#forget(`${id} `);
        // Somebody uses the session again, which ends its quarantine.
        else this.#waiting.delete(`${id} quarantined`);
        return;
      case 'server.unauthorized':
      case 'server.unsupported':
      case 'server.breaker_open':
        put(`server ${event}`, msg.replace(/\.$/, ''));
        return;
      case 'server.breaker_closed':
        this.#forget('server server.breaker_open');
        return;
      case 'server.healthy':
        this.#forget('server server.un');
        return;
      case 'daemon.paused':
        put('daemon paused', 'the daemon is paused, and acts no more until it is resumed');
        return;
      case 'daemon.resumed':
      case 'daemon.stopped':
        this.#forget('daemon ');
        return;
    }
  }

  /** A quarantine ends neither with the run nor with the daemon. */
  #forget(start: string): void {
    for (const key of this.#waiting.keys()) {
      if (key.startsWith(start) && !key.endsWith(' quarantined')) this.#waiting.delete(key);
    }
  }
}

function iso(time: number): string {
  return new Date(time).toISOString();
}

/** Whether something overlaps with the time from `from` on. What is open has no end. */
function endsSince(from: number, endedAt: string | undefined): boolean {
  return endedAt === undefined || Date.parse(endedAt) >= from;
}

function isWell(health: unknown): boolean {
  return (
    health === 'busy' || health === 'delegating' || health === 'waiting' || health === 'retrying'
  );
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function number(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined;
}
