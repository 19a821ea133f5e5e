/** The times of a log in which nobody watched, as far as its lines tell. */
import type { LogLine } from '../../telemetry/log-line.js';

export interface Unwatched {
  from: string;
  until: string;
  /**
   * How it is known: the daemon was stopped, or ended without a word, or did not run (the machine slept); or there is
   * no line before the first one, or since the last.
   */
  because: 'stopped' | 'ended' | 'asleep' | 'no_line';
}

/** A shorter time is not told: a restart of the daemon is counted elsewhere. */
const SHORTEST_MS = 120_000;
/** The default of `log.healthInterval`, after which a daemon logs even if nothing happens. */
const SUMMARY_EVERY_MS = 60_000;
/** These may come just before a daemon's first line, or after its last. */
const ASIDE = /^(server\.notice|error|notify\..*)$/;

/** Whether the line is no sign that its daemon was at work. */
export function isAside({ event }: LogLine): boolean {
  return ASIDE.test(event);
}

interface Time {
  from: number;
  until: number;
  because: Unwatched['because'];
}

export class UnwatchedTimes {
  readonly #times: Time[] = [];
  /** The last line, of whatever kind. */
  #last: LogLine | undefined;
  #summaryAt: number | undefined;
  #summaryEveryMs = SUMMARY_EVERY_MS;

  take(line: LogLine): void {
    const { event, time, fields } = line;
    if (isAside(line)) return;
    if (this.#last === undefined) {
      this.#times.push({ from: Number.NEGATIVE_INFINITY, until: time, because: 'no_line' });
    } else if (event === 'daemon.started') {
      this.#silence(this.#last, time, 'ended');
      this.#summaryAt = undefined;
    }
    if (event === 'daemon.gap' && typeof fields.gapMs === 'number') {
      this.#times.push({ from: time - fields.gapMs, until: time, because: 'asleep' });
      this.#summaryAt = undefined;
    } else if (event === 'health.summary') {
      if (this.#summaryAt !== undefined) this.#summaryEveryMs = time - this.#summaryAt;
      this.#summaryAt = time;
    }
    this.#last = line;
  }

  /** Of the last line that a daemon at work wrote, epoch ms. */
  get lastTime(): number | undefined {
    return this.#last?.time;
  }

  /** When the watch ended, epoch ms; undefined if somebody watches still at `until`, or nobody ever did. */
  endedAt(until: number): number | undefined {
    const last = this.#last;
    if (last === undefined) return undefined;
    return isStop(last) || this.#isSilent(last, until) ? last.time : undefined;
  }

  /** Oldest first. Nothing may be taken afterwards. */
  within(from: number, until: number): Unwatched[] {
    if (this.#last !== undefined) this.#silence(this.#last, until, 'no_line');
    return this.#times
      .map((time) => ({
        ...time,
        from: Math.max(from, time.from),
        until: Math.min(until, time.until),
      }))
      .filter((time) => time.until - time.from >= SHORTEST_MS)
      .map((time) => ({
        from: new Date(time.from).toISOString(),
        until: new Date(time.until).toISOString(),
        because: time.because,
      }));
  }

  #silence(last: LogLine, until: number, because: Unwatched['because']): void {
    if (this.#isSilent(last, until))
      this.#times.push({ from: last.time, until, because: isStop(last) ? 'stopped' : because });
  }

  /** A daemon that lived may have logged nothing for so long. */
  #isSilent(last: LogLine, until: number): boolean {
    return until - last.time > (isStop(last) ? 0 : 2 * this.#summaryEveryMs);
  }
}

function isStop({ event }: LogLine): boolean {
  return event === 'daemon.stopped';
}
