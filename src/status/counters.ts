/**
 * Counts log events for the metrics, from the daemon's start.
 *
 * Labels take values from small closed sets only (reasons, health words, event names); the one open set, provider ids,
 * is cut off at `MAX_PROVIDERS`.
 */

import type { Counter, Gauge, Histogram } from 'prom-client';
import { BoundedMap, BoundedSet } from '../lib/bounded.js';
import type { TelemetryRecord } from '../telemetry/logger.js';
import { RESTART_REASONS, STUCK_REASONS } from '../watchdog/decision.js';
import { MAX_MODELS } from '../watchdog/group/provider-outage.js';
import { joinModelName, splitModelName } from '../watchdog/model-name.js';
import type { Instruments } from './instruments.js';
import { leavesRestart } from './restart-left.js';
import type { StatusSource } from './source.js';

/** Providers named by metrics. At the limit: the rest is counted as `other`. */
export const MAX_PROVIDERS = 50;
/** The label for providers beyond `MAX_PROVIDERS`, and for a skipped abort without a reason. */
const OTHER = 'other';
/** Stuck sessions whose time to the abort is measured. At the limit: the oldest is forgotten. */
export const MAX_PENDING = 1_000;

export class EventCounters {
  readonly #retryEpisodes: Counter;
  readonly #stuck: Counter;
  readonly #aborts: Counter;
  readonly #wedged: Counter;
  readonly #failed: Counter;
  readonly #interrupted: Counter;
  readonly #disposals: Counter;
  readonly #restarts: Counter;
  readonly #restartFailures: Counter;
  readonly #breakerOpened: Counter;
  readonly #reconnects: Counter;
  readonly #logEvents: Counter;
  readonly #dropped: Counter;
  readonly #notices: Counter;
  readonly #outages: Counter;
  /** Whether a provider is failing now: 1 or 0. */
  readonly #outage: Gauge;
  readonly #abortSeconds: Histogram;
  readonly #recoverySeconds: Histogram;
  readonly #probeSeconds: Histogram;
  readonly #stuckSince = new BoundedMap<string, number>(MAX_PENDING);
  readonly #providers = new Set<string>();
  /** The models that are out, as `provider/model`. The watchdog itself remembers no more of them. */
  readonly #out = new BoundedSet<string>(MAX_MODELS);
  /** Since when the server is away; `restarting`: only because its restart was decided. */
  #down: { since: number; restarting: boolean } | undefined;
  #connections = 0;

