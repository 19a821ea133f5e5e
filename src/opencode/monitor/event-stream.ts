/**
 * Keeps one event stream to opencode open: chooses the path, reconnects with jittered backoff after every kind of end,
 * and tells a dead connection from a quiet one.
 */
import type { Clock, Timer } from '../../lib/clock.js';
import { Throttle } from '../../lib/throttle.js';
import { type ConnectionEnd, EventConnection } from '../http/event-source.js';
import type { EventReader, Frame, ServerApi, StreamRoute } from '../server-api.js';
import { Heartbeats } from './heartbeats.js';
import { saysNoSuchPath } from './stream-path.js';

const INITIAL_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 10_000;
/** A connection that lasted this long was a good one: the next failure starts the backoff anew. */
const HEALTHY_AFTER_MS = 5_000;
/**
 * Every version says `server.connected` at once. If the body of the answer does not begin, something on the way holds
 * it back (a proxy that buffers), and no event would come through in time.
 */
const FIRST_BYTES_MS = 5_000;
/** 1.14.48's `/event` ends within milliseconds (facts, section 4). The other path may do better. */
const ENDS_AT_ONCE_MS = 1_000;
/**
 * The second path shows nothing of other directories, so the first is tried again, soon at first and then less and less
 * often.
 */
const FIRST_RECHECK_MS = 5_000;
const MAX_RECHECK_MS = 10 * 60_000;
/**
 * After this many other refusals of a path in a row the other path is tried: an old server's 500 may mean "no such
 * route".
 */
const REFUSALS_IN_A_ROW = 3;
/**
 * In this time at most one delta of each session and one `alive` pass. It is far below any limit that is set (seconds).
 */
const COALESCE_MS = 250;

export interface StreamEvents {
  connected(route: StreamRoute): void;
  /** A connection that had been open is gone. */
  lost(reason: string, silentMs: number): void;
  /** An attempt to connect has failed; the next follows by itself. */
  failed(end: ConnectionEnd, path: string): void;
  /** Bytes arrived. `heartbeatMs` is given once the interval is known. */
  alive(heartbeatMs: number | undefined): void;
  /** A frame was too large to read. The session should be inspected. */
  oversized(sessionID: string | undefined, directory: string | undefined): void;
  frame(frame: Exclude<Frame, { kind: 'unreadable' | 'nothing' | 'heartbeat' }>): void;
}

export interface StreamOptions {
  client: ServerApi;
  clock: Clock;
  reader: EventReader;
  /** The directory of events that name none, on a stream that covers only one directory. */
  ownDirectory(): string | undefined;
  /** Silence that counts as a dead connection, once heartbeats were seen. */
  heartbeatTimeoutMs: number;
  events: StreamEvents;
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
  /** The second path is used, because the first seems to be missing. */
  #isSecond = false;
  /** The route of the current connection, or of the last one. */
  #route: StreamRoute;
  #openedAt: number | undefined;
  #lastBytesAt = 0;
  #failures = 0;
  /** The last end led to a switch of paths. Both paths are tried before the first wait. */
  #triedOther = false;
  /** Refusals of a path in a row, none of which said that the path does not exist. */
  #refusals = 0;
  #reconnectTimer: Timer | undefined;
  #silenceTimer: Timer | undefined;
  #firstBytesTimer: Timer | undefined;
  #recheckTimer: Timer | undefined;
  #recheckMs = FIRST_RECHECK_MS;

