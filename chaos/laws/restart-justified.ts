/** The server is restarted only if something was wrong with it, and the watchdog says what. */
import { type Evidence, Law, type LogLine } from '../evidence.js';
import { FAULTS } from '../schedule.js';
import type { History } from './history.js';

/**
 * The third probe in a row failed shortly before the decision: one interval, its timeout, and time for a busy machine.
 * Our own probes must have failed for part of that time. On a busy machine they fail briefly now and then.
 */
const JUST_NOW_MS = 6_000;
const SILENT_MS = 1_500;
/** Aborts that did nothing are longer ago. */
const MEMORY_MS = 30_000;
/** A pile-up consists of sessions that retry. This is `pileup.minSessions` of this run. */
const PILE = 3;

export class RestartJustified extends Law {
  readonly name = 'no restart without a fault';
  readonly #history: History;
  #servers: number[] = [];
  /** Pids that were seen and are gone now. */
  readonly #dead = new Set<number>();

  constructor(history: History) {
    super();
    this.#history = history;
  }

  take(e: Evidence): void {
    if (e.kind === 'servers') this.#changed(e);
    else if (e.kind === 'log' && e.line.event === 'server.restarting') this.#decided(e.at, e.line);
  }

  #changed(e: Extract<Evidence, { kind: 'servers' }>): void {
    const now = e.processes.map(({ pid }) => pid);
    for (const pid of now) this.#dead.delete(pid);
    for (const pid of this.#servers.filter((old) => !now.includes(old))) this.#dead.add(pid);
    this.#servers = now;
  }

  #decided(at: number, { reason = '', msg, pid, time }: LogLine): void {
    // If a disk was full, a line may be read late.
    const decidedAt = Date.parse(time);
    const { excuses } = this.#history;
    const had = (ms: number, ...groups: string[]) =>
      this.#history.hadFault((fault) => groups.includes(FAULTS[fault]), decidedAt - ms);
    const said = `${msg} (excuses now: ${excuses.join(', ') || 'none'})`;
    switch (reason) {
      case 'exited': {
        const alive = pid !== undefined && this.#servers.includes(pid);
        this.check(!alive, at, `declared gone, and pid ${pid} lives: ${said}`);
        return;
      }
      case 'unresponsive': {
        const silentMs = this.#history.excusedMs(
          ['server silent', 'server frozen'],
          decidedAt - JUST_NOW_MS,
          decidedAt,
        );
        const silent = silentMs >= SILENT_MS;
        // A slow server is not silent. But a fault just before may have cut the stream that would show that.
        const network = this.#history.hadFault(
          (fault) => FAULTS[fault] === 'network' && fault !== 'net-slow',
          decidedAt - (had(JUST_NOW_MS, 'network') ? MEMORY_MS : JUST_NOW_MS),
        );
        this.check(silent || network, at, `declared unresponsive without a fault: ${said}`);
        return;
      }
      case 'pileup': {
        const retrying = this.#retrying(at);
        const sick = had(MEMORY_MS, 'provider');
        this.check(sick || retrying >= PILE, at, `a pile-up of ${retrying} sessions: ${said}`);
        this.#cutsFewer(at, decidedAt, said);
        return;
      }
      case 'wedged':
        this.check(
          had(MEMORY_MS, 'network', 'process', 'disk'),
          at,
          `wedged without a fault: ${said}`,
        );
        this.#cutsFewer(at, decidedAt, said);
        return;
      default:
        this.check(false, at, `nobody asked for a restart: ${said}`);
    }
  }

  /**
   * A restart ends stuck runs, and must cut fewer healthy ones. Runs that just began do not count, as the daemon may
   * not have seen them.
   */
  #cutsFewer(at: number, decidedAt: number, said: string): void {
    const atWork = [...this.#history.sessions.values()].filter(
      ({ begunAt, endedAt }) =>
        begunAt !== undefined && begunAt < decidedAt - SEEN_MS && endedAt === undefined,
    );
    const faults = ['provider-down', 'provider-flap', 'disk-server'];
    const healthy = atWork.filter(
      ({ kind, stuck, begunAt = at }) =>
        !stuck &&
        kind.fate === 'healthy' &&
        !this.#history.hadFault((fault) => faults.includes(fault), begunAt),
    );
    const cut = healthy.length;
    const others = atWork.length - cut;
    this.check(
      cut === 0 || cut < others,
      at,
      `it cuts ${cut} healthy runs and ends at most ${others} stuck ones: ${said}`,
    );
  }

  /** Sessions at work, or ended just now, whose provider fails. */
  #retrying(at: number): number {
    return [...this.#history.sessions.values()].filter(
      ({ kind, begunAt, endedAt }) =>
        kind.reasons?.includes('pileup') &&
        begunAt !== undefined &&
        (endedAt === undefined || at - endedAt < PILE_SLACK_MS),
    ).length;
  }
}

/** A poll of the daemon, and one of ours. */
const SEEN_MS = 5_000;
/** We poll the sessions about once a second. */
const PILE_SLACK_MS = 5_000;
