/**
 * Keeps one event stream to opencode open: chooses the path, reconnects with jittered backoff after every kind of
 * end, and tells a silent connection from a quiet one.
 */
import type { Clock, Timer } from '../../lib/clock.js';
import { Throttle } from '../../lib/throttle.js';
import { type ConnectionEnd, EventConnection } from '../http/event-source.js';
import type { OpencodeClient } from '../v1/client.js';
import { directoryOf, isDelta, readHead } from '../v1/frame-head.js';
import type { ParseStats } from '../v1/status.js';
import { Heartbeats } from './heartbeats.js';
import { saysNoSuchPath } from './stream-path.js';

const GLOBAL_PATH = '/global/event';
/** The only stream of 1.0.0; it tells of the server's own directory alone. */
const OLD_PATH = '/event';
const INITIAL_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 10_000;
/** A connection that lasted this long was a good one: the next failure starts the backoff anew. */
const HEALTHY_AFTER_MS = 5_000;
/**
 * Every version says `server.connected` at once. An answer whose body does not begin is one that something on the way
 * holds back (a proxy that buffers): no event would come through in time.
 */
const FIRST_BYTES_MS = 5_000;
/** 1.14.48's `/event` ends within milliseconds (facts, section 4). */
const ENDS_AT_ONCE_MS = 1_000;
/** `/event` blinds us to other directories, so the better path is tried again, first soon and then ever more rarely. */
const FIRST_RECHECK_MS = 5_000;
const MAX_RECHECK_MS = 10 * 60_000;
/** So many other refusals of a path in a row, and the other one is tried: an old server's 500 may mean "no such route". */
const REFUSALS_IN_A_ROW = 3;
/** At most one delta a session in this time, and one `alive`: far below any limit anyone sets (seconds). */
export const COALESCE_MS = 250;

export interface StreamEvents {
  connected(path: string): void;
  /** A connection that had been open is gone. */
  lost(reason: string, silentMs: number): void;
  /** An attempt to connect has failed; the next follows by itself. */
  failed(end: ConnectionEnd, path: string): void;
  /** Bytes arrived. `heartbeatMs` once the interval is known. */
  alive(heartbeatMs: number | undefined): void;
  /** A frame too large to read; the watchdog had better look at the session itself. */
  oversized(sessionID: string | undefined, directory: string | undefined): void;
  event(directory: string | undefined, payload: unknown): void;
}

export interface StreamOptions {
  client: OpencodeClient;
  clock: Clock;
  /** Silence that counts as a dead connection, once heartbeats were seen. */
  heartbeatTimeoutMs: number;
  events: StreamEvents;
  oddities: ParseStats;
  /** In [0, 1): for the backoff's jitter. */
  random?: () => number;
}

export class EventStream {
  readonly #options: StreamOptions;
  readonly #deltas: Throttle;
  readonly #alive: Throttle;
  #isStarted = false;
  #connection: EventConnection | undefined;
  #earlierFrames = 0;
  #heartbeats = new Heartbeats();
  #path = GLOBAL_PATH;
  #openedAt: number | undefined;
  #lastBytesAt = 0;
  #failures = 0;
  /** Both paths are tried before the first wait. */
  #triedOther = false;
  /** Refusals of the global path in a row, of which none said that it is not there. */
  #refusals = 0;
  #reconnectTimer: Timer | undefined;
  #silenceTimer: Timer | undefined;
  #firstBytesTimer: Timer | undefined;
  #recheckTimer: Timer | undefined;
  #recheckMs = FIRST_RECHECK_MS;

  constructor(options: StreamOptions) {
    this.#options = options;
    this.#deltas = new Throttle(options.clock, COALESCE_MS);
    this.#alive = new Throttle(options.clock, COALESCE_MS);
  }

  /** Frames of all connections so far. */
  get frames(): number {
    return this.#earlierFrames + (this.#connection?.frames ?? 0);
  }

  get isConnected(): boolean {
    return this.#openedAt !== undefined;
  }

  start(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    this.#path = GLOBAL_PATH;
    this.#failures = 0;
    this.#triedOther = false;
    this.#refusals = 0;
    this.#recheckMs = FIRST_RECHECK_MS;
    this.#connect();
  }

  /** Settles when the connection is closed; a later `start` begins anew. */
  async stop(): Promise<void> {
    this.#isStarted = false;
    const gone = this.#disconnect();
    this.#reconnectTimer?.cancel();
    await gone;
  }

