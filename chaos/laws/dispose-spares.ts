/** A dispose waits for the healthy runs of its directory, and cuts fewer of them than it ends stuck ones. */
import { type Evidence, Law, type LogLine } from '../evidence.js';
import type { History } from './history.js';

/** The daemon may not have seen a run that began this shortly before its decision, ms. */
const SEEN_MS = 5_000;
const ENDS = ['directory.disposed', 'directory.dispose_failed'];
/** The wait, as computed from log lines, may be off by this much, ms. */
const ROUNDED_MS = 200;

export class DisposeSpares extends Law {
  readonly name = 'a dispose spares healthy runs';
  readonly #history: History;
  readonly #waitForHealthy: number;
  /** By directory: since when its dispose waits for healthy runs. */
  readonly #deferredAt = new Map<string, number>();

  constructor(history: History, waitForHealthy: number) {
    super();
    this.#history = history;
    this.#waitForHealthy = waitForHealthy;
  }

  take(e: Evidence): void {
    if (e.kind === 'daemon.started') this.#deferredAt.clear();
    if (e.kind !== 'log') return;
    const { line } = e;
    const directory = String(line.directory ?? '');
    if (line.event === 'directory.deferred') {
      const since = this.#deferredAt.get(directory) ?? Date.parse(line.time);
      this.#deferredAt.set(directory, since);
    } else if (line.event === 'directory.disposing') {
      // The wait is not cleared: the dispose may be withdrawn, and decided again after the same wait.
      this.#disposing(e.at, directory, line);
    } else if (ENDS.includes(line.event)) {
      this.#deferredAt.delete(directory);
    }
  }

  #disposing(at: number, directory: string, { interrupted, msg, time }: LogLine): void {
    const decidedAt = Date.parse(time);
    const ids = Array.isArray(interrupted) ? interrupted : [];
    const runs = ids.flatMap((id) => this.#history.sessions.get(String(id)) ?? []);
    const faults = ['provider-down', 'provider-flap', 'disk-server'];
    const healthy = runs.filter(
      ({ stuck, kind, begunAt = at, endedAt }) =>
        !stuck &&
        kind.fate === 'healthy' &&
        // Runs that were continued, or prompted again, cannot be judged by this record.
        endedAt === undefined &&
        begunAt < decidedAt - SEEN_MS &&
        !this.#history.hadFault((fault) => faults.includes(fault), begunAt),
    );
    const stuck = ids.length - healthy.length;
    const waited = decidedAt - (this.#deferredAt.get(directory) ?? decidedAt);
    const isRight =
      healthy.length === 0 ||
      (waited >= this.#waitForHealthy - ROUNDED_MS && healthy.length < stuck);
    this.check(
      isRight,
      at,
      `it cuts ${healthy.length} healthy runs beside ${stuck} others, after a wait of ${waited} ms: ${msg}`,
    );
  }
}
