/**
 * One event stream for all runs of a driver: open while somebody listens, each event given to the run that it is of.
 *
 * It brings the text as it comes, errors that nothing else tells of, and the end at once. It may fail or be missing:
 * the runs check the status all the same.
 */
import * as z from 'zod';
import { BoundedMap } from '../../lib/bounded.js';
import type { Clock, Timer } from '../../lib/clock.js';
import { EventConnection } from '../http/event-source.js';
import { isDirectory, normaliseDirectory } from '../monitor/directories.js';
import { saysNoSuchPath } from '../monitor/stream-path.js';
import type { OpencodeClient } from '../v1/client.js';
import { id } from '../v1/schemas.js';

const PATH = '/global/event';
const RECONNECT_MS = 500;
/** A server without the stream (1.0.0) is asked for it again after this time: another version may serve there by then. */
const RECHECK_MS = 60_000;
/**
 * What happens in the first moments after `server.connected` is not told (seen on 1.18.33: lost after 2 ms, told after
 * 10 ms on an idle machine). Any other event proves that the stream tells; without one this time must do.
 */
const SETTLE_MS = 250;

/** Subagents known, of all runs of the driver together. At the limit: the oldest is heard no more. */
export const MAX_SUBAGENTS = 1_000;

/** Told to every listener when the stream was lost: events may have been missed. */
export const GAP = 'driver.gap';

export interface SessionEvent {
  /** opencode's own, or `GAP`. */
  type: string;
  /** The session itself, or a subagent's below it. */
  sessionID: string;
  /** The instance that says so. */
  directory: string | undefined;
  properties: unknown;
}

export type Listener = (event: SessionEvent) => void;

const frame = z.object({
  directory: z.string().optional().catch(undefined),
  payload: z.object({ type: z.string(), properties: z.unknown().optional() }),
});
const subject = z.object({
  sessionID: id.optional().catch(undefined),
  info: z
    .object({
      id,
      sessionID: id.optional().catch(undefined),
      parentID: id.optional().catch(undefined),
    })
    .optional()
    .catch(undefined),
  part: z.object({ sessionID: id }).optional().catch(undefined),
});

export class SessionEvents {
  readonly #client: OpencodeClient;
  readonly #clock: Clock;
  readonly #listeners = new Map<string, Listener>();
  /** A subagent's session to that of its run. */
  readonly #parents = new BoundedMap<string, string>(MAX_SUBAGENTS);
  readonly #waiting = new Set<(open: boolean) => void>();
  #isStarted = false;
  #source: EventConnection | undefined;
  #holds = 0;
  #isOpen = false;
  #isMissing = false;
  #retry: Timer | undefined;
  #settling: Timer | undefined;

  constructor(client: OpencodeClient, clock: Clock) {
    this.#client = client;
    this.#clock = clock;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** The listener hears of its session until the returned function is called. */
  subscribe(sessionID: string, listener: Listener): () => void {
    this.#listeners.set(sessionID, listener);
    this.#open();
    return () => {
      if (this.#listeners.get(sessionID) !== listener) return;
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
    if (this.#listeners.size === 0 && this.#holds === 0) void this.close();
  }

  /** True as soon as events come; false when none will, or not within `timeoutMs`. */
  ready(timeoutMs: number, signal?: AbortSignal): Promise<boolean> {
    if (this.#isOpen || this.#isMissing) return Promise.resolve(this.#isOpen);
    return new Promise((resolve) => {
      const settle = (open: boolean) => {
        timer.cancel();
        signal?.removeEventListener('abort', onAbort);
        this.#waiting.delete(settle);
        resolve(open);
      };
      const onAbort = () => settle(false);
      const timer = this.#clock.after(timeoutMs, () => settle(false));
      this.#waiting.add(settle);
      signal?.addEventListener('abort', onAbort, { once: true });
      if (signal?.aborted) onAbort();
    });
  }

  /** Nobody hears anything any more. Settles when the connection is gone. */
  async close(): Promise<void> {
    this.#isStarted = false;
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
    const source: EventConnection = new EventConnection({
      target: this.#client.streamTarget(PATH),
      clock: this.#clock,
      onData: (text) => {
        if (source !== this.#source) return;
        if (this.#settling) this.#tells();
        else if (!this.#isOpen) this.#settling = this.#clock.after(SETTLE_MS, () => this.#tells());
        this.#read(text);
      },
      onEnd: (end) => {
        if (source !== this.#source) return;
        void this.#disconnect();
        // One 503 is a moment of the server's or its proxy's; 1.0.0 has no such stream (facts, section 4), and says so.
        this.#isMissing = saysNoSuchPath(end);
        if (this.#isMissing) this.#settle(false);
        this.#retry = this.#clock.after(this.#isMissing ? RECHECK_MS : RECONNECT_MS, () => {
          if (this.#isStarted && this.#source === undefined) this.#connect();
        });
      },
    });
    this.#source = source;
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
    const source = this.#source;
    const wasOpen = this.#isOpen;
    this.#source = undefined;
    this.#isOpen = false;
    const gone = source?.close() ?? Promise.resolve();
    if (!wasOpen) return gone;
    for (const [sessionID, listener] of this.#listeners) {
      listener({ type: GAP, sessionID, directory: undefined, properties: undefined });
    }
    return gone;
  }

  #settle(open: boolean): void {
    for (const settle of [...this.#waiting]) settle(open);
  }

  #read(text: string): void {
    const parsed = frame.safeParse(parse(text));
    if (!parsed.success) return;
    const { directory, payload } = parsed.data;
    if (payload.type === 'sync') return;
    const { sessionID: named, info, part } = subject.safeParse(payload.properties).data ?? {};
    const isSession = payload.type.startsWith('session.');
    const sessionID =
      named ?? info?.sessionID ?? part?.sessionID ?? (isSession ? info?.id : undefined);
    if (sessionID === undefined) return;
    if (isSession && info?.parentID !== undefined) this.#adopt(info.id, info.parentID);
    const listener = this.#listeners.get(this.#parents.get(sessionID) ?? sessionID);
    listener?.({
      type: payload.type,
      sessionID,
      directory: isDirectory(directory) ? normaliseDirectory(directory) : undefined,
      properties: payload.properties,
    });
  }

  #adopt(child: string, parent: string): void {
    const root = this.#parents.get(parent) ?? parent;
    if (this.#listeners.has(root)) this.#parents.set(child, root);
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not for us: every answer that matters is looked up as well.
    return undefined;
  }
}