  #connect(): void {
    const { client, clock, events } = this.#options;
    if (!this.#isStarted) return;
    const path = this.#path;
    this.#connection = new EventConnection({
      target: client.streamTarget(path),
      clock,
      onOpen: () => {
        this.#firstBytesTimer = clock.after(FIRST_BYTES_MS, () => {
          void this.#connection?.close();
          const reason = `it opened, and said nothing for ${FIRST_BYTES_MS} ms`;
          this.#ended({ why: 'headers', reason }, path);
        });
      },
      onBytes: () => {
        this.#lastBytesAt = clock.now();
        if (this.#openedAt === undefined) this.#opened(path);
        if (this.#alive.passes('', this.#lastBytesAt)) events.alive(this.#heartbeats.intervalMs);
      },
      isRedundant: (head) => this.#isRedundant(head),
      onOversized: (head) => {
        const known = readHead(head);
        events.oversized(known?.sessionID, known && directoryOf(known));
      },
      onData: (text) => this.#read(text),
      onEnd: (end) => this.#ended(end, path),
    });
  }

  /** Its first bytes are here. */
  #opened(path: string): void {
    const { clock, events } = this.#options;
    this.#firstBytesTimer?.cancel();
    this.#openedAt = clock.now();
    this.#heartbeats = new Heartbeats(this.#openedAt);
    if (path === OLD_PATH) this.#recheckLater();
    else this.#recheckMs = FIRST_RECHECK_MS;
    events.connected(path);
  }

  /** `sync` frames repeat others (facts, section 4); of a session's deltas one in a while says that it lives. */
  #isRedundant(head: string): boolean {
    const { type = '', sessionID } = readHead(head) ?? {};
    if (type === 'sync') return true;
    if (sessionID === undefined || !isDelta(type)) return false;
    return !this.#deltas.passes(sessionID, this.#lastBytesAt);
  }

  /** What made us take `/event` may have been a bad moment of the server's. */
  #recheckLater(): void {
    this.#recheckTimer = this.#options.clock.after(this.#recheckMs, () => {
      void this.#connection?.close();
      this.#ended({ why: 'failed', reason: `to try ${GLOBAL_PATH} again` }, OLD_PATH);
    });
    this.#recheckMs = Math.min(this.#recheckMs * 2, MAX_RECHECK_MS);
  }

  #disconnect(): Promise<void> {
    this.#recheckTimer?.cancel();
    this.#firstBytesTimer?.cancel();
    this.#silenceTimer?.cancel();
    this.#silenceTimer = undefined;
    this.#earlierFrames += this.#connection?.frames ?? 0;
    const gone = this.#connection?.close() ?? Promise.resolve();
    this.#connection = undefined;
    this.#openedAt = undefined;
    return gone;
  }

  #read(text: string): void {
    const { clock, events, oddities } = this.#options;
    const frame = parseFrame(text);
    if (!frame) {
      oddities.garbage += 1;
      return;
    }
    switch (frame.type) {
      case 'sync':
      case 'server.connected':
        return;
      case 'server.heartbeat':
        this.#heartbeats.beat(clock.now());
        this.#silenceTimer ??= this.#watchSilence();
        return;
      default:
        events.event(frame.directory, frame.payload);
    }
  }

  /** One timer, set again for what is left: bytes only note their time. */
  #watchSilence(): Timer {
    const { clock, heartbeatTimeoutMs } = this.#options;
    const limit = this.#heartbeats.limitMs(heartbeatTimeoutMs);
    const left = Math.max(1, this.#lastBytesAt + limit - clock.now());
    return clock.after(left, () => {
      const silentMs = clock.now() - this.#lastBytesAt;
      if (silentMs < this.#heartbeats.limitMs(heartbeatTimeoutMs)) {
        this.#silenceTimer = this.#watchSilence();
        return;
      }
      const reason = `silent for ${Math.round(silentMs)} ms`;
      void this.#connection?.close();
      this.#ended({ why: 'failed', reason }, this.#path);
    });
  }

  #ended(end: ConnectionEnd, path: string): void {
    const { clock, events } = this.#options;
    const openedAt = this.#openedAt;
    const now = clock.now();
    const silentMs = Math.round(now - this.#lastBytesAt);
    void this.#disconnect();
    if (openedAt !== undefined && now - openedAt >= HEALTHY_AFTER_MS) this.#failures = 0;
    const switched = this.#choosePath(end, openedAt === undefined ? undefined : now - openedAt);
    const wait = switched && !this.#triedOther ? 0 : this.#nextBackoff();
    this.#triedOther = switched;
    this.#reconnectTimer = clock.after(wait, () => this.#connect());
    // Told last: a listener may stop the stream.
    if (openedAt !== undefined) events.lost(end.reason, silentMs);
    else events.failed(end, path);
  }

  /** True where the end was the path's own fault, and the other one is to be tried at once. */
  #choosePath(end: ConnectionEnd, openMs: number | undefined): boolean {
    const isMissing = saysNoSuchPath(end) || this.#isRefusedOften(end);
    const endsAtOnce = end.why === 'ended' && openMs !== undefined && openMs < ENDS_AT_ONCE_MS;
    const before = this.#path;
    if (before === GLOBAL_PATH && isMissing) this.#path = OLD_PATH;
    // After anything else the better path is tried first again: it may have been a bad moment, or be another version now.
    else this.#path = GLOBAL_PATH;
    return (isMissing || endsAtOnce) && this.#path !== before;
  }

  /** A single 500 or 503 is a moment of the server's or its proxy's, and no word about the path. */
  #isRefusedOften({ why, statusCode = 0 }: ConnectionEnd): boolean {
    // A proxy's words for a server that is down, and a server's for wrong credentials.
    const saysNothing = why !== 'status' || [401, 403, 502, 503, 504].includes(statusCode);
    this.#refusals = saysNothing ? 0 : this.#refusals + 1;
    if (this.#refusals < REFUSALS_IN_A_ROW) return false;
    this.#refusals = 0;
    return true;
  }

  #nextBackoff(): number {
    const { random = Math.random } = this.#options;
    const full = Math.min(MAX_BACKOFF_MS, INITIAL_BACKOFF_MS * 2 ** this.#failures);
    this.#failures += 1;
    // Between half and the whole: several watchdogs do not come back in step.
    return full * (0.5 + random() / 2);
  }
}

interface Frame {
  directory: string | undefined;
  type: string;
  payload: unknown;
}

/** `/global/event` wraps its payload, `/event` does not (facts, section 4). */
function parseFrame(text: string): Frame | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { directory, payload = value } = value as { directory?: unknown; payload?: unknown };
  const type = (payload as { type?: unknown } | null)?.type;
  if (typeof type !== 'string') return undefined;
  return { directory: typeof directory === 'string' ? directory : undefined, type, payload };
}
