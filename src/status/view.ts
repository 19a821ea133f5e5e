/** What `/status` returns and the page shows: the daemon's facts with the last hour's history, redacted and bounded. */
import { BoundedMap } from '../lib/bounded.js';
import type { Clock } from '../lib/clock.js';
import type { Redactor } from '../lib/redaction.js';
import { type LogLine, recordOf } from '../telemetry/log-line.js';
import type { TelemetryRecord } from '../telemetry/logger.js';
import { countByHealth, type Health } from '../watchdog/decision.js';
import type { LoopLag } from './event-loop-lag.js';
import { HealthTimeline, SLOT_MS } from './health-timeline.js';
import { HOUR_MS, ServerHistory } from './history.js';
import { type Incident, Incidents } from './incidents.js';
import type { Counters, SessionRow, StatusJson } from './json.js';
import { isAside } from './report/unwatched.js';
import { leavesRestart } from './restart-left.js';
import { Series } from './series.js';
import type { SessionExcerpt, SessionFacts, StatusSource } from './source.js';

/** Sessions in `/status`. At the limit: only the worst are in it; `sessionsTotal` says how many there are. */
export const MAX_ROWS = 1_000;
/** Characters of a text in `/status` (title, directory, message). At the limit: it is cut, and says so. */
export const MAX_TEXT = 300;
/**
 * Texts remembered in the form that may be shown. At the limit: the oldest is forgotten, and cleaned again when needed.
 */
export const MAX_CLEANED = 5_000;
/**
 * Sessions with a record of who asked for an abort, and as many of what cut a run. At the limit: the oldest is
 * forgotten, and the page does not say who ended the run.
 */
export const MAX_ENDERS = 500;
/** A moment that is derived from two clocks jitters a little: a difference below this is not a change. */
const JITTER_MS = 1_500;

const COUNTED: Partial<Record<TelemetryRecord['event'], keyof Counters>> = {
  'session.stuck': 'stuck',
  'session.aborted': 'aborted',
  'session.abort_failed': 'abortsFailed',
  'session.wedged': 'wedged',
  'session.recovered': 'recovered',
  'session.failed': 'failed',
  'session.continued': 'continued',
  'session.interrupted': 'interrupted',
  'stream.lost': 'streamLost',
  'server.restarting': 'restarts',
};

export interface ViewOptions {
  source: StatusSource;
  clock: Clock;
  redactor: Redactor;
  lag: LoopLag;
  version: string;
  /** `status.acts`; true by default. */
  acts?: boolean;
  /** URL of the watched server, without credentials. */
  url: string;
}

export class StatusView {
  readonly #o: ViewOptions;
  readonly incidents = new Incidents();
  readonly history = new ServerHistory();
  readonly timelines = new HealthTimeline();
  readonly series = new Series();
  readonly counters: Counters = {
    stuck: 0,
    aborted: 0,
    abortsFailed: 0,
    wedged: 0,
    recovered: 0,
    failed: 0,
    continued: 0,
    interrupted: 0,
    streamLost: 0,
    restarts: 0,
  };
  /** Who asked for the abort of a session's run. */
  readonly #askers = new BoundedMap<string, string>(MAX_ENDERS);
  /** What cut a session's run. */
  readonly #cutters = new BoundedMap<string, string>(MAX_ENDERS);
  readonly #startedAt: number;
  /** Each absolute time that is derived from two clocks, as it was first given, so that it stays the same. */
  #times = new Map<string, number>();
  readonly #cleaned = new BoundedMap<string, string>(MAX_CLEANED);

  constructor(options: ViewOptions) {
    this.#o = options;
    this.#startedAt = options.clock.epoch();
  }

  /** Takes the events from before this daemon's start, oldest first. They are shown, but not counted. */
  restore(past: readonly LogLine[]): void {
    let lastTime: number | undefined;
    for (const line of past) {
      const record = recordOf(line);
      if (line.event === 'daemon.started') this.#endUnwatched(lastTime ?? line.time);
      if (!isAside(line)) lastTime = line.time;
      this.history.take(record);
      this.incidents.take(record);
      this.series.take(record);
      this.#noteEnder(record);
      if (record.event === 'session.health') {
        this.timelines.set(record.fields, record.fields.health, record.time);
      } else if (record.event === 'session.ended') this.#ended(record);
    }
    if (lastTime !== undefined) this.#endUnwatched(lastTime);
  }

