/**
 * What the metrics count: log events, in plain numbers, from the daemon's start. What makes Prometheus' text of them is
 * loaded when somebody first asks for it (`metrics.ts`).
 *
 * Labels take values from small closed sets only (reasons, health words, event names); the one open set, provider ids,
 * is cut off at `MAX_PROVIDERS`.
 */

import type { TelemetryRecord } from '../telemetry/logger.js';
import type { RestartReason, StuckReason } from '../watchdog/decision.js';
import { Count, Spread } from './counter-values.js';
import type { StatusSource } from './source.js';

export const MAX_PROVIDERS = 50;
/** What `MAX_PROVIDERS` cut off. */
const OTHER = 'other';
/** Sessions whose beginning of trouble is remembered. */
export const MAX_PENDING = 1_000;

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

export class EventCounters {
  readonly retryEpisodes = new Count('retry_episodes', 'Retry episodes begun.');
  readonly stuck = new Count('stuck_sessions', 'Limits crossed by sessions.', ['reason']);
  readonly aborts = new Count('aborts', 'Aborts by why they were decided and how they ended.', [
    'reason',
    'result',
  ]);
  readonly wedged = new Count('wedged_sessions', 'Sessions that no abort ended.');
  readonly failed = new Count('failed_runs', 'Runs that opencode itself ended with an error.');
  readonly interrupted = new Count('interrupted_runs', 'Runs that a restart cut.', ['reason']);
  readonly restarts = new Count('server_restarts', 'Restarts decided.', ['reason']);
  readonly restartFailures = new Count(
    'server_restart_failures',
    'Restarts that did not lead to health.',
    ['reason'],
  );
  readonly breakerOpened = new Count('breaker_opened', 'How often the restart breaker opened.');
  readonly reconnects = new Count(
    'stream_reconnects',
    'Connections of the event stream after the first.',
  );
  readonly logEvents = new Count('log_events', 'Events logged, by name.', ['event']);
  readonly dropped = new Count('log_dropped_lines', 'Log lines lost to a slow reader.');
  readonly notices = new Count('webhook_notices', 'Notices to webhooks by how they ended.', [
    'result',
  ]);
  readonly outages = new Count('provider_outages', 'Outages of a provider.', ['provider']);
  /** Providers, and whether they are failing now. */
  readonly outage = new Map<string, boolean>();
  readonly abortSeconds = new Spread(
    'abort_duration_seconds',
    'From the limit that a session crossed to its verified end.',
    [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
  );
  readonly recoverySeconds = new Spread(
    'server_recovery_duration_seconds',
    'From the moment that the server was found gone or unresponsive, or its restart was decided, to health.',
    [0.5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300],
  );
  readonly probeSeconds = new Spread(
    'probe_duration_seconds',
    'How long answered health probes took.',
    [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
  );
  readonly #stuckSince = new Map<string, number>();
  readonly #providers = new Set<string>();
  #downSince: number | undefined;
  #connections = 0;

  constructor(source: Pick<StatusSource, 'onProbe'>) {
    source.onProbe((tookMs) => this.probeSeconds.observe(tookMs / 1_000));
    this.#beginAtZero();
  }

  /** Sessions whose beginning of trouble is remembered. */
  get pending(): number {
    return this.#stuckSince.size;
  }

  get counts(): Count[] {
    return Object.values(this).filter((value) => value instanceof Count);
  }

  get spreads(): Spread[] {
    return Object.values(this).filter((value) => value instanceof Spread);
  }

  take(record: TelemetryRecord): void {
    this.logEvents.add({ event: record.event });
    // Of what a dry run would do, nothing was done.
    if (record.would) return;
    switch (record.event) {
      case 'session.health':
        if (record.fields.previous !== undefined && record.fields.health === 'retrying') {
          this.retryEpisodes.add();
        }
        return;
      case 'session.stuck':
        this.stuck.add({ reason: record.fields.reason });
        this.#stuckSince.set(record.fields.sessionID, record.time);
        if (this.#stuckSince.size > MAX_PENDING) this.#forgetOne();
        return;
      case 'session.aborted':
        this.#aborted(record.fields.sessionID, record.fields.reason, record.time);
        return;
      case 'session.abort_failed':
        this.aborts.add({ reason: record.fields.reason, result: 'failed' });
        return;
      case 'act.skipped':
        if (record.fields.act !== 'abort') return;
        this.aborts.add({ reason: record.fields.reason ?? OTHER, result: 'skipped' });
        return;
      case 'act.done':
        this.aborts.add({ reason: 'manual', result: record.fields.outcome });
        return;
      case 'session.wedged':
        this.wedged.add();
        return;
      case 'session.failed':
        this.failed.add();
        return;
      case 'session.interrupted':
        this.interrupted.add({ reason: record.fields.restartReason });
        return;
      case 'server.exited':
      case 'server.unresponsive':
        this.#downSince ??= record.time;
        return;
      case 'server.restarting':
        this.restarts.add({ reason: record.fields.reason });
        this.#downSince ??= record.time;
        return;
      case 'server.restart_failed':
        this.restartFailures.add({ reason: record.fields.reason });
        return;
      case 'server.healthy':
        if (this.#downSince === undefined) return;
        this.recoverySeconds.observe((record.time - this.#downSince) / 1_000);
        this.#downSince = undefined;
        return;
      case 'server.breaker_open':
        this.breakerOpened.add();
        return;
      case 'stream.connected':
        this.#connections += 1;
        if (this.#connections > 1) this.reconnects.add();
        return;
      case 'provider.outage': {
        const provider = this.#bounded(record.fields.provider);
        this.outages.add({ provider });
        this.outage.set(provider, true);
        return;
      }
      case 'provider.back':
        this.outage.set(this.#bounded(record.fields.provider), false);
        return;
      case 'log.dropped':
        this.dropped.add({}, record.fields.lines);
        return;
      case 'notify.sent':
        this.notices.add({ result: 'sent' });
        return;
      case 'notify.failed':
        this.notices.add({ result: 'failed' });
        return;
    }
  }

  /** `increase()` sees only what a series was before: one that begins with its first event hides it. */
  #beginAtZero(): void {
    for (const reason of RESTART_REASONS) {
      this.restarts.add({ reason }, 0);
      this.restartFailures.add({ reason }, 0);
    }
    for (const reason of STUCK_REASONS) {
      this.stuck.add({ reason }, 0);
      for (const result of ['done', 'failed']) this.aborts.add({ reason, result }, 0);
    }
    for (const result of ['sent', 'failed']) this.notices.add({ result }, 0);
  }

  #aborted(sessionID: string, reason: string, at: number): void {
    this.aborts.add({ reason, result: 'done' });
    const since = this.#stuckSince.get(sessionID);
    if (since === undefined) return;
    this.#stuckSince.delete(sessionID);
    this.abortSeconds.observe((at - since) / 1_000);
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
