/** The daemon survives every fault that is not its own death, keeps its log readable, and reports what it lost. */
import { type Evidence, Law, type LogLine } from '../evidence.js';
import type { History } from './history.js';

/** Lines come at least every `log.healthInterval`. After this many intervals some were certainly written. */
const SURELY_SAID_INTERVALS = 3;
/** From the end of a full disk until everything must be in the log. */
const SAY_MS = 30_000;

export class DaemonLives extends Law {
  readonly name = 'the daemon lives and says what it lost';
  readonly #history: History;
  readonly #healthInterval: number;
  #generation = 0;
  /** Set after a full disk: until `due` a line from that time must be read, or one that says that lines were lost. */
  #owed: { generation: number; since: number; until: number; due: number } | undefined;

  constructor(history: History, healthInterval: number) {
    super();
    this.#history = history;
    this.#healthInterval = healthInterval;
  }

  take(e: Evidence): void {
    switch (e.kind) {
      case 'daemon.started':
        this.#generation = e.generation;
        return;
      case 'daemon.ended': {
        this.#owed = undefined;
        const how = `code ${e.code}, signal ${e.signal}: ${e.stderr.slice(-600)}`;
        this.check(e.expected, e.at, `the daemon ended by itself (${how})`);
        return;
      }
      case 'log.broken':
        this.violated(e.at, `a line of the log cannot be read: ${e.text.slice(0, 200)}`);
        return;
      case 'log':
        this.checks += 1;
        this.#line(e.at, e.line);
        return;
      case 'fault.ended':
        if (e.fault === 'disk-daemon') this.#diskFreed(e.at, e.id);
        return;
      case 'tick':
        this.#overdue(e.at);
        return;
      default:
        return;
    }
  }

  #line(at: number, line: LogLine): void {
    const time = Date.parse(line.time);
    const owed = this.#owed;
    const fromThen = owed !== undefined && time > owed.since && time < owed.until;
    if (line.event === 'log.dropped' || fromThen) this.#owed = undefined;
    if (line.event !== 'error') return;
    const doing = String(line.doing ?? '');
    // A recording ends when its disk is full, and the daemon must say so.
    const excused = doing.startsWith('recording') && this.#hadFullDisk(at);
    this.check(excused, at, `an error that should not be: ${JSON.stringify(line).slice(0, 600)}`);
  }

  #hadFullDisk(at: number): boolean {
    return this.#history.hadFault((fault) => fault === 'disk-daemon', at - SAY_MS);
  }

  #diskFreed(at: number, id: number): void {
    const began = this.#history.faults.get(id)?.begun ?? at;
    if (at - began < this.#healthInterval * SURELY_SAID_INTERVALS) return;
    // The last page of the disk has room for a line or two.
    const since = began + this.#healthInterval;
    this.#owed = { generation: this.#generation, since, until: at, due: at + SAY_MS };
  }

  #overdue(at: number): void {
    const owed = this.#owed;
    // A daemon that was frozen, or that was started later, lost nothing.
    if (owed === undefined || at < owed.due || this.#history.calmSince === undefined) return;
    this.#owed = undefined;
    if (owed.generation !== this.#generation) return;
    const froze = this.#history.hadFault((fault) => fault === 'daemon-freeze', owed.since);
    this.check(
      froze,
      at,
      'the log’s disk was full: what was said meanwhile is lost, and no line says so',
    );
  }
}
