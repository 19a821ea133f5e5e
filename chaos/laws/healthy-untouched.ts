/** The watchdog acts only on stuck sessions, and for a reason that fits what is wrong with them. */
import { type Evidence, Law, type LogLine } from '../evidence.js';
import type { Limits } from '../limits.js';
import type { History, Known } from './history.js';

/** Events about a session that is being ended. */
const TOUCHES = [
  'session.stuck',
  'session.aborting',
  'session.aborted',
  'session.abort_failed',
  'session.wedged',
];
/** A probe's interval plus its timeout. */
const PROBE_SLACK_MS = 2_500;
const RETRY_REASONS = ['attempts', 'duration', 'wait', 'pileup'];

export class HealthyUntouched extends Law {
  readonly name = 'no healthy session touched';
  readonly #history: History;
  readonly #limits: Limits;
  /** Sessions of a healthy kind that did not stay healthy: their requests failed, or a dispose has cut them. */
  readonly #sick = new Set<string>();

  constructor(history: History, limits: Limits) {
    super();
    this.#history = history;
    this.#limits = limits;
  }

  take(e: Evidence): void {
    if (e.kind === 'log') {
      const { line } = e;
      if (line.sessionID === undefined) return;
      if (TOUCHES.includes(line.event)) this.#touched(e.at, line);
      // Another law decides whether the dispose was right to cut it.
      if (line.event === 'session.interrupted' && line.by === 'dispose') {
        this.#sick.add(line.sessionID);
      }
    } else if (e.kind === 'wire.abort') {
      this.#sent(e.at, e.sessionID);
    } else if (e.kind === 'session.ended') {
      this.#ended(e.at, e.sessionID, e.finish);
    }
  }

  #touched(at: number, { sessionID = '', event, reason = '', msg }: LogLine): void {
    const known = this.#history.sessions.get(sessionID);
    if (known === undefined) {
      this.check(false, at, `${event} of a session that nobody knows: ${msg}`, sessionID);
      return;
    }
    const { stuck, scenario, kind } = known;
    if (!stuck) {
      const excused = this.#isExcused(known, reason, at);
      if (excused) this.#sick.add(sessionID);
      this.check(excused, at, `${event} (${reason}) of a healthy session, ${scenario}: ${msg}`);
      return;
    }
    // A server that was frozen for a while has not retried or answered anything. That silence may be noticed first.
    const fits = kind.reasons?.includes(reason) ?? false;
    const what = `${event} of ${scenario} for "${reason}", which is not what ails it: ${msg}`;
    this.check(fits || this.#isExcused(known, reason, at), at, what, `${sessionID} ${reason}`);
  }

  #sent(at: number, sessionID: string): void {
    const known = this.#history.sessions.get(sessionID);
    const title = known?.scenario ?? 'unknown';
    // The log gives the reason later. Here it is enough that there may be one.
    const allowed = known !== undefined && (known.stuck || this.#isSick(known));
    this.check(allowed, at, `an abort was sent for ${sessionID} (${title})`);
  }

  /** A healthy, undisturbed run must end by itself, as its kind says. */
  #ended(at: number, sessionID: string, finish: string): void {
    const known = this.#history.sessions.get(sessionID);
    const expected = known?.kind.finish;
    if (known === undefined || known.child || expected === undefined || finish === 'unknown')
      return;
    if (this.#isSick(known)) return;
    const what = `${known.scenario} ended with "${finish}" and not "${expected}" (${sessionID})`;
    this.check(finish === expected, at, what);
  }

  /** The fault itself made the run fail or fall silent. Then the watchdog was right. */
  #isExcused(known: Known, reason: string, at: number): boolean {
    const since = known.begunAt ?? Number.POSITIVE_INFINITY;
    const had = (...names: string[]) =>
      this.#history.hadFault((fault) => names.includes(fault), since);
    if (RETRY_REASONS.includes(reason)) return had('provider-down', 'provider-flap');
    if (reason === 'silence' && this.#serverWasSilent(at)) return true;
    if (reason === 'silence' || reason === 'tool_time') return had('disk-server');
    return false;
  }

  /** If the server was frozen or starved within the limit, its runs did fall silent. Our own probes show it. */
  #serverWasSilent(at: number): boolean {
    const since = at - this.#limits.silence - PROBE_SLACK_MS;
    return (
      this.#history.hadExcuse('server silent', since) ||
      this.#history.hadExcuse('server frozen', since)
    );
  }

  #isSick({ sessionID, begunAt = Number.POSITIVE_INFINITY }: Known): boolean {
    const faults = ['provider-down', 'provider-flap', 'disk-server'];
    return (
      this.#sick.has(sessionID) ||
      this.#history.hadFault((fault) => faults.includes(fault), begunAt)
    );
  }
}
