/** The metrics that are read at each scrape: the current state, and counts that are kept elsewhere. */
import type { Clock } from '../lib/clock.js';
import { HEALTHS, SERVER_HEALTHS } from '../watchdog/decision.js';
import { splitModelName } from '../watchdog/model-name.js';
import { BREAKER_STATES } from '../watchdog/server/circuit-breaker.js';
import type { LoopLag } from './event-loop-lag.js';
import type { Instruments } from './instruments.js';
import type { StatusSource } from './source.js';
import type { StatusView } from './view.js';

export interface CollectorOptions {
  source: StatusSource;
  view: StatusView;
  clock: Clock;
  lag: LoopLag;
  version: string;
}

export function collectors(make: Instruments, options: CollectorOptions): void {
  const { source, version, view, clock, lag } = options;
  const info = make.gauge('build_info', 'Constant 1, with the versions.', ['version', 'node']);
  info.set({ version, node: process.version }, 1);
  const started = make.gauge('start_time_seconds', 'When the daemon started, since the epoch.');
  started.set(Math.round(clock.epoch() - process.uptime() * 1_000) / 1_000);
  make.read(
    'sessions',
    'Sessions by health.',
    (gauge) => {
      const counts = view.counts(source.sessions());
      for (const health of HEALTHS) gauge.set({ health }, counts[health]);
    },
    ['health'],
  );
  make.read('server_up', 'Whether the watched server is healthy.', (gauge) =>
    gauge.set(source.server().health === 'healthy' ? 1 : 0),
  );
  make.read(
    'server_health',
    'The watched server’s health: 1 for the one that it has.',
    (gauge) => {
      const now = source.server().health;
      for (const health of SERVER_HEALTHS) gauge.set({ health }, health === now ? 1 : 0);
    },
    ['health'],
  );
  make.read(
    'breaker_state',
    'The restart breaker: 1 for the state that it has.',
    (gauge) => {
      const now = source.server().breaker.state;
      for (const state of BREAKER_STATES) gauge.set({ state }, state === now ? 1 : 0);
    },
    ['state'],
  );
  make.read('stream_connected', 'Whether the event stream is connected.', (gauge) =>
    gauge.set(source.server().stream.connected ? 1 : 0),
  );
  make.read('stream_silence_seconds', 'Since the last sign of life on the event stream.', (gauge) =>
    gauge.set((source.server().stream.silentMs ?? 0) / 1_000),
  );
  make.read('server_resident_memory_bytes', 'Of the server’s process tree.', async (gauge) => {
    const bytes = await view.refresh();
    if (bytes === undefined) gauge.remove();
    else gauge.set(bytes);
  });
  make.read('resident_memory_bytes', 'Of the daemon itself.', (gauge) =>
    gauge.set(process.memoryUsage.rss()),
  );
  make.read(
    'loop_lag_seconds',
    'Worst delay of the daemon’s event loop in the last 30 s.',
    (gauge) => gauge.set(lag.worstMs / 1_000),
  );
  make.read('paused', 'Whether a person has paused the daemon’s acts.', (gauge) =>
    gauge.set(source.paused ? 1 : 0),
  );
  make.read('dry_run', 'Whether the daemon acts never (dryRun).', (gauge) =>
    gauge.set(source.dryRun ? 1 : 0),
  );
  make.read('open_incidents', 'Incidents that have not ended.', (gauge) =>
    gauge.set(view.incidents.openCount),
  );
  make.follow('stream_events', 'Events that came over the event stream.', (set) =>
    set({}, source.server().stream.events),
  );
  make.follow(
    'observations',
    'What the monitor told the watchdog, by kind.',
    (set) => {
      for (const [kind, amount] of source.observations) set({ kind }, amount);
    },
    ['kind'],
  );
  make.follow(
    'cost_usd',
    'What was spent since the daemon’s start, US dollars as opencode reckons them.',
    (set) => {
      for (const [model, { costUsd }] of source.spentByModel) set(splitModelName(model), costUsd);
    },
    ['provider', 'model'],
  );
  make.follow(
    'tokens',
    'Tokens that were spent since the daemon’s start.',
    (set) => {
      for (const [model, { tokens }] of source.spentByModel) set(splitModelName(model), tokens);
    },
    ['provider', 'model'],
  );
  make.follow('cpu_seconds', 'Processor time of the daemon.', (set) => {
    const { user, system } = process.cpuUsage();
    set({}, (user + system) / 1_000_000);
  });
}
