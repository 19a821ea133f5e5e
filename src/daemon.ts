/**
 * The wiring: senses → watchdog → hands, and the life cycle. It holds no rule of its own.
 */

import type { Secrets } from './config/credentials.js';
import type { Config } from './config/schema.js';
import { Hands } from './hands.js';
import type { Clock, SystemClock, Timer } from './lib/clock.js';
import { OpencodeClient } from './opencode/client.js';
import { Senses } from './opencode/senses.js';
import type { ControlDeps, ServerControl } from './process/control.js';
import { Report } from './report.js';
import { every } from './schedule.js';
import type { Telemetry } from './telemetry/logger.js';
import { isNote } from './watchdog/decision.js';
import type { Observation } from './watchdog/observation.js';
import { Watchdog } from './watchdog/watchdog.js';

/** How long one health probe may take while a server starts: it may accept a connection and never answer it. */
const START_PROBE_MS = 1_000;

export interface DaemonOptions {
  config: Config;
  secrets: Secrets;
  telemetry: Telemetry;
  clock: SystemClock;
  /** Chooses and makes the control of the server's process. */
  makeControl(deps: ControlDeps, signal: AbortSignal): Promise<ServerControl>;
}

export class Daemon {
  readonly #config: Config;
  readonly #telemetry: Telemetry;
  readonly #clock: SystemClock;
  readonly #options: DaemonOptions;
  readonly #client: OpencodeClient;
  #gaveUp = false;