  /**
   * Nothing is known about the time in which no daemon watched.
   *
   * @param time the last event of the daemon that ended
   */
  #endUnwatched(time: number): void {
    this.incidents.endUnwatched(time);
    this.history.endUnwatched(time);
    this.#askers.clear();
    this.#cutters.clear();
    for (const { fields, health } of [...this.timelines.values()]) {
      if (health !== 'idle') this.timelines.set(fields, 'idle', time);
    }
  }

  /** @returns the incidents that the event changed */
  take(record: TelemetryRecord): readonly Incident[] {
    this.history.take(record);
    this.series.take(record);
    this.#noteEnder(record);
    if (record.event === 'session.health') {
      this.timelines.set(record.fields, record.fields.health, record.time);
    } else if (record.event === 'session.ended') {
      this.#ended(record);
      const { steps } = record.fields;
      // A run that never began has no other event for its end.
      if (steps === 0 && record.fields.tookMs === 0)
        this.timelines.set(record.fields, 'idle', record.time);
    } else if (record.event === 'health.summary') {
      this.timelines.prune(record.time);
    }
    const counter = COUNTED[record.event];
    if (counter !== undefined && !record.would) this.counters[counter] += 1;
    if (leavesRestart(record)) this.counters.restarts -= 1;
    return this.incidents.take(record);
  }

  #ended({ fields, time }: Extract<TelemetryRecord, { event: 'session.ended' }>): void {
    const { outcome, reason, error, sessionID, costUsd, tokens } = fields;
    const enders = outcome === 'interrupted' ? this.#cutters : this.#askers;
    const isNamed = outcome === 'interrupted' || reason === 'manual';
    const by = isNamed ? enders.get(sessionID) : undefined;
    this.#askers.delete(sessionID);
    this.#cutters.delete(sessionID);
    const end = {
      outcome,
      at: time,
      costUsd,
      tokens,
      ...(reason === undefined ? {} : { reason }),
      ...(error === undefined ? {} : { error }),
      ...(by === undefined ? {} : { by }),
    };
    this.timelines.ended(fields, end, time);
  }

  /** The event that says who ends a run comes before the run's end. */
  #noteEnder(record: TelemetryRecord): void {
    switch (record.event) {
      case 'act.requested':
        if (record.fields.sessionID !== undefined)
          this.#askers.set(record.fields.sessionID, record.fields.by);
        return;
      case 'act.done':
        // The request ended no run, so a later end is not its work.
        if (record.fields.outcome !== 'done') this.#askers.delete(record.fields.sessionID);
        return;
      case 'session.interrupted': {
        const { sessionID, by, restartReason } = record.fields;
        this.#cutters.set(sessionID, restartReason ?? by);
        return;
      }
    }
  }

  /** One session with its children, if it is active or was within the last hour. */
  session(sessionID: string): { row: SessionRow; children: SessionRow[] } | undefined {
    const rows = this.rows();
    const row = rows.find(({ id }) => id === sessionID);
    return row && { row, children: rows.filter(({ parentID }) => parentID === sessionID) };
  }

  /** Returns the excerpt in the form that may be shown. */
  clean(excerpt: SessionExcerpt): SessionExcerpt {
    return this.#o.redactor.value(excerpt) as SessionExcerpt;
  }

  /** Measures the server's memory, at most every few seconds. */
  async refresh(): Promise<number | undefined> {
    const bytes = await this.#o.source.memory();
    if (bytes !== undefined) this.history.remember(this.#o.clock.epoch(), bytes);
    return bytes;
  }

  async json(): Promise<StatusJson> {
    const memoryBytes = await this.refresh();
    const { source, clock, lag, version } = this.#o;
    const now = clock.epoch();
    const rows = this.rows();
    source.wantExcerpts(
      rows
        .filter(({ health }) => health !== 'idle')
        .map(({ id, directory }) => ({ sessionID: id, ...(directory && { directory }) })),
    );
    return {
      time: new Date(now).toISOString(),
      watchdog: {
        version,
        pid: process.pid,
        startedAt: new Date(this.#startedAt).toISOString(),
        paused: source.paused,
        dryRun: source.dryRun,
        acts: this.#o.acts ?? true,
        memoryBytes: process.memoryUsage.rss(),
        loopLagMs: lag.worstMs,
        limits: source.limits,
      },
      server: { ...this.server(), ...(memoryBytes === undefined ? {} : { memoryBytes }) },
      counts: this.counts(rows),
      spentToday: source.spentToday,
      timelines: { slotMs: SLOT_MS, lastSlot: Math.floor(now / SLOT_MS) },
      sessions: rows.slice(0, MAX_ROWS),
      sessionsTotal: rows.length,
      incidents: this.incidents.list,
      openIncidents: this.incidents.openCount,
      restarts: this.history.restarts.toReversed(),
      history: { states: this.history.since(now), memory: this.history.memory },
      counters: this.counters,
    };
  }

  server(): StatusJson['server'] {
    const { clock, url, redactor } = this.#o;
    const now = clock.epoch();
    const { health, says, forMs, pid, version, api, restarts, recentRestarts, breaker, stream } =
      this.#o.source.server();
    const { state, opensAgainInMs } = breaker;
    const since = forMs === undefined ? undefined : this.#steady(`server ${health}`, now - forMs);
    const until =
      opensAgainInMs === undefined ? undefined : this.#steady('breaker', now + opensAgainInMs);
    return {
      url: redactor.text(url),
      health,
      ...(says === undefined ? {} : { says: redactor.text(says) }),
      ...(since === undefined ? {} : { since: new Date(since).toISOString() }),
      ...(version === undefined ? {} : { version }),
      ...(api === undefined ? {} : { api }),
      ...(pid === undefined ? {} : { pid }),
      restarts,
      recentRestarts,
      breaker: { state, ...(until === undefined ? {} : { until: new Date(until).toISOString() }) },
      stream,
    };
  }

  /** Every session that is active or was within the last hour, worst and longest first. */
  rows(): SessionRow[] {
    const now = this.#o.clock.epoch();
    const times = new Map<string, number>();
    const active = this.#o.source.sessions().map((facts) => this.#row(facts, now, times));
    const ids = new Set(active.map(({ id }) => id));
    const idle: SessionRow[] = [];
    for (const { fields, since, ended } of this.timelines.values()) {
      if (ids.has(fields.sessionID) || now - since > HOUR_MS) continue;
      idle.push({
        id: fields.sessionID,
        // The event that said so may have been lost with the server.
        health: 'idle',
        since,
        ...this.#texts(fields),
        ...(ended === undefined ? {} : { outcome: ended.outcome, endedAt: ended.at }),
        ...(ended?.by === undefined ? {} : { endedBy: ended.by }),
        ...(ended?.reason === undefined ? {} : { reason: ended.reason }),
        ...(ended?.error === undefined ? {} : { message: this.#clean(ended.error) }),
        ...(ended?.costUsd === undefined ? {} : { costUsd: ended.costUsd }),
        ...(ended?.tokens === undefined ? {} : { tokens: ended.tokens }),
        timeline: this.timelines.text(fields.sessionID, now),
      });
    }
    for (const { sessionID: id, inMs, forMs, ...fields } of this.#o.source.parked()) {
      if (ids.has(id)) continue;
      const time = this.#timesOf(id, times);
      const parkedUntil = time('parked until', now + inMs);
      const row = idle.find((each) => each.id === id);
      if (row !== undefined) row.parkedUntil = parkedUntil;
      else {
        const since = time('parked since', now - forMs);
        const timeline = this.timelines.text(id, now);
        idle.push({ id, health: 'idle', since, ...this.#texts(fields), parkedUntil, timeline });
      }
    }
    for (const { sessionID: id, ...fields } of this.#o.source.quarantined()) {
      const row = [...active, ...idle].find((each) => each.id === id);
      if (row !== undefined) row.quarantined = true;
      else {
        const timeline = this.timelines.text(id, now);
        idle.push({
          id,
          health: 'idle',
          since: this.#startedAt,
          ...this.#texts(fields),
          quarantined: true,
          timeline,
        });
      }
    }
    this.#times = new Map([...this.#times].filter(([key]) => !key.startsWith('session ')));
    for (const [key, time] of times) this.#times.set(key, time);
    return [...active, ...idle].sort(
      (a, b) => RANK[b.health] - RANK[a.health] || a.since - b.since || (a.id < b.id ? -1 : 1),
    );
  }

  counts(rows: readonly { health: Health }[]): Record<Health, number> {
    return countByHealth(this.#o.source.idleSessions, rows);
  }

  #row(facts: SessionFacts, now: number, times: Map<string, number>): SessionRow {
    const { sessionID: id, health, attempt, model, tool, reason, waitingFor } = facts;
    const time = this.#timesOf(id, times);
    const text = (value: string) => this.#clean(value);
    return {
      id,
      health,
      since: time(health, now - facts.forMs),
      ...this.#texts(facts),
      ...(attempt === undefined ? {} : { attempt }),
      ...(model === undefined ? {} : { model: text(model) }),
      ...(tool === undefined ? {} : { tool: text(tool) }),
      ...(facts.toolForMs === undefined ? {} : { toolSince: time('tool', now - facts.toolForMs) }),
      ...(facts.message === undefined ? {} : { message: text(facts.message) }),
      ...(facts.nextInMs === undefined ? {} : { nextAt: time('next', now + facts.nextInMs) }),
      ...(reason === undefined ? {} : { reason }),
      ...(waitingFor === undefined ? {} : { waitingFor }),
      ...(facts.waitingForMs === undefined
        ? {}
        : { waitingSince: time('waiting', now - facts.waitingForMs) }),
      ...(facts.silentMs === undefined ? {} : { quietSince: time('quiet', now - facts.silentMs) }),
      ...(facts.runForMs === undefined ? {} : { runSince: time('run', now - facts.runForMs) }),
      ...(facts.steps === undefined ? {} : { steps: facts.steps }),
      ...(facts.filesChanged === undefined ? {} : { filesChanged: facts.filesChanged }),
      ...this.#excerpt(id),
      ...(facts.costUsd === undefined ? {} : { costUsd: facts.costUsd }),
      ...(facts.tokens === undefined ? {} : { tokens: facts.tokens }),
      timeline: this.timelines.text(id, now),
    };
  }

  /** The part of a session's excerpt that its row shows. */
  #excerpt(sessionID: string): Pick<SessionRow, 'lastWords' | 'toolInput' | 'question'> {
    const { lastWords, tool, question } = this.#o.source.excerpt(sessionID) ?? {};
    return {
      ...(lastWords === undefined ? {} : { lastWords: this.#clean(lastWords) }),
      ...(tool === undefined || tool.input === '' ? {} : { toolInput: this.#clean(tool.input) }),
      ...(question === undefined ? {} : { question: this.#clean(question) }),
    };
  }

  /** Titles and directories seldom change, so each is searched for secrets only once. */
  #clean(value: string): string {
    let clean = this.#cleaned.get(value);
    if (clean === undefined) {
      clean = this.#o.redactor.text(value, MAX_TEXT);
      this.#cleaned.set(value, clean);
    }
    return clean;
  }

  #texts(fields: { directory?: string; title?: string; parentID?: string }) {
    const { directory, title, parentID } = fields;
    const text = (value: string) => this.#clean(value);
    return {
      ...(directory === undefined ? {} : { directory: text(directory) }),
      ...(title === undefined ? {} : { title: text(title) }),
      ...(parentID === undefined ? {} : { parentID }),
    };
  }

  /** The steady times of one session by name; each that is asked for is put into `times`. */
  #timesOf(id: string, times: Map<string, number>): (name: string, value: number) => number {
    return (name, value) => {
      const key = `session ${id} ${name}`;
      const steady = this.#steady(key, value);
      times.set(key, steady);
      return steady;
    };
  }

  #steady(key: string, value: number): number {
    const known = this.#times.get(key);
    const steady =
      known !== undefined && Math.abs(known - value) < JITTER_MS ? known : Math.round(value);
    this.#times.set(key, steady);
    return steady;
  }
}

const RANK: Readonly<Record<Health, number>> = {
  idle: 0,
  busy: 1,
  delegating: 2,
  waiting: 3,
  retrying: 4,
  looping: 5,
  stalled: 6,
  stuck: 7,
  wedged: 8,
};