  constructor(make: Instruments, source: Pick<StatusSource, 'onProbe'>) {
    this.#retryEpisodes = make.counter('retry_episodes', 'Retry episodes begun.');
    this.#stuck = make.counter('stuck_sessions', 'Limits crossed by sessions.', ['reason']);
    this.#aborts = make.counter('aborts', 'Aborts by why they were decided and how they ended.', [
      'reason',
      'result',
    ]);
    this.#wedged = make.counter('wedged_sessions', 'Sessions that no abort ended.');
    this.#disposals = make.counter(
      'directory_disposals',
      'Disposes of directories for wedged sessions by how they ended.',
      ['result'],
    );
    this.#failed = make.counter('failed_runs', 'Runs that opencode itself ended with an error.');
    this.#interrupted = make.counter('interrupted_runs', 'Runs that a restart or a dispose cut.', [
      'reason',
    ]);
    this.#restarts = make.counter('server_restarts', 'Restarts decided.', ['reason']);
    this.#restartFailures = make.counter(
      'server_restart_failures',
      'Restarts that did not lead to health.',
      ['reason'],
    );
    this.#breakerOpened = make.counter('breaker_opened', 'How often the restart breaker opened.');
    this.#reconnects = make.counter(
      'stream_reconnects',
      'Connections of the event stream after the first.',
    );
    this.#logEvents = make.counter('log_events', 'Events logged, by name.', ['event']);
    this.#dropped = make.counter('log_dropped_lines', 'Log lines lost to a slow reader.');
    this.#notices = make.counter('webhook_notices', 'Notices to webhooks by how they ended.', [
      'result',
    ]);
    this.#outages = make.counter('provider_outages', 'Outages of a provider.', ['provider']);
    this.#outage = make.gauge('provider_outage', 'Whether a provider is failing now.', [
      'provider',
    ]);
    this.#abortSeconds = make.histogram(
      'abort_duration_seconds',
      'From the limit that a session crossed to its verified end.',
      [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
    );
    this.#recoverySeconds = make.histogram(
      'server_recovery_duration_seconds',
      'From the moment that the server was found gone or unresponsive, or its restart was decided, to health.',
      [0.5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300],
    );
    this.#probeSeconds = make.histogram(
      'probe_duration_seconds',
      'How long answered health probes took.',
      [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
    );
    source.onProbe((tookMs) => this.#probeSeconds.observe(tookMs / 1_000));
    this.#beginAtZero();
  }

  take(record: TelemetryRecord): void {
    this.#logEvents.inc({ event: record.event });
    // The record says what a dry run would do; nothing was done.
    if (record.would) return;
    switch (record.event) {
      case 'session.health':
        if (record.fields.previous !== undefined && record.fields.health === 'retrying') {
          this.#retryEpisodes.inc();
        }
        return;
      case 'session.stuck':
        this.#stuck.inc({ reason: record.fields.reason });
        this.#stuckSince.set(record.fields.sessionID, record.time);
        return;
      case 'session.aborted':
        this.#aborted(record.fields.sessionID, record.fields.reason, record.time);
        return;
      case 'session.ended':
      case 'session.recovered':
        this.#stuckSince.delete(record.fields.sessionID);
        return;
      case 'session.abort_failed':
        this.#aborts.inc({ reason: record.fields.reason, result: 'failed' });
        return;
      case 'act.skipped':
        if (leavesRestart(record)) this.#notRestarted();
        if (record.fields.act !== 'abort') return;
        this.#aborts.inc({ reason: record.fields.reason ?? OTHER, result: 'skipped' });
        return;
      case 'act.done':
        // An abort that was sent is counted by its own end (`session.aborted`, `session.abort_failed`).
        if (record.fields.outcome === 'done' || record.fields.outcome === 'failed') return;
        this.#aborts.inc({ reason: 'manual', result: record.fields.outcome });
        return;
      case 'session.wedged':
        this.#wedged.inc();
        return;
      case 'directory.disposed':
        if (record.fields.reason !== 'elsewhere') this.#disposals.inc({ result: 'done' });
        return;
      case 'directory.dispose_failed':
        this.#disposals.inc({ result: 'failed' });
        return;
      case 'session.failed':
        this.#failed.inc();
        return;
      case 'session.interrupted':
        this.#interrupted.inc({ reason: record.fields.restartReason ?? record.fields.by });
        return;
      case 'server.exited':
      case 'server.unresponsive':
        this.#down ??= { since: record.time, restarting: false };
        return;
      case 'server.restarting':
        this.#restarts.inc({ reason: record.fields.reason });
        this.#down ??= { since: record.time, restarting: true };
        return;
      case 'server.restart_failed':
        this.#restartFailures.inc({ reason: record.fields.reason });
        if (record.fields.serverAlive) this.#notRestarted();
        return;
      case 'server.healthy':
        if (this.#down === undefined) return;
        this.#recoverySeconds.observe((record.time - this.#down.since) / 1_000);
        this.#down = undefined;
        return;
      case 'server.breaker_open':
        this.#breakerOpened.inc();
        return;
      case 'stream.connected':
        this.#connections += 1;
        if (this.#connections > 1) this.#reconnects.inc();
        return;
      case 'provider.outage':
        this.#outages.inc({ provider: this.#bounded(record.fields.provider) });
        this.#out.add(joinModelName(record.fields));
        this.#setOutage(record.fields.provider);
        return;
      case 'provider.back':
        this.#out.delete(joinModelName(record.fields));
        this.#setOutage(record.fields.provider);
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

  /**
   * `increase()` of PromQL sees only changes of an existing series. A series that began with its first event would hide
   * that event.
   */
  #beginAtZero(): void {
    for (const reason of RESTART_REASONS) {
      this.#restarts.inc({ reason }, 0);
      this.#restartFailures.inc({ reason }, 0);
    }
    for (const reason of STUCK_REASONS) this.#stuck.inc({ reason }, 0);
    for (const reason of [...STUCK_REASONS, 'manual']) {
      for (const result of ['done', 'failed']) this.#aborts.inc({ reason, result }, 0);
    }
    for (const result of ['sent', 'failed']) this.#notices.inc({ result }, 0);
    for (const result of ['done', 'failed']) this.#disposals.inc({ result }, 0);
  }

  #notRestarted(): void {
    if (this.#down?.restarting) this.#down = undefined;
  }

  #aborted(sessionID: string, reason: string, at: number): void {
    this.#aborts.inc({ reason, result: 'done' });
    const since = this.#stuckSince.get(sessionID);
    if (since === undefined) return;
    this.#stuckSince.delete(sessionID);
    // A person decides when to abort.
    if (reason === 'manual') return;
    this.#abortSeconds.observe((at - since) / 1_000);
  }

  /** A provider is out while one of its models is. Several providers may share one label. */
  #setOutage(provider: string): void {
    const label = this.#bounded(provider);
    const isOut = [...this.#out].some(
      (model) => this.#bounded(splitModelName(model).provider) === label,
    );
    this.#outage.set({ provider: label }, isOut ? 1 : 0);
  }

  #bounded(provider: string): string {
    if (this.#providers.has(provider)) return provider;
    if (this.#providers.size >= MAX_PROVIDERS) return OTHER;
    this.#providers.add(provider);
    return provider;
  }
}
