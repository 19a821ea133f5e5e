/**
 * One event stream for all runs of a driver. It is open while somebody listens, and gives each event to its run.
 *
 * It brings the text as it comes, errors that nothing else reports, and the end at once. It may fail or be missing, so
 * the runs check the status as well.
 */
import { BoundedMap } from '../../lib/bounded.js';
import type { Clock, Timer } from '../../lib/clock.js';
import type { DriverApi, RunEvent, RunEventReader } from '../driver-api.js';
import { type ConnectionEnd, EventConnection } from '../http/event-source.js';
import { Heartbeats } from '../monitor/heartbeats.js';
import { saysNoSuchPath } from '../monitor/stream-path.js';

const RECONNECT_MS = 500;
/**
 * A server without the stream (1.0.0) is asked for it again after this time, because another version may serve there by
 * then.
 */
const RECHECK_MS = 60_000;
/**
 * Events in the first moments after `server.connected` are not sent (seen on 1.18.33: lost after 2 ms, sent after 10 ms
 * on an idle machine). Any other event proves that the stream works; without one, this time has to pass.
 */
const SETTLE_MS = 250;

/**
 * A stream that sends nothing for this long is dead, whether its connection says so or not (a Wi-Fi that was left, a
 * sleep): three heartbeats of OpenCode 2, and more of 1.x (facts, section 4). Where the heartbeat is slower, it is three
 * of its intervals. Where none was seen, silence proves nothing, and the runs only ask what they may have missed.
 */
const SILENCE_MS = 45_000;

/**
 * How long the stream stays open for the next run of a caller that makes one after the other: a new stream costs more.
 */
const LINGER_MS = 1_000;

/** Subagents known, in all runs of the driver together. At the limit: the oldest is not heard any more. */
export const MAX_SUBAGENTS = 1_000;

export interface SessionEvent {
  /** The session itself, or that of a subagent below it. */
  sessionID: string;
  /** The directory that the event names. */
  directory: string | undefined;
  /** `gap`: the stream was lost, and events may have been missed. `silence`: the stream may be dead. */
  event: RunEvent | { kind: 'gap' } | { kind: 'silence' };
}

export type Listener = (event: SessionEvent) => void;

export class SessionEvents {
  readonly #client: DriverApi;
  readonly #clock: Clock;
  /** The runs that are followed, by session: a prompt may be queued behind another one of this driver. */
  readonly #listeners = new Map<string, Set<Listener>>();
  /** Maps a subagent's session to that of its run. */
  readonly #parents = new BoundedMap<string, string>(MAX_SUBAGENTS);
  readonly #waiting = new Set<(open: boolean) => void>();
  readonly #connecting = new Set<(open: boolean) => void>();
  /** Set while nobody listens and the stream stays open for the next run. */
  #lingering: Timer | undefined;
  readonly #reader: RunEventReader;
  #isStarted = false;
  /** The current try to connect. A try that was given up while the server was being recognised must not connect. */
  #attempt: object | undefined;
  #source: EventConnection | undefined;
  #holds = 0;
  #isOpen = false;
  #isMissing = false;
  #retry: Timer | undefined;
  #settling: Timer | undefined;
  #silence: Timer | undefined;
  /** When the last bytes came, or the runs were told of the silence, on the clock. */
  #heardAt = 0;
  #heartbeats = new Heartbeats();

  constructor(client: DriverApi, clock: Clock) {
    this.#client = client;
    this.#clock = clock;
    this.#reader = client.runEvents();
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** The listener hears of its session until the returned function is called. */
  subscribe(sessionID: string, listener: Listener): () => void {
    const listeners = this.#listeners.get(sessionID) ?? new Set();
    this.#listeners.set(sessionID, listeners.add(listener));
    this.#open();
    return () => {
      listeners.delete(listener);
      if (listeners.size > 0 || this.#listeners.get(sessionID) !== listeners) return;
      this.#listeners.delete(sessionID);
      for (const [child, parent] of this.#parents) {
        if (parent === sessionID) this.#parents.delete(child);
      }
      this.#closeIfUnused();
    };
  }

  /** Keeps the stream open between runs until the returned function is called. */
  hold(): () => void {
    this.#holds += 1;
    this.#open();
    let isHeld = true;
    return () => {
      if (isHeld) this.#holds -= 1;
      isHeld = false;
      this.#closeIfUnused();
    };
  }

  #closeIfUnused(): void {
    if (!this.#isUnused || this.#lingering) return;
    const closeThen = () => {
      this.#lingering = undefined;
      if (this.#isUnused) void this.close();
    };
    this.#lingering = this.#clock.after(LINGER_MS, closeThen, { unref: true });
  }

  get #isUnused(): boolean {
    return this.#listeners.size === 0 && this.#holds === 0;
  }

  /**
   * Settles when the first event has come, or after `timeoutMs`. A session that is created after that event shows on
   * the stream.
   */
  async connected(timeoutMs: number, signal?: AbortSignal): Promise<void> {
    if (this.#isOpen || this.#isMissing || this.#settling) return;
    await this.#until(this.#connecting, timeoutMs, signal);
  }

  /** Resolves to true as soon as events come; to false if none will come, or none within `timeoutMs`. */
  ready(timeoutMs: number, signal?: AbortSignal): Promise<boolean> {
    if (this.#isOpen || this.#isMissing) return Promise.resolve(this.#isOpen);
    return this.#until(this.#waiting, timeoutMs, signal);
  }

  #until(
    waiting: Set<(open: boolean) => void>,
    timeoutMs: number,
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    return new Promise((resolve) => {
      const settle = (open: boolean) => {
        timer.cancel();
        signal?.removeEventListener('abort', onAbort);
        waiting.delete(settle);
        resolve(open);
      };
      const onAbort = () => settle(false);
      const timer = this.#clock.after(timeoutMs, () => settle(false));
      waiting.add(settle);
      signal?.addEventListener('abort', onAbort, { once: true });
      if (signal?.aborted) onAbort();
    });
  }

  /** No listener hears anything any more. Settles when the connection is gone. */
  async close(): Promise<void> {
    this.#lingering?.cancel();
    this.#lingering = undefined;
    this.#isStarted = false;
    this.#attempt = undefined;
    this.#isMissing = false;
    this.#holds = 0;
    this.#listeners.clear();
    this.#parents.clear();
    const gone = this.#disconnect();
    this.#settle(false);
    await gone;
  }

  #open(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    this.#connect();
  }

  #connect(): void {
    const attempt = {};
    this.#attempt = attempt;
    void this.#client.recognised().then(() => {
      if (this.#attempt === attempt) this.#listen();
    });
  }

