/** What the loop shows of itself, and lets people do: the `StatusSource` of the status endpoint. */
import type { Config } from '../config/schema.js';
import type { Clock } from '../lib/clock.js';
import { abortSession } from '../opencode/actions/abort.js';
import type { ServerApi } from '../opencode/server-api.js';
import type { ServerControl } from '../process/control/control.js';
import type { ActResult, ServerFacts, SessionFacts, StatusSource } from '../status/source.js';
import type { Telemetry } from '../telemetry/logger.js';
import type { Observation, Spent } from '../watchdog/observation.js';
import { copyPolicy } from '../watchdog/policy.js';
import type { Watchdog } from '../watchdog/watchdog.js';

/** Measuring reads every process of the machine: not for each look. */
const MEMORY_FRESH_MS = 10_000;
/** Probes alone bring something every few seconds: nothing for this long, and for this many, is no quiet hour. */
const DEAF_MS = 60_000;
const DEAF_PROBES = 3;

/** Models whose spending is counted apart. Labels of metrics are to be few. At the limit: further ones are counted together, as `other`. */
export const MAX_MODELS = 100;
const OTHER_MODEL = 'other/other';

export interface DaemonStatusSourceOptions {
  watchdog: Watchdog;
  client: ServerApi;
  control: ServerControl;
  clock: Clock;
  telemetry: Telemetry;
  config: Config;
  /** Events of the stream so far. */
  events(): number;
  observe(o: Observation): void;
}

export class DaemonStatusSource implements StatusSource {
  readonly #o: DaemonStatusSourceOptions;
  readonly observations = new Map<string, number>();
  readonly spentByModel = new Map<string, Spent>();
  #onProbe: (tookMs: number) => void = () => {};
  #sensedAt: number;
  #aliveAt: number | undefined;
  #pausedAt: number | undefined;
  /** An abort that a person asked for is not waited for when the daemon stops. */
  readonly #stopping = new AbortController();
  #memory: { at: number; bytes: Promise<number | undefined> } | undefined;

  constructor(options: DaemonStatusSourceOptions) {
    this.#o = options;
    this.#sensedAt = options.clock.now();
  }

  /** Lets go of what a person asked for and is still being verified. */
  stop(): void {
    this.#stopping.abort(new Error('the daemon is stopping'));
  }

  /** Every observation that the loop takes in. */
  saw(o: Observation): void {
    this.observations.set(o.kind, (this.observations.get(o.kind) ?? 0) + 1);
    // A tick is the loop's own.
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
      ...(state.kind === 'unknown' ? {} : { forMs: at - state.since }),
      ...(server.pid === undefined ? {} : { pid: server.pid }),
      ...(server.version === undefined ? {} : { version: server.version }),
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
    return this.#pausedAt !== undefined;
  }

  get dryRun(): boolean {
    return this.#o.config.dryRun;
  }

  get deafMs(): number | undefined {
    const { watchdog, clock, config } = this.#o;
    // While the executor is busy with the process, the monitor rests.
    if (watchdog.server.acting) return undefined;
    const silentMs = clock.now() - this.#sensedAt;
    const { interval, timeout } = config.probe;
    return silentMs > Math.max(DEAF_MS, DEAF_PROBES * (interval + timeout)) ? silentMs : undefined;
  }

  async abort(sessionID: string): Promise<ActResult> {
    const { client, clock, config, telemetry } = this.#o;
    if (config.dryRun) return DRY_RUN;
    const known = this.sessions().find((session) => session.sessionID === sessionID);
    telemetry.emit('act.requested', { act: 'abort', sessionID });
    const end = await abortSession(client, clock, {
      sessionID,
      directory: known?.directory,
      verifyTimeoutMs: config.abort.verifyTimeout,
      signal: this.#stopping.signal,
      stop: this.#stopping.signal,
    });
    const act = { act: 'abort', sessionID } as const;
    switch (end.outcome) {
      case 'done':
        telemetry.emit('act.done', { ...act, outcome: 'done', tookMs: end.tookMs });
        return {
          ok: true,
          says: `session ${sessionID} is aborted: seen idle after ${end.tookMs} ms`,
          outcome: 'done',
          tookMs: end.tookMs,
        };
      case 'withdrawn':
        if (end.seen === 'withdrawn') {
          return { ok: false, status: 502, says: 'the daemon is stopping: nothing was aborted' };
        }
        telemetry.emit('act.done', { ...act, outcome: 'idle' });
        if (known === undefined && (await this.#isUnknown(sessionID))) {
          return { ok: false, status: 404, says: `there is no session ${sessionID}` };
        }
        return { ok: true, says: `session ${sessionID} is idle already`, outcome: 'idle' };
      case 'failed':
        telemetry.emit('act.done', { ...act, outcome: 'failed', error: end.error });
        return {
          ok: false,
          status: 502,
          says: `the abort of session ${sessionID} was not seen to work: ${end.error}`,
        };
    }
  }

  restart(): ActResult {
    const { control, config, telemetry, observe, clock } = this.#o;
    if (config.dryRun) return DRY_RUN;
    if (!control.acts) {
      const says = `server.control is ${control.mode}: this daemon never touches the server's process`;
      return { ok: false, status: 409, says };
    }
    telemetry.emit('act.requested', { act: 'restart' });
    observe({ kind: 'restart.requested', at: clock.now(), reason: 'manual' });
    return { ok: true, says: 'the server is being restarted' };
  }

  pause(): ActResult {
    if (this.dryRun) return DRY_RUN;
    if (this.paused) return { ok: true, says: 'the daemon was paused already' };
    this.#pausedAt = this.#o.clock.now();
    this.#o.telemetry.emit('daemon.paused', {});
    return { ok: true, says: 'paused: the daemon watches and decides on, and acts no more' };
  }

  resume(): ActResult {
    const { clock, telemetry, observe } = this.#o;
    if (this.#pausedAt === undefined) return { ok: true, says: 'the daemon was not paused' };
    const at = clock.now();
    telemetry.emit('daemon.resumed', { pausedMs: Math.round(at - this.#pausedAt) });
    this.#pausedAt = undefined;
    observe({ kind: 'policy.changed', at, policy: copyPolicy(this.#o.config) });
    return { ok: true, says: 'resumed: the daemon acts again' };
  }

  /** False also where it cannot be told. */
  async #isUnknown(sessionID: string): Promise<boolean> {
    try {
      return (await this.#o.client.session(sessionID)) === null;
    } catch {
      // The abort saw it idle: that is the better answer.
      return false;
    }
  }
}

const DRY_RUN: ActResult = { ok: false, status: 409, says: 'dryRun is on: nothing is ever done' };
