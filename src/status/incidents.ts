/** Incidents from start to end, with what was done about them (contract, "Terms"), built from log events. Bounded. */
import type { TelemetryRecord } from '../telemetry/logger.js';
import type { InterruptedBy } from '../watchdog/decision.js';
import { joinModelName } from '../watchdog/model-name.js';
import { leavesRestart } from './restart-left.js';

export const INCIDENT_KINDS = [
  'stuck',
  'wedged',
  'suspended',
  'unresponsive',
  'recycle',
  'unsupported',
  'exited',
  'breaker_open',
  'outage',
] as const;
export type IncidentKind = (typeof INCIDENT_KINDS)[number];

/** How an incident ends (docs/report.md). */
export const INCIDENT_OUTCOMES = [
  'aborted',
  'disposed',
  'answered',
  'recovered',
  'idle',
  'failed',
  'restarted',
  'stopped',
  'interrupted',
  'skipped',
  'healthy',
  'continued',
  'closed',
  'back',
  'unwatched',
] as const;
type Outcome = (typeof INCIDENT_OUTCOMES)[number];

export interface Step {
  at: string;
  event: string;
  says: string;
}

export interface Incident {
  /** Its start in seconds since the epoch, or the next free number: the same in the log, the history and the page. */
  id: number;
  kind: IncidentKind;
  startedAt: string;
  endedAt?: string;
  outcome?: Outcome;
  reason?: string;
  sessionID?: string;
  directory?: string;
  title?: string;
  /** The folder with the evidence of the server's state before its restart. */
  evidence?: string;
  /** What happened, in a sentence. */
  says: string;
  /** What was done about it, oldest first. */
  steps: Step[];
}

/** Incidents kept. At the limit: the oldest that is over is forgotten; if all are open, the oldest. */
export const MAX_INCIDENTS = 200;
/**
 * Steps of one incident. A session that is aborted over and over keeps its newest steps. At the limit: the oldest is
 * forgotten.
 */
export const MAX_STEPS = 20;
/** Characters of a sentence in an incident. 200 incidents of 20 steps stay below 3 MB. At the limit: it is cut. */
export const MAX_SAYS = 500;

export class Incidents {
  /** Oldest first. */
  readonly #all: Incident[] = [];
  readonly #open = new Map<string, Incident>();
  readonly #limit: number;
  #lastId = 0;

  constructor(limit = MAX_INCIDENTS) {
    this.#limit = limit;
  }

  /** Newest first. */
  get list(): readonly Incident[] {
    return this.#all.toReversed();
  }

  get openCount(): number {
    return this.#open.size;
  }

  /** Ends all open incidents: the daemon that saw them is gone, and nobody knows how they went on. */
  endUnwatched(time: number): void {
    for (const incident of this.#open.values()) {
      incident.endedAt = new Date(time).toISOString();
      incident.outcome = 'unwatched';
    }
    this.#open.clear();
  }

  /** @returns the incidents that this event changes */
  take(record: TelemetryRecord): readonly Incident[] {
    switch (record.event) {
      case 'directory.disposing':
      case 'directory.deferred':
      case 'directory.dispose_failed':
        return this.#stepOfWedged(record);
      case 'directory.disposed':
        return this.#disposed(record);
      default: {
        const incident = this.#takeForOne(record);
        return incident === undefined ? [] : [incident];
      }
    }
  }