  constructor(options: DaemonOptions) {
    this.#options = options;
    this.#config = options.config;
    this.#telemetry = options.telemetry;
    this.#clock = options.clock;
    const { url, username } = options.config.server;
    const password = options.secrets.password?.reveal();
    this.#client = new OpencodeClient({
      url,
      username,
      ...(password === undefined ? {} : { password }),
      clock: options.clock,
    });
  }

  /**
   * Watches until `signal` is aborted or it gives up; settles when everything has truly stopped.
   * @returns whether it gave up restarting (`restart.giveUp: exit`)
   */
  async run(signal: AbortSignal): Promise<{ gaveUp: boolean }> {
    const stop = new AbortController();
    const stopped = AbortSignal.any([signal, stop.signal]);
    const deps: ControlDeps = {
      isHealthy: (within) => this.#isHealthy(within),
      onExit: (exit) => running?.observe({ kind: 'server.exited', at: this.#clock.now(), ...exit }),
      onOutput: (line) => this.#telemetry.emit('server.output', line),
      onNotice: (severity, notice, detail) =>
        this.#telemetry.emit('server.notice', { severity, notice, ...(detail ? { detail } : {}) }),
    };
    let running: Running | undefined;
    try {
      const control = await this.#options.makeControl(deps, stopped);
      running = new Running(
        this.#config,
        this.#telemetry,
        this.#clock,
        this.#client,
        control,
        () => {
          this.#gaveUp = true;
          stop.abort(new Error('gave up restarting'));
        },
      );
      const identity = await control.attach(stopped);
      running.start(await this.#isHealthy(stopped), identity?.pid);
      await once(stopped);
    } catch (error) {
      if (!stopped.aborted) throw error;
    } finally {
      await running?.stop(this.#gaveUp ? 'leave' : this.#config.server.onExit);
      await this.#client.close();
    }
    return { gaveUp: this.#gaveUp };
  }

  async #isHealthy(signal: AbortSignal): Promise<{ version?: string } | null> {
    const probe = await this.#client.probe(
      AbortSignal.any([signal, AbortSignal.timeout(START_PROBE_MS)]),
    );
    switch (probe.kind) {
      case 'ok':
        return probe.version === undefined ? {} : { version: probe.version };
      case 'unauthorized':
        return {};
      default:
        return null;
    }
  }
}

/** A daemon that has its control: senses, watchdog and hands joined. */
class Running {
  readonly #telemetry: Telemetry;
  readonly #clock: Clock;
  readonly #control: ServerControl;
  readonly #watchdog: Watchdog;
  readonly #senses: Senses;
  readonly #hands: Hands;
  readonly #config: Config;
  readonly #queue: Observation[] = [];
  #timer: Timer | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  #endReports: (() => void) | undefined;

  constructor(
    config: Config,
    telemetry: Telemetry,
    clock: SystemClock,
    client: OpencodeClient,
    control: ServerControl,
    giveUp: () => void,
  ) {
    this.#config = config;
    this.#telemetry = telemetry;
    this.#clock = clock;
    this.#control = control;
    this.#watchdog = new Watchdog({ policy: config, acts: control.acts });
    this.#senses = new Senses({
      client,
      clock,
      watch: config.watch,
      probe: config.probe,
      emit: (o) => this.observe(o),
      notice: (severity, notice, detail) =>
        telemetry.emit('server.notice', { severity, notice, ...(detail ? { detail } : {}) }),
    });
    this.#hands = new Hands({
      client,
      control,
      clock,
      telemetry,
      verifyTimeoutMs: config.abort.verifyTimeout,
      dryRun: config.dryRun,
      observe: (o) => this.observe(o),
      inspect: (sessionID, directory) => this.#senses.inspect(sessionID, directory),
      pauseSenses: () => this.#senses.pause(),
      resumeSenses: (fresh) => this.#senses.resume({ fresh }),
      giveUp,
    });
    clock.start((ms) => this.#gap(ms));
  }

  start(answer: { version?: string } | null, pid: number | undefined): void {
    // First the senses, so that a start of the server finds them awake and puts them to rest.
    this.#senses.start();
    this.observe({
      kind: 'server.attached',
      at: this.#clock.now(),
      running: answer !== null,
      ...(pid === undefined ? {} : { pid }),
      ...(answer?.version === undefined ? {} : { version: answer.version }),
    });
    const report = new Report({
      watchdog: this.#watchdog,
      telemetry: this.#telemetry,
      clock: this.#clock,
      events: () => this.#senses.events,
      serverMemory: () => this.#control.memory(),
    });
    this.#endReports = every(this.#clock, this.#config.log.healthInterval, () => {
      report
        .write()
        .catch((err: unknown) =>
          this.#telemetry.emit('error', { err, doing: 'writing a summary' }),
        );
    });
  }

  /** Takes one observation at a time: what an act reports while it is being carried out comes after it. */
  observe(o: Observation): void {
    this.#queue.push(o);
    if (this.#queue.length > 1) return;
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      try {
        this.#take(next);
      } catch (err) {
        // Nothing that the senses bring may stop the daemon, a bug of ours least of all.
        this.#telemetry.emit('error', { err, doing: `taking in ${next.kind}` });
      }
      this.#queue.shift();
    }
    this.#arm();
  }

  #take(o: Observation): void {
    this.#tell(o);
    for (const decision of this.#watchdog.observe(o)) {
      if (isNote(decision)) {
        const { note, ...fields } = decision;
        this.#telemetry.emit(note, fields as never);
      } else this.#hands.do(decision);
    }
  }

  async stop(onExit: 'stop' | 'leave'): Promise<void> {
    this.#endReports?.();
    this.#timer?.cancel();
    await Promise.all([this.#senses.stop(), this.#hands.stop()]);
    await this.#control.dispose(onExit);
  }

  /** What the log says of the senses themselves. */
  #tell(o: Observation): void {
    switch (o.kind) {
      case 'stream.connected':
        this.#telemetry.emit('stream.connected', { path: o.path });
        return;
      case 'stream.lost':
        this.#telemetry.emit('stream.lost', {
          path: o.path ?? '',
          reason: o.reason,
          silentMs: o.silentMs,
        });
        // The stream is the first to notice a dying process.
        this.#control.poke();
        return;
    }
  }

  #gap(ms: number): void {
    this.#telemetry.emit('daemon.gap', { gapMs: ms });
    this.observe({ kind: 'gap', at: this.#clock.now(), ms });
    void this.#senses.resync();
  }

  /** One timer for everything: the watchdog's next deadline. */
  #arm(): void {
    const deadline = this.#watchdog.deadline ?? Number.POSITIVE_INFINITY;
    if (deadline === this.#timerAt) return;
    this.#timer?.cancel();
    this.#timerAt = deadline;
    if (!Number.isFinite(deadline)) return;
    this.#timer = this.#clock.after(deadline - this.#clock.now(), () => {
      this.#timerAt = Number.POSITIVE_INFINITY;
      this.observe({ kind: 'tick', at: this.#clock.now() });
    });
  }
}

function once(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