  #listen(): void {
    const [{ path }] = this.#client.streams;
    const source: EventConnection = new EventConnection({
      target: this.#client.streamTarget(path),
      clock: this.#clock,
      onData: (text) => {
        if (source !== this.#source) return;
        if (this.#settling) this.#tells();
        else if (!this.#isOpen) {
          this.#settling = this.#clock.after(SETTLE_MS, () => this.#tells());
          for (const settle of [...this.#connecting]) settle(true);
        }
        this.#read(text);
      },
      onBytes: () => {
        this.#heardAt = this.#clock.now();
      },
      isRedundant: (head) => {
        if (this.#reader.isHeartbeat(head)) this.#heartbeats.beat(this.#clock.now());
        // It shows that the stream has settled, as every other event does.
        return false;
      },
      onEnd: (end) => {
        if (source === this.#source) this.#ended(end);
      },
    });
    this.#heardAt = this.#clock.now();
    this.#heartbeats = new Heartbeats(this.#heardAt);
    this.#watchSilence();
    this.#source = source;
  }

  #ended(end: ConnectionEnd): void {
    void this.#disconnect();
    // One 503 is only a bad moment of the server or its proxy. 1.0.0 has no such stream (facts, section 4), and
    // says so.
    this.#isMissing = saysNoSuchPath(end);
    if (this.#isMissing) this.#settle(false);
    this.#retry = this.#clock.after(this.#isMissing ? RECHECK_MS : RECONNECT_MS, () => {
      if (this.#isStarted && this.#source === undefined) this.#connect();
    });
  }

  #watchSilence(): void {
    const now = this.#clock.now();
    const limitMs = this.#heartbeats.limitMs(SILENCE_MS);
    const isProof = Number.isFinite(limitMs);
    const waitMs = isProof ? limitMs : SILENCE_MS;
    if (now - this.#heardAt >= waitMs) {
      if (isProof) {
        this.#ended({ why: 'failed', reason: 'it was silent' });
        return;
      }
      this.#heardAt = now;
      this.#tellAll('silence');
    }
    const leftMs = this.#heardAt + waitMs - now;
    this.#silence = this.#clock.after(leftMs, () => this.#watchSilence(), { unref: true });
  }

  #tells(): void {
    this.#settling?.cancel();
    this.#settling = undefined;
    this.#isOpen = true;
    this.#settle(true);
  }

  #disconnect(): Promise<void> {
    this.#retry?.cancel();
    this.#retry = undefined;
    this.#settling?.cancel();
    this.#settling = undefined;
    this.#silence?.cancel();
    this.#silence = undefined;
    const source = this.#source;
    const wasOpen = this.#isOpen;
    this.#source = undefined;
    this.#isOpen = false;
    const gone = source?.close() ?? Promise.resolve();
    if (wasOpen) this.#tellAll('gap');
    return gone;
  }

  #tellAll(kind: 'gap' | 'silence'): void {
    for (const [sessionID, listeners] of this.#listeners) {
      const event: SessionEvent = { sessionID, directory: undefined, event: { kind } };
      for (const listener of listeners) listener(event);
    }
  }

  #settle(open: boolean): void {
    for (const settle of [...this.#waiting, ...this.#connecting]) settle(open);
  }

  #read(text: string): void {
    const frame = this.#reader.read(text);
    if (frame === undefined) return;
    const { sessionID, parentID, directory } = frame;
    if (parentID !== undefined) this.#adopt(sessionID, parentID);
    const listeners = this.#listeners.get(this.#parents.get(sessionID) ?? sessionID);
    if (!listeners) return;
    for (const event of frame.events()) {
      for (const listener of listeners) listener({ sessionID, directory, event });
    }
  }

  #adopt(child: string, parent: string): void {
    const root = this.#parents.get(parent) ?? parent;
    if (this.#listeners.has(root)) this.#parents.set(child, root);
  }
}
