/** The loop: monitor → watchdog → executor, one observation at a time, and one timer for every deadline. */
import type { Config } from '../config/schema.js';
import type { SystemClock, Timer } from '../lib/clock.js';
import { Monitor } from '../opencode/monitor/monitor.js';
import type { ProbeResult, ServerApi } from '../opencode/server-api.js';
import type { ProcessIdentity, ServerControl } from '../process/control/control.js';
import type { Recorder } from '../recording/recorder.js';
import type { EvidenceStore } from '../status/evidence-store.js';
import type { Telemetry } from '../telemetry/logger.js';
import { bytes as bytesWords } from '../telemetry/number-text.js';
import { isNote } from '../watchdog/decision.js';
import type { Observation, Unsupported } from '../watchdog/observation.js';
import { copyPolicy, type Policy } from '../watchdog/policy.js';
import { Watchdog } from '../watchdog/watchdog.js';
import { Evidence } from './evidence.js';
import { Executor } from './executor.js';
import { HealthReporter } from './health-reporter.js';
import { MemoryMonitor, SAMPLE_EVERY_MS } from './memory-monitor.js';
import { ParkedStore } from './parked-store.js';
import { Reattach } from './reattach.js';
import { RunsStore } from './runs-store.js';
import { at, every } from './scheduler.js';
import type { View } from './service-manager.js';
import { SpentStore } from './spent-store.js';
import { DaemonStatusSource } from './status-source.js';

export interface EventLoopOptions {
  config: Config;
  telemetry: Telemetry;
  clock: SystemClock;
  client: ServerApi;
  control: ServerControl;
  recorder: Recorder | undefined;
  /** The folder of what the next daemon must know; undefined: it is kept in memory only. */
  stateDirectory?: string | undefined;
  /** Keeps what was seen of the server before a restart; undefined: nothing is kept. */
  evidenceStore?: EvidenceStore | undefined;
  /** Called for `restart.giveUp: exit`. */
  giveUp(): void;
}

function unsupportedOf(probe: Extract<ProbeResult, { kind: 'unsupported' }>): Unsupported {
  const { kind: _, error: __, ...unsupported } = probe;
  return unsupported;
}

export class EventLoop {
  readonly #o: EventLoopOptions;
  readonly #watchdog: Watchdog;
  readonly #monitor: Monitor;
  readonly #executor: Executor;
  readonly #reattach: Reattach;
  readonly #evidence: Evidence | undefined;
  readonly #queue: Observation[] = [];
  #stopped = false;
  #timer: Timer | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  readonly #memory: MemoryMonitor;
  readonly #healthReporter: HealthReporter;
  readonly #spent: SpentStore;
  readonly #parked: ParkedStore;
  readonly #runs: RunsStore;
  /** What the status endpoint shows and can do. */
  readonly status: DaemonStatusSource;
  /** Functions that end what runs on a schedule. */
  #endSchedules: (() => void)[] = [];
  /** True once the server itself has answered well with our credentials. */
  #answered = false;
  #turns = 0;

