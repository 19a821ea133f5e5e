/**
 * Only a run that was cut or parked is continued, and only once for each time. A parked run comes to an end. A
 * quarantined session is left alone.
 *
 * A prompt is seen twice: as the request that leaves the daemon, if there is a proxy, and in the daemon's log.
 */
import { type Evidence, Law, type LogLine } from '../evidence.js';
import type { History } from './history.js';

/**
 * Counted from when the quota is back: the first run of a provider is tried, a prompt that is not accepted is sent
 * again after a minute, and then the others follow.
 */
export const PARKED_SLACK_MS = 150_000;
/** Lines that a full disk refused are lost or read late. */
const DISK_MS = 30_000;

/** Events that entitle a session to one more prompt by the watchdog. */
const CUTS = ['session.interrupted', 'session.parked', 'session.continue_failed'];

export class WaysBack extends Law {
  readonly name = 'continued once, and only what was cut or parked';
  readonly #history: History;
  /** Sessions that may be prompted once, as counted on the wire and in the log. */
  readonly #owed = { wire: new Set<string>(), log: new Set<string>() };
  /** Sessions that this daemon has prompted. A new daemon may continue what its predecessor saw at work. */
  #newDaemon = { wire: new Set<string>(), log: new Set<string>() };
  /** Sessions parked now, and until when their provider's quota is known to be spent. */
  readonly #parked = new Map<string, { generation: number; until: number }>();
  readonly #quarantined = new Set<string>();
  #generation = 0;
  /** When a server was seen to end. */
  readonly #deaths: number[] = [];
  #servers: readonly number[] = [];

  constructor(history: History) {
    super();
    this.#history = history;
  }

  /** True while a run is parked. */
  get pending(): boolean {
    return this.#parked.size > 0;
  }

  take(e: Evidence): void {
    switch (e.kind) {
      case 'daemon.started':
        this.#generation = e.generation;
        this.#newDaemon = { wire: new Set(), log: new Set() };
        return;
      case 'servers': {
        const now = e.processes.map(({ pid }) => pid);
        if (this.#servers.some((pid) => !now.includes(pid))) this.#deaths.push(e.at);
        this.#servers = now;
        return;
      }
      case 'session.cut':
        this.#owe(e.sessionID);
        return;
      case 'session.prompted':
        this.#personCame(e.sessionID);
        return;
      case 'wire.prompt':
        this.#prompted('wire', e.at, e.sessionID);
        return;
      case 'log':
        this.#line(e.at, e.generation, e.line);
        return;
      case 'tick':
        this.#overdue(e.at);
        return;
      default:
        return;
    }
  }

  override finish(at: number): void {
    this.#overdue(at);
  }

  #line(at: number, generation: number, line: LogLine): void {
    const { event, sessionID = '' } = line;
    if (CUTS.includes(event)) this.#owe(sessionID);
    switch (event) {
      case 'session.parked': {
        const known = this.#parked.get(sessionID);
        this.check(known?.generation !== generation, at, `parked twice: ${line.msg}`);
        this.#parked.set(sessionID, { generation, until: Date.parse(String(line.until)) });
        return;
      }
      case 'session.unparked': {
        const wasParked = this.#parked.delete(sessionID) || this.#hadFullDisk(at);
        this.check(wasParked, at, `it waits no more, and was not parked: ${line.msg}`);
        return;
      }
      case 'session.continued':
        this.#prompted('log', at, sessionID);
        return;
      case 'session.quarantined': {
        this.#quarantined.add(sessionID);
        const since = this.#history.sessions.get(sessionID)?.begunAt ?? at;
        const deaths = this.#deaths.filter((death) => death >= since).length;
        const crashes = Number(line.crashes);
        this.check(deaths >= crashes, at, `the server ended ${deaths} times under it: ${line.msg}`);
      }
    }
  }

  #owe(sessionID: string): void {
    this.#owed.wire.add(sessionID);
    this.#owed.log.add(sessionID);
  }

  /** From now on the session belongs to a person. */
  #personCame(sessionID: string): void {
    this.#owed.wire.delete(sessionID);
    this.#owed.log.delete(sessionID);
    this.#newDaemon.wire.add(sessionID);
    this.#newDaemon.log.add(sessionID);
    this.#quarantined.delete(sessionID);
  }

  #prompted(seen: 'wire' | 'log', at: number, sessionID: string): void {
    const isLeft = !this.#quarantined.has(sessionID);
    this.check(isLeft, at, `${sessionID} is quarantined, and was continued`, `q ${sessionID}`);
    const wasOwed = this.#owed[seen].delete(sessionID);
    // Each daemon may prompt a session once, because we do not know what its predecessor saw.
    const isFirst = this.#generation > 1 && !this.#newDaemon[seen].has(sessionID);
    this.#newDaemon[seen].add(sessionID);
    const holds = wasOwed || isFirst || this.#hadFullDisk(at);
    const title = this.#history.sessions.get(sessionID)?.title ?? 'unknown';
    const what = `${sessionID} (${title}) was continued, and neither cut nor parked since the last time`;
    this.check(holds, at, what, `${seen} ${sessionID} ${at}`);
  }

  /** Only undisturbed time counts. What the provider said last to one run applies to all. */
  #overdue(at: number): void {
    const { calmSince } = this.#history;
    if (calmSince === undefined || this.#parked.size === 0) return;
    const until = Math.max(calmSince, ...[...this.#parked.values()].map((each) => each.until));
    if (at - until <= PARKED_SLACK_MS) return;
    const holds = this.#hadFullDisk(at - PARKED_SLACK_MS);
    for (const sessionID of this.#parked.keys()) {
      const what = `${sessionID} has been parked for ${Math.round((at - until) / 1000)} s longer than its quota needs`;
      this.check(holds, at, what, `parked ${sessionID}`);
    }
  }

  #hadFullDisk(at: number): boolean {
    return this.#history.hadFault((fault) => fault === 'disk-daemon', at - DISK_MS);
  }
}
