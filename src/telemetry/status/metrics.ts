/**
 * The metrics, by Prometheus' conventions: counters fed by log events, gauges read at each scrape.
 *
 * Labels take values from small closed sets only (reasons, health words, event names); the one open set, provider ids,
 * is cut off at `MAX_PROVIDERS`.
 */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Clock } from '../../lib/clock.js';
import type { Health, RestartReason, ServerHealth, StuckReason } from '../../watchdog/decision.js';
import type { TelemetryRecord } from '../logger.js';
import type { LoopLag } from './lag.js';
import type { StatusSource } from './source.js';
import type { StatusView } from './view.js';

const MAX_PROVIDERS = 50;
/** What `maxProviders` cut off. */
const OTHER = 'other';
/** Sessions whose beginning of trouble is remembered. */
const MAX_PENDING = 1_000;

const HEALTHS: readonly Health[] = [
  'idle',
  'busy',
  'waiting',
  'delegating',
  'retrying',
  'stalled',
  'stuck',
  'wedged',
];
const SERVER_HEALTHS: readonly ServerHealth[] = [
  'unknown',
  'starting',
  'healthy',
  'unauthorized',
  'unresponsive',
  'down',
  'restarting',
  'held',
];
const RESTART_REASONS: readonly RestartReason[] = [
  'pileup',
  'wedged',
  'unresponsive',
  'exited',
  'memory',
  'schedule',
  'manual',
];
const STUCK_REASONS: readonly StuckReason[] = [
  'attempts',
  'duration',
  'wait',
  'hopeless',
  'silence',
  'tool_time',
  'run_time',
  'waiting',
  'ghost',
  'pileup',
];
const BREAKER_STATES = ['closed', 'open', 'half_open'] as const;

export interface MetricsOptions {
  source: StatusSource;
  view: StatusView;
  clock: Clock;
  lag: LoopLag;
  version: string;
}

