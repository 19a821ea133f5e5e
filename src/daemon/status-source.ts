/** What the loop shows of itself and lets people do: the `StatusSource` of the status endpoint. */
import type { Config } from '../config/schema.js';
import type { Clock } from '../lib/clock.js';
import type { ServerApi } from '../opencode/server-api.js';
import type { ServerControl } from '../process/control/control.js';
import type {
  ActResult,
  ServerFacts,
  SessionExcerpt,
  SessionFacts,
  ShownLimits,
  StatusSource,
} from '../status/source.js';
import type { ActBy } from '../telemetry/catalogue/events.js';
import type { Telemetry } from '../telemetry/logger.js';
import type { Note, SessionFields } from '../watchdog/decision.js';
import type { Observation, ParkedRun, Spent } from '../watchdog/observation.js';
import type { Watchdog } from '../watchdog/watchdog.js';
import { Excerpts } from './excerpts.js';

/** How long a measurement is reused, ms: it reads every process of the machine, which is too much for each request. */
const MEMORY_FRESH_MS = 10_000;
/**
 * Probes alone bring an observation every few seconds. If nothing comes for this long (ms) and for this many probes,
 * the monitor is deaf, and not just unused.
 */
const DEAF_MS = 60_000;
const DEAF_PROBES = 3;

/**
 * Models whose spending is counted apart. Metrics must have few labels. At the limit: further ones are counted
 * together, as `other`.
 */
export const MAX_MODELS = 100;
const OTHER_MODEL = 'other/other';

/** The end of an abort that a person asked for. */
type ManualAbortEnd = Extract<Note, { note: 'act.done' }>;

export interface DaemonStatusSourceOptions {
  watchdog: Watchdog;
  control: ServerControl;
  clock: Clock;
  telemetry: Telemetry;
  config: Config;
  client: Pick<ServerApi, 'excerpt'>;
  /** Events of the stream so far. */
  events(): number;
  /** Which version of opencode's API the server speaks. */
  api(): number;
  observe(o: Observation): void;
}

export class DaemonStatusSource implements StatusSource {
  readonly #o: DaemonStatusSourceOptions;
  readonly observations = new Map<string, number>();
  readonly spentByModel = new Map<string, Spent>();
  #onProbe: (tookMs: number) => void = () => {};
  readonly #excerpts: Excerpts;
  #sensedAt: number;
  #aliveAt: number | undefined;
  #stopped = false;
  /** Those who asked for an abort and wait for its end, by session. */
  readonly #waiting = new Map<string, Set<(result: ActResult) => void>>();
  #memory: { at: number; bytes: Promise<number | undefined> } | undefined;

  constructor(options: DaemonStatusSourceOptions) {
    this.#o = options;
    this.#sensedAt = options.clock.now();
    this.#excerpts = new Excerpts(options.client, options.clock);
  }

