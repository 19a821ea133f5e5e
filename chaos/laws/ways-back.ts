/**
 * What is continued was cut or parked before, and once for each time; a parked run has an end; who is quarantined is left
 * alone.
 *
 * A prompt is seen twice: as the request that leaves the daemon, where a proxy stands between, and in its log.
 */
import { type Evidence, Law, type LogLine } from '../evidence.js';
import type { History } from './history.js';

/**
 * From the time that its quota is back: the first of a provider has its turn, a prompt that is not taken is sent again
 * after a minute, and the others follow.
 */
const PARKED_SLACK_MS = 150_000;
/** What a full disk did not take is lost or read late. */
const DISK_MS = 30_000;

/** What gives a session one more prompt by the watchdog. */
const CUTS = ['session.interrupted', 'session.parked', 'session.continue_failed'];

export class WaysBack extends Law {
  readonly name = 'continued once, and only what was cut or parked';
  readonly #history: History;
  /** May be prompted once: by the wire's count, and by the log's. */
  readonly #owed = { wire: new Set<string>(), log: new Set<string>() };
  /** A daemon that comes up may continue what its predecessor saw at work. */
  #newDaemon = { wire: new Set<string>(), log: new Set<string>() };
  /** Parked now, and until when its provider's quota is known to be spent. */
  readonly #parked = new Map<string, { generation: number; until: number }>();
  readonly #quarantined = new Set<string>();
  #generation = 0;
  /** When the server was last seen to end. */
  readonly #deaths: number[] = [];
  #servers: readonly number[] = [];

  constructor(history: History) {
    super();
    this.#history = history;
  }

  /** Somebody is parked whose time is near. */
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

  /** From here on the session is the person's. */
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
    // Each daemon may once, where nothing is known of what its predecessor saw.
    const isFirst = this.#generation > 1 && !this.#newDaemon[seen].has(sessionID);
    this.#newDaemon[seen].add(sessionID);
    const holds = wasOwed || isFirst || this.#hadFullDisk(at);
    const title = this.#history.sessions.get(sessionID)?.title ?? 'unknown';
    const what = `${sessionID} (${title}) was continued, and neither cut nor parked since the last time`;
    this.check(holds, at, what, `${seen} ${sessionID} ${at}`);
  }

  /** Only undisturbed time counts, and what the provider said last to one holds for all. */
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
