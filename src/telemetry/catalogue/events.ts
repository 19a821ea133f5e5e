/** The types of everything that can be logged: what each event is emitted with, and what the log has of it. */

import type {
  Health,
  LeavableAct,
  NoteFields,
  RestartReason,
  SessionFields,
} from '../../watchdog/decision.js';
import type { AskedBy } from '../../watchdog/observation.js';

export type Level = 'debug' | 'info' | 'warn' | 'error';

/** Rooms (a name's first word) whose events are news: they are kept in the history and passed to `notify.command`. */
export const NEWS_ROOMS: ReadonlySet<string> = new Set([
  'session',
  'server',
  'directory',
  'budget',
  'provider',
  'act',
  'daemon',
]);

/** The events that come from the daemon around the state machine. */
export interface DaemonEventFields {
  'daemon.started': { version: string; pid: number; config: Record<string, unknown> };
  'daemon.stopping': { signal: string; interrupted: string[] };
  'daemon.stopped': { signal: string; exitCode: number };
  'daemon.gap': { gapMs: number };
  'server.starting': { pid?: number };
  'server.output': { stream: 'stdout' | 'stderr'; line: string };
  'server.memory_growing': { bytesPerHour: number; children: string[] };
  'server.evidence': { reason: RestartReason; folder: string; tookMs: number };
  'server.notice': {
    severity: 'debug' | 'info' | 'warn' | 'error';
    notice: string;
    detail?: Record<string, unknown>;
  };
  'stream.connected': { path: string };
  'stream.lost': { path: string; reason: string; silentMs: number };
  'stream.unavailable': { path: string; reason: string; silentMs: number };
  'health.summary': Record<Health, number> & {
    eventsPerSec: number;
    serverMemoryBytes?: number;
    serverProcesses?: number;
    watchdogMemoryBytes: number;
    serverMemoryGrowthBytesPerHour?: number;
    restarts: number;
    costTodayUsd: number;
    tokensToday: number;
  };
  'log.dropped': { lines: number };
  'log.suppressed': { lines: number; events: Record<string, number>; forMs: number };
  'config.invalid': { err: unknown };
  'config.reloaded': { applied: string[]; needRestart: string[] };
  'daemon.state': { state: Record<string, unknown> };
  error: { err: unknown; doing?: string };
}

/** Who asks the daemon to act: the status page, a command of ours, or another program over HTTP. */
export type ActBy = AskedBy;

/** The session that an action is for. */
type ActOn = Pick<SessionFields, 'sessionID' | 'directory' | 'title'>;

/** What people ask of the daemon, and what it tells them by itself. */
export interface StatusEventFields {
  'status.listening': { address: string };
  'status.failed': { address: string; error: string; retryInMs?: number };
  'act.skipped': {
    act: LeavableAct['act'];
    sessionID?: string;
    directory?: string;
    reason?: string;
    because: 'dryRun' | 'paused';
  };
  'act.requested': Partial<ActOn> & { act: 'abort' | 'restart'; by: ActBy };
  'daemon.paused': { by: ActBy };
  'daemon.resumed': { by: ActBy; pausedMs: number };
  'notify.sent': { host: string; events: number; tries: number };
  'notify.failed': { host: string; events: number; tries: number; error: string };
}

/** What each event is emitted with: the state machine's notes as they are, and the daemon's own events. */
export type EventFields = NoteFields & DaemonEventFields & StatusEventFields;
export type EventName = keyof EventFields;

/**
 * The fields in the log. They are as emitted, with one exception: the state machine, which has no wall clock, says how
 * far away the next attempt or the end of a wait is, and the log says when it is.
 */
export type LogFields<E extends EventName> = 'nextInMs' extends keyof EventFields[E]
  ? Omit<EventFields[E], 'nextInMs'> & { nextAt?: string }
  : 'untilInMs' extends keyof EventFields[E]
    ? Omit<EventFields[E], 'untilInMs'> & { until?: string }
    : EventFields[E];

/** The names that a catalogue entry documents: all but those that every session event has. */
export type DocumentedField<E extends EventName> = Exclude<
  keyof LogFields<E>,
  E extends `${'session' | 'budget'}.${string}` ? keyof SessionFields : never
>;

export interface CatalogueEntry<E extends EventName> {
  /** One for all, or how it follows from the fields, with that in words for the documentation. */
  level: Level | { of(fields: EventFields[E]): Level; words: string };
  /** When it is logged, as a phrase. */
  when: string;
  /** What each field means. */
  fields: { readonly [F in DocumentedField<E>]-?: string };
  /** One plain sentence, with the numbers; `server` is the URL of the watched server. */
  message(fields: EventFields[E], about: { server: string }): string;
  /** For an event that says what is being done: the sentence of a dry run, which does nothing. */
  would?(fields: EventFields[E]): string;
}

export type CatalogueOf<E extends EventName> = { readonly [K in E]: CatalogueEntry<K> };