  /** @returns the incident that this event belongs to, if any */
  #takeForOne(record: TelemetryRecord): Incident | undefined {
    switch (record.event) {
      case 'session.stuck':
        return this.#begin(`session ${record.fields.sessionID}`, 'stuck', record, record.fields);
      case 'session.wedged': {
        const key = `session ${record.fields.sessionID}`;
        const incident = this.#begin(key, 'wedged', record, record.fields);
        incident.kind = 'wedged';
        return incident;
      }
      case 'session.aborting':
      case 'session.abort_failed':
      case 'session.continued':
        return this.#step(`session ${record.fields.sessionID}`, record);
      case 'session.aborted':
        return this.#aborted(record);
      case 'session.answered':
        return this.#answered(record);
      case 'session.recovered':
        return this.#end(`session ${record.fields.sessionID}`, 'recovered', record);
      case 'session.failed':
        return this.#end(`session ${record.fields.sessionID}`, 'failed', record);
      case 'session.interrupted':
        return this.#end(`session ${record.fields.sessionID}`, cutBy(record.fields.by), record);
      case 'session.health':
        if (record.fields.health !== 'idle') return undefined;
        return this.#end(`session ${record.fields.sessionID}`, 'idle', record, { step: false });
      case 'act.skipped':
        if (leavesRestart(record)) return this.#notRestarted('skipped', record);
        return this.#stepOf(record);
      case 'act.requested':
      case 'act.done':
        return this.#stepOf(record);
      case 'server.suspended':
        return this.#begin('server', 'suspended', record, {});
      case 'server.unresponsive':
        return this.#begin('server', 'unresponsive', record, {});
      case 'server.unsupported':
        return this.#begin('server', 'unsupported', record, {});
      case 'server.exited':
        return this.#begin('server', 'exited', record, {});
      case 'server.restarting': {
        const { reason } = record.fields;
        if (isRecycle(reason) && !record.would)
          return this.#begin('server', 'recycle', record, { reason });
        return this.#step('server', record);
      }
      case 'server.evidence': {
        // On a slow disk this event may come when the server is already back.
        const incident = this.#step('server', record) ?? this.#lastWithEvidence();
        if (incident !== undefined) incident.evidence = record.fields.folder;
        return incident;
      }
      case 'server.restart_failed':
        if (record.fields.serverAlive) return this.#notRestarted('failed', record);
        return this.#step('server', record);
      case 'server.continue_failed':
        return this.#step('server', record);
      case 'server.continued':
        return this.#end('server', 'continued', record);
      case 'server.restarted':
        return this.#end('server', 'restarted', record);
      case 'server.healthy':
        return this.#end('server', 'healthy', record);
      case 'server.breaker_open':
        return this.#begin('breaker', 'breaker_open', record, record.fields);
      case 'server.breaker_closed':
        return this.#end('breaker', 'closed', record);
      case 'provider.outage':
        return this.#begin(outageKey(record.fields), 'outage', record, {
          reason: joinModelName(record.fields),
        });
      case 'provider.back':
        return this.#end(outageKey(record.fields), 'back', record);
      default:
        return undefined;
    }
  }

  #begin(
    key: string,
    kind: IncidentKind,
    record: TelemetryRecord,
    about: { reason?: string; sessionID?: string; directory?: string; title?: string },
  ): Incident {
    const open = this.#open.get(key);
    if (open !== undefined) {
      addStep(open, record);
      return open;
    }
    const { reason, sessionID, directory, title } = about;
    this.#lastId = Math.max(this.#lastId + 1, Math.floor(record.time / 1_000));
    const incident: Incident = {
      id: this.#lastId,
      kind,
      startedAt: iso(record),
      ...(reason === undefined ? {} : { reason }),
      ...(sessionID === undefined ? {} : { sessionID }),
      ...(directory === undefined ? {} : { directory }),
      ...(title === undefined ? {} : { title }),
      says: record.msg.slice(0, MAX_SAYS),
      steps: [],
    };
    this.#all.push(incident);
    this.#open.set(key, incident);
    if (this.#all.length > this.#limit) this.#forget();
    return incident;
  }

  #step(key: string, record: TelemetryRecord): Incident | undefined {
    const incident = this.#open.get(key);
    if (incident !== undefined) addStep(incident, record);
    return incident;
  }

  /** An act is a step in the incident of its session or of the server. */
  #stepOf(record: TelemetryRecord & { fields: { sessionID?: string } }): Incident | undefined {
    const { sessionID } = record.fields;
    return this.#step(sessionID === undefined ? 'server' : `session ${sessionID}`, record);
  }

  /** The server runs on as before: an incident that the restart itself began is over. */
  #notRestarted(
    outcome: Outcome,
    record: TelemetryRecord & { fields: { reason?: string } },
  ): Incident | undefined {
    const begun = isRecycle(record.fields.reason) && this.#open.get('server')?.kind === 'recycle';
    return begun ? this.#end('server', outcome, record) : this.#step('server', record);
  }

  #end(
    key: string,
    outcome: Outcome,
    record: TelemetryRecord,
    { step = true } = {},
  ): Incident | undefined {
    const incident = this.#open.get(key);
    if (incident === undefined) return undefined;
    if (step) addStep(incident, record);
    incident.endedAt = iso(record);
    incident.outcome = outcome;
    this.#open.delete(key);
    return incident;
  }

  /**
   * The event stream shows the run's end before the abort is verified. An incident that ended as idle was aborted,
   * then. A person may abort a later run that is not in an incident: theirs counts only if it had begun before that end.
   */
  #aborted(record: Extract<TelemetryRecord, { event: 'session.aborted' }>): Incident | undefined {
    const { sessionID, reason } = record.fields;
    const ended = this.#end(`session ${sessionID}`, 'aborted', record);
    if (ended !== undefined) return ended;
    const last = this.#all.findLast((incident) => incident.sessionID === sessionID);
    if (last?.outcome !== 'idle') return undefined;
    if (reason === 'manual' && last.steps.at(-1)?.event !== 'session.aborting') return undefined;
    last.outcome = 'aborted';
    addStep(last, record);
    return last;
  }

  /**
   * A session that was stuck because it waited is stuck no more, unless it waits too long for another answer too, or an
   * abort is on its way.
   */
  #answered(record: Extract<TelemetryRecord, { event: 'session.answered' }>): Incident | undefined {
    const key = `session ${record.fields.sessionID}`;
    const open = this.#open.get(key);
    if (open?.kind !== 'stuck' || open.reason !== 'waiting') return undefined;
    if (open.steps.some(({ event }) => event === 'session.aborting')) return undefined;
    if (record.fields.overdue !== undefined) return this.#step(key, record);
    return this.#end(key, 'answered', record);
  }

  /** An action on a directory is a step in the incident of each wedged session in it. */
  #stepOfWedged(record: TelemetryRecord & { fields: { directory: string } }): Incident[] {
    const { directory } = record.fields;
    const wedged = [...this.#open.values()].filter(
      (incident) => incident.kind === 'wedged' && incident.directory === directory,
    );
    for (const incident of wedged) addStep(incident, record);
    return wedged;
  }

  /** The event stream shows the ends of the runs before the dispose is verified. */
  #disposed(record: Extract<TelemetryRecord, { event: 'directory.disposed' }>): Incident[] {
    const { reason, interrupted } = record.fields;
    if (reason === 'elsewhere') return [];
    return interrupted.flatMap((sessionID) => {
      const ended = this.#end(`session ${sessionID}`, 'disposed', record);
      if (ended !== undefined) return ended;
      const last = this.#all.findLast((incident) => incident.sessionID === sessionID);
      if (last?.kind !== 'wedged' || last.outcome !== 'idle') return [];
      last.outcome = 'disposed';
      addStep(last, record);
      return last;
    });
  }

  #lastWithEvidence(): Incident | undefined {
    return this.#all.findLast(({ kind }) => kind === 'unresponsive' || kind === 'recycle');
  }

  /** Forgets the oldest incident that is over; if all are open, the oldest. */
  #forget(): void {
    const over = this.#all.findIndex((incident) => incident.endedAt !== undefined);
    const [gone] = this.#all.splice(Math.max(0, over), 1);
    for (const [key, incident] of this.#open) {
      if (incident === gone) this.#open.delete(key);
    }
  }
}

function addStep(incident: Incident, record: TelemetryRecord): void {
  incident.steps.push({
    at: iso(record),
    event: record.event,
    says: record.msg.slice(0, MAX_SAYS),
  });
  if (incident.steps.length > MAX_STEPS) incident.steps.shift();
}

function cutBy(by: InterruptedBy): Outcome {
  switch (by) {
    case 'stop':
      return 'stopped';
    case 'dispose':
      return 'disposed';
    case 'elsewhere':
      return 'interrupted';
    // A log of 0.1 does not say by whom: it was a restart.
    default:
      return 'restarted';
  }
}

function isRecycle(reason: string | undefined): boolean {
  return reason === 'memory' || reason === 'processes';
}

function outageKey(out: { provider: string; model: string }): string {
  return `outage ${joinModelName(out)}`;
}

function iso(record: TelemetryRecord): string {
  return new Date(record.time).toISOString();
}