  /** When the daemon stops, nobody goes on waiting for an abort that a person asked for. */
  stop(): void {
    this.#stopped = true;
    this.#excerpts.stop();
    for (const waiting of this.#waiting.values()) for (const resolve of waiting) resolve(STOPPING);
    this.#waiting.clear();
  }

  /** To be called with every observation that the loop takes in. */
  saw(o: Observation): void {
    this.observations.set(o.kind, (this.observations.get(o.kind) ?? 0) + 1);
    // A tick comes from the loop itself, so it says nothing about the monitor.
    if (o.kind !== 'tick') this.#sensedAt = o.at;
    if (o.kind === 'session.step_finished' && o.step) this.#spent(o.sessionID, o.step);
    if (o.kind === 'probe.ok') this.#onProbe(o.at - o.startedAt);
    else if (o.kind === 'stream.alive' || o.kind === 'stream.connected') this.#aliveAt = o.at;
  }

  onProbe(listener: (tookMs: number) => void): void {
    this.#onProbe = listener;
  }

  server(): ServerFacts {
    const { watchdog, clock, events } = this.#o;
    const at = clock.now();
    const { server } = watchdog;
    const { state, breaker } = server;
    return {
      health: server.health(),
      ...(state.kind === 'unsupported' ? { says: `${state.answered}: ${state.means}` } : {}),
      ...(state.kind === 'unauthorized' && state.means !== undefined ? { says: state.means } : {}),
      ...(state.kind === 'unknown' ? {} : { forMs: at - state.since }),
      ...(server.pid === undefined ? {} : { pid: server.pid }),
      ...(server.version === undefined ? {} : { version: server.version, api: this.#o.api() }),
      restarts: server.restarts,
      recentRestarts: breaker.recent(at),
      breaker: {
        state: breaker.state.kind,
        ...(breaker.state.kind === 'open'
          ? { opensAgainInMs: Math.max(0, breaker.state.until - at) }
          : {}),
      },
      stream: {
        connected: server.streamConnected,
        ...(this.#aliveAt === undefined ? {} : { silentMs: at - this.#aliveAt }),
        events: events(),
      },
    };
  }

  sessions(): SessionFacts[] {
    return this.#o.watchdog.details(this.#o.clock.now());
  }

  get limits(): ShownLimits {
    const { stall, retry } = this.#o.config;
    return {
      maxSilenceMs: stall.maxSilence,
      maxAttempts: retry.maxAttempts,
      maxToolTimeMs: stall.maxToolTime,
      maxRunTimeMs: stall.maxRunTime,
    };
  }

  excerpt(sessionID: string): SessionExcerpt | undefined {
    return this.#excerpts.get(sessionID);
  }

  wantExcerpts(sessions: readonly { sessionID: string; directory?: string }[]): void {
    if (this.#canAsk) this.#excerpts.want(sessions);
  }

  async askExcerpt(
    sessionID: string,
    directory: string | undefined,
  ): Promise<SessionExcerpt | undefined> {
    if (!this.#canAsk) return this.#excerpts.get(sessionID);
    return this.#excerpts.ask({ sessionID, ...(directory === undefined ? {} : { directory }) });
  }

  /** A server that is down or being restarted is left alone. */
  get #canAsk(): boolean {
    const { server } = this.#o.watchdog;
    return !this.#stopped && server.healthy && !server.acting;
  }

  quarantined(): Iterable<SessionFields> {
    return this.#o.watchdog.crashes.quarantined.values();
  }

  parked(): ParkedRun[] {
    return this.#o.watchdog.parked(this.#o.clock.now());
  }

  get spentToday(): Readonly<Spent> {
    return this.#o.watchdog.spentToday;
  }

  #spent(sessionID: string, { costUsd = 0, tokens = 0 }: Partial<Spent>): void {
    const { watchdog, clock } = this.#o;
    const named = watchdog.session(sessionID, clock.now())?.model ?? OTHER_MODEL;
    const known = this.spentByModel;
    const model = known.has(named) || known.size < MAX_MODELS ? named : OTHER_MODEL;
    const before = known.get(model) ?? { costUsd: 0, tokens: 0 };
    known.set(model, { costUsd: before.costUsd + costUsd, tokens: before.tokens + tokens });
  }

  get idleSessions(): number {
    return this.#o.watchdog.idleSessions;
  }

  memory(): Promise<number | undefined> {
    const at = this.#o.clock.now();
    if (this.#memory === undefined || at - this.#memory.at > MEMORY_FRESH_MS) {
      this.#memory = { at, bytes: this.#o.control.memory().catch(() => undefined) };
    }
    return this.#memory.bytes;
  }

  get paused(): boolean {
    return this.#o.watchdog.pausedAt !== undefined;
  }

  get dryRun(): boolean {
    return this.#o.config.dryRun;
  }

  get deafMs(): number | undefined {
    const { watchdog, clock, config } = this.#o;
    // While the executor starts or restarts the server, the monitor rests.
    if (watchdog.server.acting) return undefined;
    const silentMs = clock.now() - this.#sensedAt;
    const { interval, timeout } = config.probe;
    return silentMs > Math.max(DEAF_MS, DEAF_PROBES * (interval + timeout)) ? silentMs : undefined;
  }

  /** The state machine decides it like every other act. Settles with its result. */
  async abort(sessionID: string, by: ActBy): Promise<ActResult> {
    const { clock, config, telemetry, observe } = this.#o;
    if (config.dryRun) return DRY_RUN;
    if (this.#stopped) return STOPPING;
    const known = this.sessions().find((session) => session.sessionID === sessionID);
    telemetry.emit('act.requested', {
      act: 'abort',
      by,
      sessionID,
      ...(known?.directory === undefined ? {} : { directory: known.directory }),
      ...(known?.title === undefined ? {} : { title: known.title }),
    });
    return new Promise((resolve) => {
      const waiting = this.#waiting.get(sessionID) ?? new Set();
      this.#waiting.set(sessionID, waiting.add(resolve));
      observe({ kind: 'abort.requested', at: clock.now(), sessionID, by });
    });
  }

  /** Answers everybody who asked for this abort. */
  told(end: ManualAbortEnd): void {
    const waiting = this.#waiting.get(end.sessionID);
    this.#waiting.delete(end.sessionID);
    for (const resolve of waiting ?? []) resolve(answerTo(end));
  }

  restart(by: ActBy): ActResult {
    const { control, config, telemetry, observe, clock } = this.#o;
    if (config.dryRun) return DRY_RUN;
    if (!control.acts) {
      const says = `server.control is ${control.mode}: this daemon never touches the server's process`;
      return { ok: false, status: 409, says };
    }
    telemetry.emit('act.requested', { act: 'restart', by });
    observe({ kind: 'restart.requested', at: clock.now(), reason: 'manual' });
    return { ok: true, says: 'the server is being restarted' };
  }

  pause(by: ActBy): ActResult {
    if (this.dryRun) return DRY_RUN;
    if (this.paused) return { ok: true, says: 'the daemon was paused already' };
    this.#o.observe({ kind: 'acts.paused', at: this.#o.clock.now() });
    this.#o.telemetry.emit('daemon.paused', { by });
    return { ok: true, says: 'paused: the daemon watches and decides on, and acts no more' };
  }

  resume(by: ActBy): ActResult {
    const { clock, telemetry, observe, watchdog } = this.#o;
    const { pausedAt } = watchdog;
    if (pausedAt === undefined) return { ok: true, says: 'the daemon was not paused' };
    const at = clock.now();
    telemetry.emit('daemon.resumed', { by, pausedMs: Math.round(at - pausedAt) });
    observe({ kind: 'acts.resumed', at });
    return { ok: true, says: 'resumed: the daemon acts again' };
  }
}

const DRY_RUN: ActResult = { ok: false, status: 409, says: 'dryRun is on: nothing is ever done' };
const STOPPING: ActResult = {
  ok: false,
  status: 502,
  says: 'the daemon is stopping: what became of the abort is not known',
};

function answerTo({ sessionID, outcome, tookMs, error }: ManualAbortEnd): ActResult {
  switch (outcome) {
    case 'done':
      return {
        ok: true,
        says: `session ${sessionID} is aborted: seen idle after ${tookMs ?? 0} ms`,
        outcome,
        ...(tookMs === undefined ? {} : { tookMs }),
      };
    case 'idle':
      return { ok: true, says: `session ${sessionID} is idle already`, outcome };
    case 'unknown':
      return { ok: false, status: 404, says: `there is no session ${sessionID}` };
    case 'failed': {
      const says = `the abort of session ${sessionID} was not seen to work: ${error ?? 'no reason is known'}`;
      return { ok: false, status: 502, says };
    }
  }
}