  constructor(options: StreamOptions) {
    this.#options = options;
    this.#route = options.client.streams[0];
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
    this.#isSecond = false;
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
    const { streams } = client;
    // Looked up each time, because another version may serve there by now.
    const route = (this.#isSecond ? streams[1] : undefined) ?? streams[0];
    const { path } = route;
    this.#route = route;
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
        if (this.#openedAt === undefined) this.#opened(route);
        if (this.#alive.passes('', this.#lastBytesAt)) events.alive(this.#heartbeats.intervalMs);
      },
      isRedundant: (head) => this.#isRedundant(head),
      onOversized: (head) => {
        const known = this.#options.reader.head(head);
        if (known.kind === 'other') events.oversized(known.sessionID, known.directory);
        else if (known.kind === 'delta') events.oversized(known.sessionID, undefined);
        else events.oversized(undefined, undefined);
      },
      onData: (text) => this.#read(text),
      onEnd: (end) => this.#ended(end, path),
    });
  }

  /** The first bytes of the connection have arrived. */
  #opened(route: StreamRoute): void {
    const { clock, events } = this.#options;
    this.#firstBytesTimer?.cancel();
    this.#openedAt = clock.now();
    this.#heartbeats = new Heartbeats(this.#openedAt);
    if (route.ofAllDirectories) this.#recheckMs = FIRST_RECHECK_MS;
    else this.#recheckLater();
    events.connected(route);
  }

  /** Of a session's deltas, one in a while is enough to show that it is alive. */
  #isRedundant(head: string): boolean {
    const known = this.#options.reader.head(head);
    switch (known.kind) {
      case 'repeated':
        return true;
      case 'heartbeat':
        this.#beat();
        return true;
      case 'delta':
        return !this.#deltas.passes(known.sessionID, this.#lastBytesAt);
      case 'other':
        return false;
      default:
        return known satisfies never;
    }
  }

  #beat(): void {
    this.#heartbeats.beat(this.#options.clock.now());
    // Each one shows more of the true interval, and the limit may be shorter than it was.
    this.#silenceTimer?.cancel();
    this.#silenceTimer = this.#watchSilence();
  }

  /** The server may only have had a bad moment when we took the second path. */
  #recheckLater(): void {
    const { client, clock } = this.#options;
    const { path } = this.#route;
    this.#recheckTimer = clock.after(this.#recheckMs, () => {
      void this.#connection?.close();
      this.#ended({ why: 'failed', reason: `to try ${client.streams[0].path} again` }, path);
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
    const { client, events, ownDirectory, reader } = this.#options;
    const place = this.#route.ofAllDirectories ? undefined : ownDirectory();
    const frame = reader.read(text, place);
    switch (frame.kind) {
      case 'unreadable':
        client.parseStats.unparseable += 1;
        return;
      case 'nothing':
        return;
      case 'heartbeat':
        this.#beat();
        return;
      default:
        events.frame(frame);
    }
  }

  /** One timer, which is set again for the time left. When bytes come, only their time is noted. */
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
      this.#ended({ why: 'failed', reason }, this.#route.path);
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
    // Reported last, because a listener may stop the stream.
    if (openedAt !== undefined) events.lost(end.reason, silentMs);
    else events.failed(end, path);
  }

  /** Returns true if the path itself was at fault and the other one is tried next. */
  #choosePath(end: ConnectionEnd, openMs: number | undefined): boolean {
    const isMissing = saysNoSuchPath(end) || this.#isRefusedOften(end);
    const endsAtOnce = end.why === 'ended' && openMs !== undefined && openMs < ENDS_AT_ONCE_MS;
    const wasSecond = this.#isSecond;
    // After any other end the better path is tried first again: the server may have had a bad moment, or may be another
    // version now.
    this.#isSecond = !wasSecond && isMissing && this.#options.client.streams.length > 1;
    return (isMissing || endsAtOnce) && this.#isSecond !== wasSecond;
  }

  /** A single 500 or 503 shows a bad moment of the server or its proxy, and says nothing about the path. */
  #isRefusedOften({ why, statusCode = 0 }: ConnectionEnd): boolean {
    // A proxy says this for a server that is down, and a server says it for wrong credentials.
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
    // Between half and the full time, so that several watchdogs do not reconnect at the same moment.
    return full * (0.5 + random() / 2);
  }
}
