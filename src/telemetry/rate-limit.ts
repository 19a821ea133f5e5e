/**
 * Limits how fast the log may grow. A line that outsiders can make us repeat is written once and then counted, and the
 * count is logged afterwards. Decisions and actions are never left out: they have limits of their own (aborts,
 * restarts).
 *
 * Only lines are held back: subscribers (metrics, webhooks, the status page) get every event.
 */
import { BoundedMap } from '../lib/bounded.js';
import type { Clock, Timer } from '../lib/clock.js';
import type { EventName } from './catalogue/events.js';

/** A bucket of lines: `burst` at once, and `perSecond` from then on. */
export interface Rate {
  burst: number;
  perSecond: number;
}

interface Rates {
  /** The same sentence, whatever its numbers. */
  same: Rate;
  /** All lines with the event's name. */
  all: Rate;
  /** Names of one group share the limit `all`: a flood that spreads over all of them is one flood. */
  group?: string;
}

/**
 * Lines of each of `error`, `server.notice`, `status.failed`, `notify.*`. A problem that repeats gives one line a
 * second, and several problems at once give a few lines more. At the limit: the line is left out and counted.
 */
export const COMPLAINTS: Rates = {
  same: { burst: 1, perSecond: 1 },
  all: { burst: 20, perSecond: 1 },
};
/**
 * Lines of each of `stream.connected`, `stream.lost`, `stream.unavailable`, `directory.disposed`. A stream may come and
 * go, but its reconnects slow down by themselves; a server may drop a directory over and over. At the limit: the line
 * is left out and counted.
 */
const STREAM: Rates = {
  same: { burst: 5, perSecond: 1 },
  all: { burst: 20, perSecond: 1 },
};
/**
 * Lines of `server.output`. They have a limit of 100 a second already (`process/server/output.ts`). At the limit: the
 * line is left out and counted.
 */
export const OUTPUT: Rates = {
  same: { burst: 10, perSecond: 1 },
  all: { burst: 200, perSecond: 100 },
};
/**
 * Lines of `session.health`, `.waiting`, `.answered`, `.recovered`, `.failed` and `.ended` together. One session may
 * change all the time, or many at once. The server makes up the ids, so all sessions share one limit. A thousand
 * sessions may begin with one poll. At the limit: the line is left out and counted.
 */
export const CHANGES: Rates = {
  same: { burst: 20, perSecond: 1 },
  all: { burst: 2_000, perSecond: 20 },
  group: 'changes of sessions',
};

const LIMITED: Partial<Record<EventName, Rates>> = {
  error: COMPLAINTS,
  'server.notice': COMPLAINTS,
  'status.failed': COMPLAINTS,
  'notify.sent': COMPLAINTS,
  'notify.failed': COMPLAINTS,
  'stream.connected': STREAM,
  'stream.lost': STREAM,
  'stream.unavailable': STREAM,
  'directory.disposed': STREAM,
  'server.output': OUTPUT,
  'session.health': CHANGES,
  'session.waiting': CHANGES,
  'session.answered': CHANGES,
  'session.recovered': CHANGES,
  'session.failed': CHANGES,
  'session.ended': CHANGES,
};

/**
 * Sentences whose repeats are counted. At the limit: the one logged longest ago is forgotten; the limit of its event
 * still holds.
 */
export const MAX_SENTENCES = 2_000;
/** Characters that tell one sentence from another. At the limit: the rest is not compared. */
const MAX_SENTENCE = 200;
/** While lines are being left out, their number is logged this often. */
export const SAY_EVERY_MS = 30_000;

interface Bucket {
  left: number;
  at: number;
}

export interface LogRateOptions {
  clock: Clock;
  /** Called with the number of lines left out, in all and by event, and the time that this took. */
  onSuppressed(lines: number, events: Record<string, number>, forMs: number): void;
}

export class LogRate {
  readonly #options: LogRateOptions;
  /** By the event's name, or by its group. */
  readonly #names = new Map<string, Bucket>();
  readonly #sentences = new BoundedMap<string, Bucket>(MAX_SENTENCES);
  #suppressed = new Map<EventName, number>();
  #since = 0;
  #timer: Timer | undefined;

  constructor(options: LogRateOptions) {
    this.#options = options;
  }

  /** Whether this line may be written now. `subject`: the session that it is about. */
  passes(event: EventName, sentence: string, subject = ''): boolean {
    const rates = LIMITED[event];
    if (rates === undefined) return true;
    const now = this.#options.clock.now();
    const exact = event === 'server.output';
    const words = sentence.slice(0, MAX_SENTENCE);
    // Ids differ only by their numbers, so the session's id is a part of the key.
    const kind = exact ? words : words.replace(/\d+(\.\d+)?/g, '#');
    const key = `${event} ${subject} ${kind}`;
    // The second bucket is asked only if the first has room: a repeated sentence costs its name nothing.
    const passes =
      take(this.#sentence(key, rates.same, now), rates.same, now) &&
      take(this.#name(rates.group ?? event, rates.all, now), rates.all, now);
    if (!passes) this.#count(event, now);
    return passes;
  }

  /** Reports what was left out so far. */
  flush(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#suppressed.size === 0) return;
    const events = Object.fromEntries(this.#suppressed);
    const lines = [...this.#suppressed.values()].reduce((sum, count) => sum + count, 0);
    this.#suppressed = new Map();
    this.#options.onSuppressed(lines, events, this.#options.clock.now() - this.#since);
  }

  #name(name: string, { burst }: Rate, now: number): Bucket {
    let bucket = this.#names.get(name);
    if (bucket === undefined) {
      bucket = { left: burst, at: now };
      this.#names.set(name, bucket);
    }
    return bucket;
  }

  #sentence(key: string, { burst }: Rate, now: number): Bucket {
    const bucket = this.#sentences.get(key) ?? { left: burst, at: now };
    this.#sentences.set(key, bucket);
    return bucket;
  }

  #count(event: EventName, now: number): void {
    if (this.#suppressed.size === 0) this.#since = now;
    this.#suppressed.set(event, (this.#suppressed.get(event) ?? 0) + 1);
    this.#timer ??= this.#options.clock.after(SAY_EVERY_MS, () => this.flush(), { unref: true });
  }
}

function take(bucket: Bucket, { burst, perSecond }: Rate, now: number): boolean {
  const gained = (Math.max(0, now - bucket.at) / 1_000) * perSecond;
  bucket.left = Math.min(burst, bucket.left + gained);
  bucket.at = now;
  if (bucket.left < 1) return false;
  bucket.left -= 1;
  return true;
}