  constructor(options: EventLoopOptions) {
    this.#o = options;
    const { config, telemetry, clock, client, control, giveUp } = options;
    this.#watchdog = new Watchdog({ policy: config, acts: control.acts });
    this.#monitor = new Monitor({
      client,
      clock,
      watch: config.watch,
      probe: config.probe,
      emit: (o) => this.observe(o),
      notice: (severity, notice, detail) =>
        telemetry.emit('server.notice', {
          severity,
          notice: typeof detail.error === 'string' ? `${notice}: ${detail.error}` : notice,
          detail,
        }),
    });
    this.#reattach = new Reattach({
      clock,
      telemetry,
      control,
      server: this.#watchdog.server,
      observe: (o) => this.observe(o),
    });
    this.#executor = new Executor({
      client,
      control,
      clock,
      telemetry,
      config,
      paused: () => this.#watchdog.pausedAt !== undefined,
      observe: (o) => this.observe(o),
      inspect: (sessionID, directory) => this.#monitor.inspect(sessionID, directory),
      probe: () => this.#monitor.probe(),
      stuck: (reason) => this.#watchdog.endedBy(reason, clock.now()),
      pauseMonitor: async () => {
        await Promise.all([this.#monitor.pause(), this.#reattach.cancel()]);
      },
      resumeMonitor: (fresh) => {
        // If the daemon's end cuts a restart short, the monitor stays asleep.
        if (!this.#stopped) this.#monitor.resume({ fresh });
      },
      giveUp,
      gatherEvidence: async (reason) => this.#evidence?.gather(reason),
    });
    this.status = new DaemonStatusSource({
      watchdog: this.#watchdog,
      control,
      clock,
      telemetry,
      config,
      events: () => this.#monitor.events,
      api: () => client.api,
      client,
      observe: (o) => this.observe(o),
    });
    const { evidenceStore: store } = options;
    if (store !== undefined) {
      this.#evidence = new Evidence({
        store,
        control,
        clock,
        telemetry,
        server: () => this.status.server(),
        sessions: () => this.status.sessions(),
      });
    }
    this.#memory = new MemoryMonitor({
      clock,
      config: config.recycle,
      measure: async () => {
        const usage = await control.usage?.();
        if (usage !== undefined) return usage;
        const bytes = await control.memory();
        return bytes === undefined ? undefined : { bytes };
      },
      onLimit: (reason) => this.observe({ kind: 'restart.requested', at: clock.now(), reason }),
      onWithin: (reason) => this.observe({ kind: 'usage.within', at: clock.now(), reason }),
      onGrowing: (bytesPerHour, children = []) =>
        telemetry.emit('server.memory_growing', {
          bytesPerHour,
          children: children.map((each) => `${each.name} (${each.pid}) ${bytesWords(each.bytes)}`),
        }),
    });
    const notKept = (what: string) => (why: string) =>
      telemetry.emit('server.notice', { severity: 'warn', notice: `${what}: ${why}` });
    this.#spent = new SpentStore({
      directory: options.stateDirectory,
      clock,
      watchdog: this.#watchdog,
      observe: (o) => this.observe(o),
      onProblem: notKept('what is spent today is not kept on disk'),
    });
    this.#runs = new RunsStore({
      directory: config.dryRun ? undefined : options.stateDirectory,
      clock,
      watchdog: this.#watchdog,
      serverStart: () => {
        const watched = control.watched?.();
        return watched?.pid === this.#watchdog.server.pid ? watched?.startTime : undefined;
      },
      wanted: () => config.recover.afterRestart === 'continue',
      observe: (o) => this.observe(o),
      onProblem: notKept('the runs at work are not kept on disk'),
    });
    this.#parked = new ParkedStore({
      // A dry run continues no run, and the parked runs belong to the real daemon.
      directory: config.dryRun ? undefined : options.stateDirectory,
      clock,
      watchdog: this.#watchdog,
      observe: (o) => this.observe(o),
      onProblem: notKept('parked runs are not kept on disk, and wait in memory'),
    });
    this.#healthReporter = new HealthReporter({
      watchdog: this.#watchdog,
      telemetry,
      clock,
      events: () => this.#monitor.events,
      memory: this.#memory,
    });
  }

  /** `probe`: the result of probing the server just now. `found`: its process, if it is seen. */
  start(probe: ProbeResult, found: ProcessIdentity | null): void {
    const { clock } = this.#o;
    clock.start((ms) => this.#gap(ms));
    this.#spent.start();
    this.#parked.start();
    this.#runs.start();
    // Before the server is known: from then on the runs that an earlier daemon saw at work are told to go on.
    if (this.#o.control.resumesRuns === true) this.reconfigured();
    // The monitor starts first: if the server has to be started, the start finds it awake and puts it to rest.
    this.#monitor.start();
    this.observe({
      kind: 'server.attached',
      at: clock.now(),
      running: probe.kind === 'ok' || probe.kind === 'unauthorized' || probe.kind === 'unsupported',
      ...(probe.kind === 'unsupported' ? { unsupported: unsupportedOf(probe) } : {}),
      ...(probe.kind === 'unauthorized' ? { unauthorized: probe.status } : {}),
      ...(probe.kind === 'unauthorized' && probe.means !== undefined ? { means: probe.means } : {}),
      ...(found !== null && { pid: found.pid, startTime: found.startTime }),
      ...(probe.kind === 'ok' && probe.version !== undefined ? { version: probe.version } : {}),
    });
    this.#sample();
    this.#schedule();
  }

  /**
   * To be called after the configuration was changed in place (SIGHUP): everything is decided again by the new values.
   */
  reconfigured(): void {
    // A SIGHUP may come in the middle of a stop, after which nothing would end the schedules again.
    if (this.#stopped) return;
    this.#schedule();
    this.observe({
      kind: 'policy.changed',
      at: this.#o.clock.now(),
      policy: this.#policy(),
    });
  }

  #policy(): Policy {
    const policy = copyPolicy(this.#o.config);
    if (this.#o.control.resumesRuns !== true) return policy;
    // The new server itself continues the runs that were cut: a prompt from the daemon would be a second one.
    return { ...policy, recover: { ...policy.recover, afterRestart: 'none' } };
  }

  /** What is known now, for people. */
  snapshot(): Record<string, unknown> {
    const { server } = this.#watchdog;
    const at = this.#o.clock.now();
    return {
      server: {
        url: this.#o.config.server.url,
        health: server.health(),
        pid: server.pid,
        version: server.version,
        api: this.#o.client.api,
        restarts: server.restarts,
        breaker: server.breaker.state.kind,
        memoryBytes: this.#memory.latest,
        streamConnected: this.#monitor.streamConnected,
      },
      directories: this.#monitor.liveDirectories,
      sessions: this.#watchdog.sessions(at),
      idleSessions: this.#watchdog.idleSessions,
    };
  }

  /** What is reported to the service manager. */
  view(): View {
    const { config, control } = this.#o;
    return {
      server: this.#watchdog.server.health(),
      answered: this.#answered,
      startsServer: control.acts && !config.dryRun,
      sessions: this.#watchdog.sessions(this.#o.clock.now()),
    };
  }

  /** Takes one turn. Returns true if it really turned: a tick was taken in, and the monitor is not deaf. */
  turn(): boolean {
    const before = this.#turns;
    this.observe({ kind: 'tick', at: this.#o.clock.now() });
    return this.#turns > before && this.status.deafMs === undefined;
  }

  /** Takes one observation at a time: what an act reports while a decision is carried out is taken in afterwards. */
  observe(o: Observation): void {
    // After the stop nothing is decided, because nothing would be carried out.
    if (this.#stopped) return;
    this.#queue.push(o);
    if (this.#queue.length > 1) return;
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      try {
        this.#take(next);
        this.#turns += 1;
      } catch (err) {
        // No observation may stop the daemon, not even through a bug of our own.
        this.#o.telemetry.emit('error', { err, doing: `taking in ${next.kind}` });
      }
      this.#queue.shift();
    }
    this.#parked.keep();
    this.#runs.keep();
    this.#reattach.review();
    this.#arm();
  }

  /** Settles when nothing is under way any more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const end of this.#endSchedules.splice(0)) end();
    this.#timer?.cancel();
    this.#healthReporter.stop();
    this.#spent.stop();
    this.#runs.stop();
    this.#parked.stop();
    await Promise.all([this.#monitor.stop(), this.#executor.stop(), this.#reattach.cancel()]);
    this.#timer?.cancel();
    this.#o.clock.stop();
  }

  #take(o: Observation): void {
    this.#o.recorder?.take(o);
    this.status.saw(o);
    this.#tell(o);
    for (const decision of this.#watchdog.observe(o)) {
      if (isNote(decision)) {
        const { note, ...fields } = decision;
        const { api } = this.#o.client;
        const more = note === 'server.healthy' ? { ...fields, api } : fields;
        this.#o.telemetry.emit(note, more as never);
        if (note === 'server.healthy') this.#evidence?.incidentIsOver();
        if (decision.note === 'act.done') this.status.told(decision);
      } else this.#executor.do(decision);
    }
  }

  /** Starts, or restarts, what happens periodically or at set times. */
  #schedule(): void {
    const { clock, config } = this.#o;
    for (const end of this.#endSchedules.splice(0)) end();
    this.#endSchedules.push(
      every(clock, config.log.healthInterval, () => this.#healthReporter.write()),
      every(clock, SAMPLE_EVERY_MS, () => this.#sample()),
    );
    if (config.recycle.schedule !== null) {
      const recycle = () =>
        this.observe({ kind: 'restart.requested', at: clock.now(), reason: 'schedule' });
      this.#endSchedules.push(at(clock, config.recycle.schedule, recycle));
    }
  }

  #sample(): void {
    this.#memory
      .sample()
      .catch((err: unknown) => this.#o.telemetry.emit('error', { err, doing: 'measuring memory' }));
  }

  /** Logs what concerns the monitor itself. */
  #tell(o: Observation): void {
    switch (o.kind) {
      case 'probe.ok':
        this.#answered = true;
        return;
      case 'restart.done':
      case 'server.attached':
        this.#memory.reset();
        return;
      case 'stream.connected':
        this.#o.telemetry.emit('stream.connected', { path: o.path });
        return;
      case 'stream.unavailable': {
        const { path, reason, silentMs } = o;
        this.#o.telemetry.emit('stream.unavailable', { path, reason, silentMs });
        return;
      }
      case 'stream.lost': {
        const { path = '', reason, silentMs } = o;
        if (o.planned) return;
        this.#o.telemetry.emit('stream.lost', { path, reason, silentMs });
        // The stream is the first to notice a dying process.
        this.#o.control.poke();
        return;
      }
    }
  }

  #gap(ms: number): void {
    this.#o.telemetry.emit('daemon.gap', { gapMs: ms });
    this.observe({ kind: 'gap', at: this.#o.clock.now(), ms });
    void this.#monitor.resync();
  }

  #arm(): void {
    const deadline = this.#watchdog.deadline ?? Number.POSITIVE_INFINITY;
    if (deadline === this.#timerAt) return;
    this.#timer?.cancel();
    this.#timerAt = deadline;
    if (!Number.isFinite(deadline)) return;
    const { clock } = this.#o;
    this.#timer = clock.after(deadline - clock.now(), () => {
      this.#timerAt = Number.POSITIVE_INFINITY;
      this.observe({ kind: 'tick', at: clock.now() });
    });
  }
}
