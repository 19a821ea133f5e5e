/**
 * One webhook: gathers the events that it was asked for and sends them in few messages, with a bounded number of tries.
 *
 * The first event waits a moment for others that come with it. After a message, the events of the next interval are one
 * digest. So an outage that touches a hundred sessions is a message or two. The watch never waits for a webhook.
 */
import { Agent } from 'undici';
import { BoundedSet } from '../../lib/bounded.js';
import { type Clock, sleep, type Timer } from '../../lib/clock.js';
import { printable } from '../../lib/printable.js';
import { quietFor } from '../../lib/quiet-hours.js';
import { createRedactor, type Redactor, secretsInUrl } from '../../lib/redaction.js';
import type { Telemetry, TelemetryRecord } from '../logger.js';
import { type Digest, messageTo, type WebhookFormat } from './message.js';
import { CHATTER, isUrgent, topicOf } from './topic.js';

export interface WebhookLimits {
  /** Events that come within this time after the first are sent with it. */
  gatherMs: number;
  /** The shortest time between two messages. */
  intervalMs: number;
  /** Events that one message lists; more are only counted. */
  maxEvents: number;
  tries: number;
  timeoutMs: number;
  /** The wait before the second try; each further wait is four times as long. */
  backoffMs: number;
  /** The longest wait between two tries, even if a server's `Retry-After` is longer. */
  maxBackoffMs: number;
  /** How long a stop of the daemon waits until the pending events are sent. */
  farewellMs: number;
}

const WEBHOOK_LIMITS: WebhookLimits = {
  gatherMs: 2_000,
  /** Time between two messages of a webhook. At the limit: the events that come meanwhile are one digest. */
  intervalMs: 60_000,
  /**
   * Events that one webhook message lists, and that wait for the next. At the limit: the rest is counted (`more`), and
   * an urgent event takes the place of the oldest that is not urgent.
   */
  maxEvents: 100,
  tries: 5,
  timeoutMs: 10_000,
  backoffMs: 1_000,
  maxBackoffMs: 60_000,
  farewellMs: 3_000,
};

export interface WebhookOptions {
  url: string;
  /** Names of events, or the first word of names: `server` means every `server.…`. */
  events: readonly string[];
  format: WebhookFormat;
  /** URL of the watched server. */
  server: string;
  /** The status page, without its token. */
  page?: string | undefined;
  /** Events below this level are not sent, except the end of what was sent before; info by default. */
  minLevel?: 'info' | 'warn' | 'error';
  /** `22:00-07:00`: only urgent events are sent in this time, the others after it. */
  quiet?: string | undefined;
  telemetry: Telemetry;
  clock: Clock;
  limits?: Partial<WebhookLimits>;
}

const LEVELS = ['debug', 'info', 'warn', 'error'];
/**
 * Open topics of one webhook, whose beginning was sent and whose end was not. At the limit: the oldest is forgotten.
 */
export const MAX_TOPICS = 1_000;
/** An urgent event waits at most this long after the message before it, ms. */
const URGENT_INTERVAL_MS = 10_000;
/** Timers stand still in a suspend, and clocks are set: the end of the quiet hours is looked for this often, ms. */
const LOOK_EVERY_MS = 60_000;
/** How many characters of a refusal are quoted. */
const QUOTED = 300;
/** How much of a refusal's body is read, bytes. */
const READ_BYTES = 4_096;

export class Webhook {
  readonly #o: WebhookOptions;
  readonly #limits: WebhookLimits;
  readonly #wanted: ReadonlySet<string>;
  /** The URL's path may contain a token, so only the host is ever named. */
  readonly #host: string;
  /** A receiver that refuses may quote the path, so its words are masked. */
  readonly #redactor: Redactor;
  /** A token in the path must not be sent on to anybody else: undici's `request` follows no redirect. */
  readonly #agent = new Agent();
  readonly #stopping = new AbortController();
  /** The topics that were opened in a message and not closed yet. */
  readonly #topics = new BoundedSet<string>(MAX_TOPICS);
  /** The records that closed one. */
  readonly #closing = new WeakSet<TelemetryRecord>();
  #pending: TelemetryRecord[] = [];
  #urgent = false;
  #more = 0;
  #timer: Timer | undefined;
  #sentAt = Number.NEGATIVE_INFINITY;
  #sending: Promise<void> | undefined;

