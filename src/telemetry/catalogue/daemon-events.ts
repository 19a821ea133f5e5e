/** The catalogue's entries about the daemon itself. */
import { HEALTHS } from '../../watchdog/decision.js';
import { bytes, counted, reasonOf, time, wholeOf } from '../number-text.js';
import type { CatalogueOf, EventName } from './events.js';
import type { StatusEvent } from './status-events.js';

type DaemonEvent = Exclude<
  EventName,
  | `server.${string}`
  | `stream.${string}`
  | `directory.${string}`
  | `${'session' | 'provider' | 'budget'}.${string}`
  | StatusEvent
>;

export const daemonEvents: CatalogueOf<DaemonEvent> = {
  'daemon.started': {
    level: 'info',
    when: 'the daemon is up',
    fields: {
      version: 'of opencode-watchdog',
      pid: 'process id of the daemon',
      config: 'the effective configuration, secrets masked',
    },
    message: (f) => `opencode-watchdog ${f.version} started, pid ${f.pid}.`,
  },
  'daemon.stopping': {
    level: 'info',
    when: 'the daemon was told to stop',
    fields: {
      signal: 'the signal, or why else',
      interrupted: 'ids of the sessions whose runs end with the server',
    },
    message: (f) =>
      f.interrupted.length === 0
        ? `Stopping (${f.signal}).`
        : `Stopping (${f.signal}); ${counted(f.interrupted.length, 'run')} at work will be cut.`,
  },
  'daemon.stopped': {
    level: 'info',
    when: 'last line of a clean stop',
    fields: { signal: 'the signal, or why else', exitCode: 'exit code of the daemon' },
    message: (f) => `Stopped (${f.signal}), exit code ${f.exitCode}.`,
  },
  'daemon.gap': {
    level: 'warn',
    when: 'the daemon did not run for a while (the machine was suspended, the process stopped or blocked), or the clock was set forward; that time counts for no limit',
    fields: { gapMs: 'how long' },
    message: (f) => `The watchdog did not run for ${time(f.gapMs)}; that time counts for no limit.`,
  },
  'health.summary': {
    level: 'info',
    when: 'every `log.healthInterval`',
    fields: {
      idle: 'sessions known to be idle',
      busy: 'sessions at work',
      waiting: 'sessions that wait for a person',
      delegating: 'sessions whose subagent works',
      retrying: 'sessions in a retry episode',
      looping: 'sessions that go round in circles',
      stalled: 'sessions without a sign of life',
      stuck: 'sessions past a limit',
      wedged: 'sessions that no abort ended',
      eventsPerSec: 'events of the stream, mean since the last summary',
      serverMemoryBytes: 'resident memory of the server’s process tree',
      serverProcesses: 'processes of that tree',
      serverMemoryGrowthBytesPerHour: 'its trend over the last half hour',
      watchdogMemoryBytes: 'resident memory of the daemon',
      restarts: 'restarts since the daemon started',
      costTodayUsd:
        'what the whole server has cost since midnight, US dollars as opencode reckons them',
      tokensToday: 'tokens of the whole server since midnight',
    },
    message: (f) => {
      const active = HEALTHS.filter((health) => health !== 'idle' && f[health] > 0);
      const sessions = active.map((health) => `${f[health]} ${health}`).join(', ');
      const memory =
        f.serverMemoryBytes === undefined ? '' : `, server ${bytes(f.serverMemoryBytes)}`;
      const growth = f.serverMemoryGrowthBytesPerHour ?? 0;
      const trend = growth > 0 ? ` (growing by ${bytes(growth)} an hour)` : '';
      return `Sessions: ${sessions || 'none active'}; ${f.eventsPerSec.toFixed(1)} events/s, ${counted(f.restarts, 'restart')}${memory}${trend}, watchdog ${bytes(f.watchdogMemoryBytes)}.`;
    },
  },
  'log.dropped': {
    level: 'warn',
    when: 'the reader of the log was too slow, and lines were lost',
    fields: { lines: 'how many' },
    message: (f) => `The reader of this log was too slow: ${counted(f.lines, 'line')} lost.`,
  },
  'log.suppressed': {
    level: 'warn',
    when: 'lines that repeat, or come in floods, were counted instead of written (docs/limits.md, "Log rate")',
    fields: {
      lines: 'how many',
      events: 'how many of each event',
      forMs: 'since the first of them',
    },
    message: (f) =>
      `${counted(f.lines, 'repeated line')} left out in ${time(f.forMs)}: ${Object.entries(f.events)
        .map(([event, lines]) => `${lines} × ${event}`)
        .join(', ')}.`,
  },
  'daemon.state': {
    level: 'info',
    when: 'SIGUSR2: the core of what `/status` shows, for where it is not to be had',
    fields: { state: 'the server, its live directories, the sessions, how many more are idle' },
    message: () => 'The state of the watchdog, as SIGUSR2 asked.',
  },
  'config.reloaded': {
    level: 'info',
    when: 'SIGHUP: the configuration was read again',
    fields: {
      applied: 'keys whose new value is in force',
      needRestart: 'keys that changed and wait for a restart of the daemon',
    },
    message: (f) => {
      const waiting =
        f.needRestart.length === 0
          ? ''
          : ` Waiting for a restart of the daemon: ${f.needRestart.join(', ')}.`;
      return f.applied.length === 0
        ? `The configuration was read again, and nothing changed that can be applied live.${waiting}`
        : `The configuration was read again; in force now: ${f.applied.join(', ')}.${waiting}`;
    },
  },
  'config.invalid': {
    level: 'error',
    when: 'a configuration is refused',
    fields: { err: 'the error, with every problem' },
    message: (f) => `The configuration is refused, the one in force stays: ${wholeOf(f.err)}`,
  },
  error: {
    level: 'error',
    when: 'something failed that should not',
    fields: { err: 'the error: name, message, code, stack', doing: 'what was being done' },
    message: (f) =>
      `${f.doing === undefined ? 'Failed' : `Failed while ${f.doing}`}: ${reasonOf(f.err)}`,
  },
};
