/** Every decision is in the log, exactly once. */
import { type Evidence, Law, type LogLine } from '../evidence.js';
import type { History } from './history.js';

/** Decisions and their outcomes. */
const DECISIONS = [
  'session.stuck',
  'session.aborting',
  'session.aborted',
  'session.abort_failed',
  'session.wedged',
  'session.interrupted',
  'server.exited',
  'server.unresponsive',
  'server.restarting',
  'server.restarted',
  'server.restart_failed',
  'server.breaker_open',
];
/**
 * The same decision logged again within this time is one decision logged twice. A new one takes longer to come about.
 */
const TWICE_MS = 500;
/** Lines that a full disk refused are written at the next attempt, at most this much later. */
const RETRY_MS = 2_000;
/** An abort is logged before it is sent, and the log is read ten times a second. */
const ANNOUNCED_MS = 5_000;
/**
 * The outcome of an abort is logged within the verification's limit. This allows for three tries and a busy machine.
 */
const END_MS = 60_000;

interface Sent {
  sessionID: string;
  at: number;
}

export class LoggedOnce extends Law {
  readonly name = 'every decision logged once';
  readonly #history: History;
  readonly #startsServer: boolean;
  readonly #last = new Map<string, number>();
  /** Sessions that this daemon has logged an abort for. */
  #announced = new Set<string>();
  #sent: Sent[] = [];
  #starts = 0;
  #startsSaid = 0;
  #server: number | undefined;
  #lostAt = Number.NEGATIVE_INFINITY;

  constructor(history: History, startsServer: boolean) {
    super();
    this.#history = history;
    this.#startsServer = startsServer;
  }

  take(e: Evidence): void {
    switch (e.kind) {
      case 'daemon.started':
        this.#announced = new Set();
        return;
      case 'daemon.ended':
        // An ended daemon logs nothing more.
        this.#sent = [];
        if (this.#history.hadFault((fault) => fault === 'disk-daemon', e.at - RETRY_MS)) {
          this.#lostAt = e.at;
        }
        return;
      case 'log':
        this.#line(e.at, e.generation, e.line);
        return;
      case 'wire.abort':
        this.checks += 1;
        this.#sent.push({ sessionID: e.sessionID, at: e.at });
        return;
      case 'servers':
        this.#servers(e.processes.map(({ pid }) => pid));
        return;
      case 'tick':
        this.#overdue(e.at);
        return;
      default:
        return;
    }
  }

  override finish(at: number): void {
    // Outcomes may be missing: a daemon that is told to stop does not wait for any.
    for (const sent of this.#sent) this.#mustBeAnnounced(sent, at);
    if (!this.#startsServer) return;
    const what = `the server was started ${this.#starts} times, and ${this.#startsSaid} starts were said`;
    this.check(this.#starts <= this.#startsSaid || this.#lostLines(0), at, what);
  }

  #line(at: number, generation: number, line: LogLine): void {
    const { event, sessionID = '', reason = '', pid = '' } = line;
    if (event === 'server.starting' || event === 'server.restarting') this.#startsSaid += 1;
    if (event === 'log.dropped') this.#lostAt = at;
    if (event === 'session.aborting') this.#announced.add(sessionID);
    if (event === 'session.aborted' || event === 'session.abort_failed') this.#settle(sessionID);
    if (event === 'server.restarted' || event === 'server.exited') this.#sent = [];
    if (!DECISIONS.includes(event)) return;
    const key = [generation, event, sessionID, reason, line.try ?? '', line.next ?? '', pid].join(
      ' ',
    );
    const time = Date.parse(line.time);
    const before = this.#last.get(key);
    this.#last.set(key, time);
    const twice = before !== undefined && time - before < TWICE_MS;
    this.check(!twice, at, `said twice: ${line.msg}`, `${key} ${time}`);
  }

  #settle(sessionID: string): void {
    this.#sent = this.#sent.filter((sent) => sent.sessionID !== sessionID);
  }

  /** The log is read a moment after the wire. So a sent abort is checked only when the log had time to show it. */
  #overdue(at: number): void {
    for (const sent of this.#sent)
      if (at - sent.at >= ANNOUNCED_MS) this.#mustBeAnnounced(sent, at);
    this.#sent = this.#sent.filter((sent) => {
      if (at - sent.at < END_MS) return true;
      const said = this.#lostLines(sent.at - END_MS);
      if (!said)
        this.violated(at, `an abort of ${sent.sessionID} was sent, and its end was never said`);
      return false;
    });
  }

  #mustBeAnnounced({ sessionID, at: sentAt }: Sent, at: number): void {
    // At the moment the log may be held back by a full disk.
    const full = this.#history.hadFault((fault) => fault === 'disk-daemon', at - RETRY_MS);
    const said = this.#announced.has(sessionID) || full || this.#lostLines(sentAt);
    if (!said) this.violated(at, `an abort of ${sessionID} was sent, and it was never announced`);
  }

  #servers(pids: readonly number[]): void {
    const [pid] = pids;
    if (pid !== undefined && pid !== this.#server) this.#starts += 1;
    this.#server = pid;
  }

  /** Lines were lost: the daemon said so, or it ended before its full disk had room again. */
  #lostLines(since: number): boolean {
    return this.#lostAt >= since;
  }
}