  constructor(options: WebhookOptions) {
    this.#o = options;
    this.#limits = { ...WEBHOOK_LIMITS, ...options.limits };
    this.#wanted = new Set(options.events);
    this.#host = new URL(options.url).host;
    this.#redactor = createRedactor(secretsInUrl(options.url));
  }

  take(record: TelemetryRecord): void {
    const [room = ''] = record.event.split('.', 1);
    // Events about webhooks are not sent to webhooks: that would never end.
    if (room === 'notify' || this.#stopping.signal.aborted) return;
    if (!this.#isWanted(record, room)) return;
    this.#gather(record);
    if (isUrgent(record) && !this.#urgent) {
      this.#urgent = true;
      // The timer may have been set for later.
      this.#timer?.cancel();
      this.#timer = undefined;
    }
    this.#arm();
  }

  /**
   * Sends one message now, whatever events were asked for. @returns undefined if it was accepted, else how it failed
   */
  async test(record: TelemetryRecord): Promise<string | undefined> {
    const end = await this.#post({ records: [record], more: 0, ...this.#about() });
    return end.kind === 'taken' ? undefined : end.error;
  }

  get host(): string {
    return this.#host;
  }

  #about(): Pick<Digest, 'server' | 'page' | 'closing'> {
    return { server: this.#o.server, page: this.#o.page, closing: this.#closing };
  }

  /** Where there is no room, an urgent event takes the place of the oldest that is not urgent. */
  #gather(record: TelemetryRecord): void {
    if (this.#pending.length >= this.#limits.maxEvents) {
      this.#more += 1;
      const least = isUrgent(record) ? this.#pending.findIndex((each) => !isUrgent(each)) : -1;
      if (least === -1) return;
      this.#pending.splice(least, 1);
    }
    this.#pending.push(record);
  }

  #isWanted(record: TelemetryRecord, room: string): boolean {
    const topic = topicOf(record);
    if (topic?.is === 'closed') {
      const over = [...this.#topics].filter(topic.ends);
      for (const key of over) this.#topics.delete(key);
      if (over.length > 0) {
        this.#closing.add(record);
        return true;
      }
    }
    const named = this.#wanted.has(record.event);
    if (!named && !(this.#wanted.has(room) && !CHATTER.has(record.event))) return false;
    const { minLevel = 'info' } = this.#o;
    // An event that is asked for by its full name is sent even at level debug, unless `minLevel` is above info.
    const least = named && minLevel === 'info' ? 0 : LEVELS.indexOf(minLevel);
    if (LEVELS.indexOf(record.level) < least) return false;
    if (topic?.is === 'open') this.#topics.add(topic.key);
    return true;
  }

  /** Sends what is pending, within `farewellMs`, and closes the connections. */
  async stop(): Promise<void> {
    this.#timer?.cancel();
    const { clock } = this.#o;
    const farewell = async () => {
      await this.#sending;
      if (this.#pending.length > 0) await this.#deliver();
    };
    const over = new AbortController();
    const late = sleep(clock, this.#limits.farewellMs, over.signal).then(
      () => this.#stopping.abort(),
      () => {},
    );
    await farewell();
    over.abort();
    await late;
    this.#stopping.abort();
    await this.#agent.destroy();
  }

  #arm(): void {
    if (this.#timer !== undefined || this.#sending !== undefined) return;
    const { clock } = this.#o;
    const { intervalMs } = this.#limits;
    const interval = this.#urgent ? Math.min(intervalMs, URGENT_INTERVAL_MS) : intervalMs;
    const quietMs = Math.min(this.#quietMs(), LOOK_EVERY_MS);
    const rest = Math.max(this.#sentAt + interval - clock.now(), quietMs);
    this.#timer = clock.after(Math.max(this.#limits.gatherMs, rest), () => this.#go(), {
      unref: true,
    });
  }

  /** How long what is pending waits for the end of the quiet hours, ms. */
  #quietMs(): number {
    const { clock, quiet } = this.#o;
    return quiet === undefined || this.#urgent ? 0 : quietFor(quiet, clock.epoch());
  }

  #go(): void {
    this.#timer = undefined;
    if (this.#quietMs() > 0) {
      this.#arm();
      return;
    }
    this.#sending = this.#deliver()
      .catch((err: unknown) => this.#o.telemetry.emit('error', { err, doing: 'telling a webhook' }))
      .finally(() => {
        this.#sending = undefined;
        if (this.#pending.length > 0 && !this.#stopping.signal.aborted) this.#arm();
      });
  }

  async #deliver(): Promise<void> {
    const { clock, telemetry } = this.#o;
    const records = this.#pending;
    const more = this.#more;
    this.#pending = [];
    this.#more = 0;
    this.#urgent = false;
    const digest = { records, more, ...this.#about() };
    const events = records.length + more;
    let error = '';
    let tries = 0;
    while (tries < this.#limits.tries) {
      tries += 1;
      const end = await this.#post(digest);
      if (end.kind === 'taken') {
        this.#sentAt = clock.now();
        telemetry.emit('notify.sent', { host: this.#host, events, tries });
        return;
      }
      error = end.error;
      if (end.kind === 'refused' || tries === this.#limits.tries) break;
      const pause = end.afterMs ?? this.#limits.backoffMs * 4 ** (tries - 1);
      try {
        await sleep(clock, Math.min(pause, this.#limits.maxBackoffMs), this.#stopping.signal);
      } catch {
        error = `${error}; the daemon is stopping`;
        break;
      }
    }
    this.#sentAt = clock.now();
    telemetry.emit('notify.failed', { host: this.#host, events, tries, error });
  }

  async #post(digest: Digest): Promise<PostEnd> {
    const { timeoutMs } = this.#limits;
    try {
      const message = messageTo(this.#o.url, this.#o.format, digest);
      const { origin, pathname, search } = new URL(message.url);
      const response = await this.#agent.request({
        origin,
        path: `${pathname}${search}`,
        method: 'POST',
        headers: { 'content-type': 'application/json', 'user-agent': 'opencode-watchdog' },
        body: JSON.stringify(message.body),
        signal: AbortSignal.any([AbortSignal.timeout(timeoutMs), this.#stopping.signal]),
      });
      const status = response.statusCode;
      const said = this.#redactor.text(await beginningOf(response.body), QUOTED);
      if (status >= 200 && status < 300) return { kind: 'taken' };
      const error = `status ${status}${said === '' ? '' : `: ${said}`}`;
      // A timeout, "too early", "too many" and the service's own failures are worth another try. Other refusals stay
      // refusals.
      const passing = status === 408 || status === 425 || status === 429 || status >= 500;
      if (!passing) return { kind: 'refused', error };
      const afterMs = retryAfter(response.headers['retry-after'], this.#o.clock.epoch());
      return { kind: 'failed', error, ...(afterMs === undefined ? {} : { afterMs }) };
    } catch (error) {
      return { kind: 'failed', error: this.#redactor.text(wordsOf(error, timeoutMs)) };
    }
  }
}

type PostEnd =
  | { kind: 'taken' }
  | { kind: 'refused'; error: string }
  | { kind: 'failed'; error: string; afterMs?: number };

/** The beginning of an answer, on one line. There services say what was wrong with the message. */
async function beginningOf(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of body) {
    chunks.push(chunk);
    length += chunk.length;
    // Leaving the loop releases the connection.
    if (length >= READ_BYTES) break;
  }
  return printable(Buffer.concat(chunks).toString('utf8').trim(), 'line');
}

/** The wait in ms. The header has seconds or a date (RFC 9110, section 10.2.3). */
function retryAfter(header: string | string[] | undefined, now: number): number | undefined {
  if (typeof header !== 'string') return undefined;
  const ms = /^\d+$/.test(header) ? Number(header) * 1_000 : Date.parse(header) - now;
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}

function wordsOf(error: unknown, timeoutMs: number): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === 'TimeoutError') return `no answer within ${timeoutMs} ms`;
  // Node's Happy Eyeballs wraps the refusals of all addresses in an error whose own message is empty.
  return error.message || String((error as NodeJS.ErrnoException).code);
}
