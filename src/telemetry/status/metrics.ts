/**
 * The metrics, by Prometheus' conventions: counters and histograms fed by log events.
 *
 * Labels take values from small closed sets only (reasons, health words, event names); the one open set, provider ids,
 * is cut off at `MAX_PROVIDERS`.
 */
import type { RestartReason, StuckReason } from '../../watchdog/decision.js';
import type { TelemetryRecord } from '../logger.js';
import { Instruments } from './instruments.js';
import { type ReadingsOptions, readings } from './readings.js';

const MAX_PROVIDERS = 50;
/** What `maxProviders` cut off. */
const OTHER = 'other';
/** Sessions whose beginning of trouble is remembered. */
const MAX_PENDING = 1_000;

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

export class Metrics {
  readonly #make = new Instruments();
  readonly #retryEpisodes = this.#make.counter('retry_episodes', 'Retry episodes begun.');
  readonly #stuck = this.#make.counter('stuck_sessions', 'Limits crossed by sessions.', ['reason']);
  readonly #aborts = this.#make.counter(
    'aborts',
    'Aborts by why they were decided and how they ended.',
    ['reason', 'result'],
  );
  readonly #wedged = this.#make.counter('wedged_sessions', 'Sessions that no abort ended.');
  readonly #failed = this.#make.counter(
    'failed_runs',
    'Runs that opencode itself ended with an error.',
  );
  readonly #interrupted = this.#make.counter('interrupted_runs', 'Runs that a restart cut.', [
    'reason',
  ]);
  readonly #restarts = this.#make.counter('server_restarts', 'Restarts decided.', ['reason']);
  readonly #restartFailures = this.#make.counter(
    'server_restart_failures',
    'Restarts that did not lead to health.',
    ['reason'],
  );
  readonly #breakerOpened = this.#make.counter(
    'breaker_opened',
    'How often the restart breaker opened.',
  );
  readonly #reconnects = this.#make.counter(
    'stream_reconnects',
    'Connections of the event stream after the first.',
  );
  readonly #logEvents = this.#make.counter('log_events', 'Events logged, by name.', ['event']);
  readonly #dropped = this.#make.counter('log_dropped_lines', 'Log lines lost to a slow reader.');
  readonly #notices = this.#make.counter(
    'webhook_notices',
    'Notices to webhooks by how they ended.',
    ['result'],
  );
  readonly #outages = this.#make.counter('provider_outages', 'Outages of a provider.', [
    'provider',
  ]);
  readonly #outage = this.#make.gauge('provider_outage', 'Whether a provider is failing now.', [
    'provider',
  ]);
  readonly #abortSeconds = this.#make.histogram(
    'abort_duration_seconds',
    'From the limit that a session crossed to its verified end.',
    [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
  );
  readonly #recoverySeconds = this.#make.histogram(
    'server_recovery_duration_seconds',
    'From the moment that the server was found gone or unresponsive, or its restart was decided, to health.',
    [0.5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300],
  );
  readonly #probeSeconds = this.#make.histogram(
    'probe_duration_seconds',
    'How long answered health probes took.',
    [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
  );
  readonly #stuckSince = new Map<string, number>();
  readonly #providers = new Set<string>();
  #downSince: number | undefined;
  #connections = 0;

  constructor(options: ReadingsOptions) {
    options.source.onProbe((tookMs) => this.#probeSeconds.observe(tookMs / 1_000));
    this.#beginAtZero();

    readings(this.#make, options);
  }

  get contentType(): string {
    return this.#make.registry.contentType;
  }

  text(): Promise<string> {
    return this.#make.registry.metrics();
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
}