export class Metrics {
  readonly #registry = new Registry();
  readonly #retryEpisodes = this.#counter('retry_episodes', 'Retry episodes begun.');
  readonly #stuck = this.#counter('stuck_sessions', 'Limits crossed by sessions.', ['reason']);
  readonly #aborts = this.#counter(
    'aborts',
    'Aborts by why they were decided and how they ended.',
    ['reason', 'result'],
  );
  readonly #wedged = this.#counter('wedged_sessions', 'Sessions that no abort ended.');
  readonly #failed = this.#counter('failed_runs', 'Runs that opencode itself ended with an error.');
  readonly #interrupted = this.#counter('interrupted_runs', 'Runs that a restart cut.', ['reason']);
  readonly #restarts = this.#counter('server_restarts', 'Restarts decided.', ['reason']);
  readonly #restartFailures = this.#counter(
    'server_restart_failures',
    'Restarts that did not lead to health.',
    ['reason'],
  );
  readonly #breakerOpened = this.#counter(
    'breaker_opened',
    'How often the restart breaker opened.',
  );
  readonly #reconnects = this.#counter(
    'stream_reconnects',
    'Connections of the event stream after the first.',
  );
  readonly #logEvents = this.#counter('log_events', 'Events logged, by name.', ['event']);
  readonly #dropped = this.#counter('log_dropped_lines', 'Log lines lost to a slow reader.');
  readonly #notices = this.#counter('webhook_notices', 'Notices to webhooks by how they ended.', [
    'result',
  ]);
  readonly #outages = this.#counter('provider_outages', 'Outages of a provider.', ['provider']);
  readonly #outage = this.#gauge('provider_outage', 'Whether a provider is failing now.', [
    'provider',
  ]);
  readonly #abortSeconds = this.#histogram(
    'abort_duration_seconds',
    'From the limit that a session crossed to its verified end.',
    [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
  );
  readonly #recoverySeconds = this.#histogram(
    'server_recovery_duration_seconds',
    'From the moment that the server was found gone or unresponsive, or its restart was decided, to health.',
    [0.5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300],
  );
  readonly #probeSeconds = this.#histogram(
    'probe_duration_seconds',
    'How long answered health probes took.',
    [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
  );
  readonly #stuckSince = new Map<string, number>();
  readonly #providers = new Set<string>();
  #downSince: number | undefined;
  #connections = 0;

  constructor(options: MetricsOptions) {
    const { source, version, view, clock, lag } = options;
    source.onProbe((tookMs) => this.#probeSeconds.observe(tookMs / 1_000));
    this.#beginAtZero();

    const info = this.#gauge('build_info', 'Constant 1, with the versions.', ['version', 'node']);
    info.set({ version, node: process.version }, 1);
    const started = this.#gauge('start_time_seconds', 'When the daemon started, since the epoch.');
    started.set(Math.round(clock.epoch() - process.uptime() * 1_000) / 1_000);
    this.#read(
      'sessions',
      'Sessions by health.',
      (gauge) => {
        const counts = view.counts(source.sessions());
        for (const health of HEALTHS) gauge.set({ health }, counts[health]);
      },
      ['health'],
    );
    this.#read('server_up', 'Whether the watched server is healthy.', (gauge) =>
      gauge.set(source.server().health === 'healthy' ? 1 : 0),
    );
    this.#read(
      'server_health',
      'The watched server’s health: 1 for the one that it has.',
      (gauge) => {
        const now = source.server().health;
        for (const health of SERVER_HEALTHS) gauge.set({ health }, health === now ? 1 : 0);
      },
      ['health'],
    );
    this.#read(
      'breaker_state',
      'The restart breaker: 1 for the state that it has.',
      (gauge) => {
        const now = source.server().breaker.state;
        for (const state of BREAKER_STATES) gauge.set({ state }, state === now ? 1 : 0);
      },
      ['state'],
    );
    this.#read('stream_connected', 'Whether the event stream is connected.', (gauge) =>
      gauge.set(source.server().stream.connected ? 1 : 0),
    );
    this.#read(
      'stream_silence_seconds',
      'Since the last sign of life on the event stream.',
      (gauge) => gauge.set((source.server().stream.silentMs ?? 0) / 1_000),
    );
    this.#read('server_resident_memory_bytes', 'Of the server’s process tree.', async (gauge) => {
      const bytes = await view.refresh();
      if (bytes === undefined) gauge.remove();
      else gauge.set(bytes);
    });
    this.#read('resident_memory_bytes', 'Of the daemon itself.', (gauge) =>
      gauge.set(process.memoryUsage.rss()),
    );
    this.#read(
      'loop_lag_seconds',
      'Worst delay of the daemon’s event loop in the last 30 s.',
      (gauge) => gauge.set(lag.worstMs / 1_000),
    );
    this.#read('paused', 'Whether a person has paused the daemon’s acts.', (gauge) =>
      gauge.set(source.paused ? 1 : 0),
    );
    this.#read('dry_run', 'Whether the daemon acts never (dryRun).', (gauge) =>
      gauge.set(source.dryRun ? 1 : 0),
    );
    this.#read('open_incidents', 'Incidents that have not ended.', (gauge) =>
      gauge.set(view.incidents.openCount),
    );
    this.#follow('stream_events', 'Events that came over the event stream.', (set) =>
      set({}, source.server().stream.events),
    );
    this.#follow(
      'observations',
      'What the senses told the watchdog, by kind.',
      (set) => {
        for (const [kind, amount] of source.observations) set({ kind }, amount);
      },
      ['kind'],
    );
    this.#follow('cpu_seconds', 'Processor time of the daemon.', (set) => {
      const { user, system } = process.cpuUsage();
      set({}, (user + system) / 1_000_000);
    });
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }

  take(record: TelemetryRecord): void {
    this.#logEvents.inc({ event: record.event });
    switch (record.event) {
      case 'session.health':
        if (record.fields.previous !== undefined && record.fields.health === 'retrying') {
          this.#retryEpisodes.inc();
        }
        return;
      case 'session.stuck':
        this.#stuck.inc({ reason: record.fields.reason });
        this.#stuckSince.set(record.fields.sessionID, record.time);
        if (this.#stuckSince.size > MAX_PENDING) this.#forgetOne();
        return;
      case 'session.aborted':
        this.#aborted(record.fields.sessionID, record.fields.reason, record.time);
        return;
      case 'session.abort_failed':
        this.#aborts.inc({ reason: record.fields.reason, result: 'failed' });
        return;
      case 'act.skipped':
        if (record.fields.act !== 'abort') return;
        this.#aborts.inc({ reason: record.fields.reason ?? OTHER, result: 'skipped' });
        return;
      case 'act.done':
        this.#aborts.inc({ reason: 'manual', result: record.fields.outcome });
        return;
      case 'session.wedged':
        this.#wedged.inc();
        return;
      case 'session.failed':
        this.#failed.inc();
        return;
      case 'session.interrupted':
        this.#interrupted.inc({ reason: record.fields.restartReason });
        return;
      case 'server.exited':
      case 'server.unresponsive':
        this.#downSince ??= record.time;
        return;
      case 'server.restarting':
        this.#restarts.inc({ reason: record.fields.reason });
        this.#downSince ??= record.time;
        return;
      case 'server.restart_failed':
        this.#restartFailures.inc({ reason: record.fields.reason });
        return;
      case 'server.healthy':
        if (this.#downSince === undefined) return;
        this.#recoverySeconds.observe((record.time - this.#downSince) / 1_000);
        this.#downSince = undefined;
        return;
      case 'server.breaker_open':
        this.#breakerOpened.inc();
        return;
      case 'stream.connected':
        this.#connections += 1;
        if (this.#connections > 1) this.#reconnects.inc();
        return;
      case 'provider.outage': {
        const provider = this.#bounded(record.fields.provider);
        this.#outages.inc({ provider });
        this.#outage.set({ provider }, 1);
        return;
      }
      case 'provider.back':
        this.#outage.set({ provider: this.#bounded(record.fields.provider) }, 0);
        return;
      case 'log.dropped':
        this.#dropped.inc(record.fields.lines);
        return;
      case 'notify.sent':
        this.#notices.inc({ result: 'sent' });
        return;
      case 'notify.failed':
        this.#notices.inc({ result: 'failed' });
        return;
    }
  }

  /** `increase()` sees only what a series was before: one that begins with its first event hides it. */
  #beginAtZero(): void {
    for (const reason of RESTART_REASONS) {
      this.#restarts.inc({ reason }, 0);
      this.#restartFailures.inc({ reason }, 0);
    }
    for (const reason of STUCK_REASONS) {
      this.#stuck.inc({ reason }, 0);
      for (const result of ['done', 'failed']) this.#aborts.inc({ reason, result }, 0);
    }
    for (const result of ['sent', 'failed']) this.#notices.inc({ result }, 0);
  }

  #aborted(sessionID: string, reason: string, at: number): void {
    this.#aborts.inc({ reason, result: 'done' });
    const since = this.#stuckSince.get(sessionID);
    if (since === undefined) return;
    this.#stuckSince.delete(sessionID);
    this.#abortSeconds.observe((at - since) / 1_000);
  }

  #forgetOne(): void {
    const oldest = this.#stuckSince.keys().next().value;
    if (oldest !== undefined) this.#stuckSince.delete(oldest);
  }

  #bounded(provider: string): string {
    if (this.#providers.has(provider)) return provider;
    if (this.#providers.size >= MAX_PROVIDERS) return OTHER;
    this.#providers.add(provider);
    return provider;
  }

  #counter(name: string, help: string, labelNames: string[] = []): Counter {
    const registers = [this.#registry];
    return new Counter({ name: `opencode_watchdog_${name}_total`, help, labelNames, registers });
  }

  #gauge(name: string, help: string, labelNames: string[] = []): Gauge {
    const registers = [this.#registry];
    return new Gauge({ name: `opencode_watchdog_${name}`, help, labelNames, registers });
  }

  #histogram(name: string, help: string, buckets: number[]): Histogram {
    const registers = [this.#registry];
    return new Histogram({ name: `opencode_watchdog_${name}`, help, buckets, registers });
  }

  /** A gauge that is read when it is scraped. */
  #read(
    name: string,
    help: string,
    read: (gauge: Gauge) => void | Promise<void>,
    labelNames: string[] = [],
  ): void {
    new Gauge({
      name: `opencode_watchdog_${name}`,
      help,
      labelNames,
      registers: [this.#registry],
      collect() {
        return read(this);
      },
    });
  }

  /** A counter of something that counts by itself. */
  #follow(
    name: string,
    help: string,
    read: (set: (labels: Record<string, string>, value: number) => void) => void,
    labelNames: string[] = [],
  ): void {
    new Counter({
      name: `opencode_watchdog_${name}_total`,
      help,
      labelNames,
      registers: [this.#registry],
      collect() {
        this.reset();
        read((labels, value) => this.inc(labels, value));
      },
    });
  }
}
