/** The server's last hour: its states, its memory and its restarts, built from log events. Bounded. */

import { lengthOf } from '../lib/redaction.js';
import type { TelemetryRecord } from '../telemetry/logger.js';
import type { ServerHealth } from '../watchdog/decision.js';
import { isUnderWay, leavesRestart, type RestartEnd } from './restart-left.js';

export const HOUR_MS = 3_600_000;
/** At most one point every ten seconds, for an hour. */
const MEMORY_EVERY_MS = 10_000;
/** Server states kept. At the limit: the oldest is forgotten. */
export const MAX_STATES = 500;
/** Restarts kept. At the limit: the oldest is forgotten. */
export const MAX_RESTARTS = 50;

export interface RestartEntry extends RestartEnd {
  at: string;
  reason: string;
  /** The numbers behind the reason, as a phrase. */
  detail?: string;
  /** How many sessions' runs it cut. */
  interrupted: number;
}

const STATE_AFTER: Partial<Record<TelemetryRecord['event'], ServerHealth>> = {
  'server.starting': 'starting',
  'server.healthy': 'healthy',
  'server.suspended': 'unresponsive',
  'server.continued': 'healthy',
  'server.unresponsive': 'unresponsive',
  'server.unauthorized': 'unauthorized',
  'server.unsupported': 'unsupported',
  'server.exited': 'down',
  'server.restarting': 'restarting',
};

export class ServerHistory {
  /** `[epoch ms, state from then on]`, oldest first. */
  readonly states: [number, ServerHealth][] = [];
  /** `[epoch ms, bytes]`, oldest first. */
  readonly memory: [number, number][] = [];
  /** Oldest first. */
  readonly restarts: RestartEntry[] = [];
  /** The state before the last restart was decided. */
  #beforeRestart: ServerHealth | undefined;

  take(record: TelemetryRecord): void {
    // The record says what a dry run would do; nothing was done.
    if (record.would) return;
    if (record.event === 'server.restarting') this.#beforeRestart = this.#state;
    const state = this.#stateAfter(record);
    // A server that somebody else started is reported as starting and at once as healthy.
    if (state !== undefined) this.#enter(record.time, state);
    switch (record.event) {
      case 'health.summary':
        if (record.fields.serverMemoryBytes !== undefined) {
          this.remember(record.time, record.fields.serverMemoryBytes);
        }
        return;
      case 'server.restarting':
        this.restarts.push({
          at: new Date(record.time).toISOString(),
          reason: record.fields.reason,
          ...(record.fields.detail === '' ? {} : { detail: record.fields.detail }),
          interrupted: lengthOf(record.fields.interrupted),
        });
        if (this.restarts.length > MAX_RESTARTS) this.restarts.shift();
        return;
      case 'server.restarted':
        this.#last((entry) => {
          entry.tookMs = record.fields.tookMs;
        });
        return;
      case 'server.restart_failed':
        if (record.fields.reason === 'start') return;
        this.#last((entry) => {
          entry.error = record.fields.error;
          if (record.fields.serverAlive) entry.interrupted = 0;
        });
        return;
      case 'act.skipped':
        if (leavesRestart(record)) this.#last(() => this.restarts.pop());
        return;
    }
  }

  /** The daemon that saw all this is gone. Nobody knows how the server went on until the next one sees it. */
  endUnwatched(time: number): void {
    if (this.#state !== undefined) this.#enter(time, 'unknown');
    this.#last((entry) => {
      entry.endUnseen = true;
    });
  }

  /** Notes the memory of the server's process tree at `time`. */
  remember(time: number, bytes: number): void {
    const last = this.memory.at(-1);
    if (last !== undefined && time - last[0] < MEMORY_EVERY_MS) return;
    this.memory.push([time, bytes]);
    while ((this.memory[0]?.[0] ?? time) < time - HOUR_MS) this.memory.shift();
  }

  /** The states of the last hour, beginning with the state that held at its start. */
  since(time: number): [number, ServerHealth][] {
    const from = time - HOUR_MS;
    const begin = this.states.findLastIndex(([at]) => at <= from);
    return this.states.slice(Math.max(0, begin));
  }

  get #state(): ServerHealth | undefined {
    return this.states.at(-1)?.[1];
  }

  /** Undefined if the event does not change the state. */
  #stateAfter(record: TelemetryRecord): ServerHealth | undefined {
    switch (record.event) {
      case 'server.restart_failed':
        return record.fields.serverAlive ? this.#beforeRestart : 'down';
      case 'act.skipped':
        return leavesRestart(record) ? this.#beforeRestart : undefined;
      case 'server.breaker_open':
        // It may open over a healthy server, for its wedged sessions.
        return this.#state === 'down' || this.#state === 'unresponsive' ? 'held' : undefined;
      default:
        return STATE_AFTER[record.event];
    }
  }

  #enter(time: number, state: ServerHealth): void {
    if (this.#state === state) return;
    this.states.push([time, state]);
    if (this.states.length > MAX_STATES) this.states.shift();
  }

  #last(change: (entry: RestartEntry) => void): void {
    const entry = this.restarts.at(-1);
    if (entry !== undefined && isUnderWay(entry)) change(entry);
  }
}
