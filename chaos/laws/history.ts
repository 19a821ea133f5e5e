/**
 * What several laws need to know of the past: the sessions, what is wrong at the moment, and which faults happened
 * when.
 */
import type { Evidence, Excuse } from '../evidence.js';
import { type Kind, type KindName, kindOf } from '../kinds.js';
import type { FaultName } from '../schedule.js';

export interface Known {
  sessionID: string;
  title: string;
  scenario: KindName;
  kind: Kind;
  child: boolean;
  /** The watchdog must end this session itself. */
  stuck: boolean;
  begunAt: number | undefined;
  /** From when its limit counts. */
  ripeAt: number | undefined;
  endedAt: number | undefined;
  cut: boolean;
  /** The next step that the daemon announced last, if aborts did not end the session. */
  wedged: 'nothing' | 'later' | undefined;
}

export interface PastFault {
  fault: FaultName;
  begun: number;
  ended: number | undefined;
}

export class History {
  readonly sessions = new Map<string, Known>();
  readonly faults = new Map<number, PastFault>();
  excuses: readonly Excuse[] = [];
  /** Since when everything works. Undefined while something does not. */
  calmSince: number | undefined;
  /** When each excuse held, oldest first. The last period may still be going on. */
  readonly #past = new Map<Excuse, { from: number; to: number }[]>();

  take(e: Evidence): void {
    switch (e.kind) {
      case 'fault.begun':
        this.faults.set(e.id, { fault: e.fault, begun: e.at, ended: undefined });
        return;
      case 'fault.ended': {
        const fault = this.faults.get(e.id);
        if (fault) fault.ended = e.at;
        return;
      }
      case 'excuses':
        this.#changed(e.excuses, e.at);
        this.excuses = e.excuses;
        if (e.excuses.length > 0) this.calmSince = undefined;
        else this.calmSince ??= e.at;
        return;
      case 'log': {
        const known = this.sessions.get(e.line.sessionID ?? '');
        if (known && e.line.event === 'session.wedged') {
          known.wedged = e.line.next === 'nothing' ? 'nothing' : 'later';
        }
        return;
      }
      case 'session.known':
        this.#known(e);
        return;
      case 'session.begun':
      case 'session.ripe':
      case 'session.ended':
      case 'session.cut':
        this.#session(e);
        return;
      default:
        return;
    }
  }

  /** Whether one of these faults was in force at any time from `since` on. */
  hadFault(which: (fault: FaultName) => boolean, since: number): boolean {
    return [...this.faults.values()].some(
      ({ fault, ended }) => which(fault) && (ended === undefined || ended >= since),
    );
  }

  hadExcuse(excuse: Excuse, since: number): boolean {
    return this.excusedMs([excuse], since, Number.POSITIVE_INFINITY) > 0;
  }

  /**
   * For how long of the time between the two moments at least one of these excuses held, ms. Infinite if one still
   * holds and `until` is infinite.
   */
  excusedMs(excuses: readonly Excuse[], since: number, until: number): number {
    const times = excuses
      .flatMap((excuse) => this.#past.get(excuse) ?? [])
      .sort((a, b) => a.from - b.from);
    let counted = since;
    let sum = 0;
    for (const { from, to } of times) {
      const end = Math.min(to, until);
      sum += Math.max(0, end - Math.max(from, counted));
      counted = Math.max(counted, end);
    }
    return sum;
  }

  #changed(now: readonly Excuse[], at: number): void {
    for (const excuse of this.excuses.filter((each) => !now.includes(each))) {
      const last = this.#past.get(excuse)?.at(-1);
      if (last) last.to = at;
    }
    for (const excuse of now.filter((each) => !this.excuses.includes(each))) {
      const past = this.#past.get(excuse) ?? [];
      past.push({ from: at, to: Number.POSITIVE_INFINITY });
      this.#past.set(excuse, past);
    }
  }

  #known(e: Extract<Evidence, { kind: 'session.known' }>): void {
    if (this.sessions.has(e.sessionID)) return;
    const kind = kindOf(e.scenario);
    const stuck = kind.fate === 'stuck' || (kind.fate === 'subagent' && e.child);
    const { sessionID, title, scenario, child } = e;
    this.sessions.set(sessionID, {
      sessionID,
      title,
      scenario,
      kind,
      child,
      stuck,
      begunAt: undefined,
      ripeAt: undefined,
      endedAt: undefined,
      cut: false,
      wedged: undefined,
    });
  }

  #session(
    e: Extract<
      Evidence,
      { kind: 'session.begun' | 'session.ripe' | 'session.ended' | 'session.cut' }
    >,
  ): void {
    const known = this.sessions.get(e.sessionID);
    if (known === undefined) return;
    if (e.kind === 'session.begun') {
      known.begunAt = e.at;
      // If a person's act makes it stuck, its limit counts only from then.
      if (known.kind.person?.does !== 'delete') known.ripeAt = e.at;
    } else if (e.kind === 'session.ripe') {
      known.ripeAt = e.at;
    } else {
      known.endedAt = e.at;
      known.cut = e.kind === 'session.cut';
    }
  }
}
