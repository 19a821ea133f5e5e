/**
 * One connection to one event stream: eventsource over undici, with the delta filter between the bytes and the parser.
 * It never reconnects: it reports its end once, and the owner decides what follows.
 */
import { EventSource, type FetchLikeResponse } from 'eventsource';
import { Client } from 'undici';
import type { Clock, Timer } from '../../lib/clock.js';
import { DeltaFilter, type DeltaFilterOptions } from './delta-filter.js';
import { messageOf } from './errors.js';
import type { StreamTarget } from './transport.js';

/**
 * A connection made while the server is about to listen is accepted and never answered (seen on 1.18.33), and a
 * frozen server answers nothing. A healthy one sends the headers at once.
 */
const HEADERS_TIMEOUT_MS = 5_000;
/** Filtered frames that wait for the parser. At the limit: the server has to wait. */
export const MAX_UNREAD_BYTES = 256 * 1024;

export interface ConnectionEnd {
  /**
   * `status`, `type`: the answer has the wrong status or content type. `refused`: nobody listens. `headers`: accepted,
   * but not answered. `ended`: the server closed it. `failed`: anything else.
   */
  why: 'status' | 'type' | 'refused' | 'headers' | 'ended' | 'failed';
  statusCode?: number;
  reason: string;
}

export interface EventConnectionOptions extends DeltaFilterOptions {
  target: StreamTarget;
  clock: Clock;
  onOpen?(): void;
  /** Bytes have come and are about to be read; comments (the heartbeat of OpenCode 2) count as well. */
  onBytes?(): void;
  /** A frame's data. */
  onData(text: string): void;
  onEnd(end: ConnectionEnd): void;
}

export class EventConnection {
  readonly #options: EventConnectionOptions;
  readonly #filter: DeltaFilter;
  /** One connection, never used for anything else. An event stream may be silent for as long as its owner allows. */
  #client: Client | undefined;
  readonly #source: EventSource;
  readonly #late: Timer;
  /** What went wrong in the fetch: the source's own error event says less. */
  #failure: ConnectionEnd | undefined;
  #isOver = false;

  constructor(options: EventConnectionOptions) {
    this.#options = options;
    const { target, clock } = options;
    this.#filter = new DeltaFilter(options);
    this.#late = clock.after(HEADERS_TIMEOUT_MS, () =>
      this.#end({ why: 'headers', reason: `no answer within ${HEADERS_TIMEOUT_MS} ms` }),
    );
    this.#source = new EventSource(target.url, { fetch: () => this.#fetch() });
    const listen = (type: string, listener: (event: Event) => void) =>
      this.#source.addEventListener(type, (event) => this.#guarded(() => listener(event)));
    // A frame with `event: open` or `event: error` reaches these listeners as a MessageEvent.
    listen('open', (event) => {
      if (!(event instanceof MessageEvent)) this.#opened();
    });
    listen('error', (event) => {
      if (event instanceof MessageEvent) return;
      this.#end(this.#failure ?? { why: 'ended', reason: 'the server ended it' });
    });
    listen('message', (event) => {
      if (event instanceof MessageEvent) options.onData(String(event.data));
    });
  }

  /** Frames so far, filtered ones included. */
  get frames(): number {
    return this.#filter.frames;
  }

  /** Ends all reports. Settles when the connection is gone. */
  close(): Promise<void> {
    this.#isOver = true;
    this.#late.cancel();
    this.#source.close();
    // During its error event the source has not set its reconnect timer yet (the server chooses its length), so it is
    // closed once more afterwards.
    queueMicrotask(() => this.#source.close());
    return this.#client?.destroy() ?? Promise.resolve();
  }

  /** The `fetch` of the source. Unlike the default one, it neither follows redirects nor asks for gzip. */
  async #fetch(): Promise<FetchLikeResponse> {
    const { target } = this.#options;
    try {
      const authorised = await target.authorised();
      if (this.#isOver) throw new Error('it was closed before it was made');
      this.#client = new Client(authorised.origin, { headersTimeout: 0, bodyTimeout: 0 });
      const { statusCode, headers, body } = await this.#client.request({
        method: 'GET',
        path: `${target.url.pathname}${target.url.search}`,
        headers: { accept: 'text/event-stream', ...authorised.headers },
      });
      const type = headers['content-type'];
      const contentType = typeof type === 'string' ? type : null;
      this.#failure = wrongAnswer(statusCode, contentType);
      return {
        status: statusCode,
        url: target.url.href,
        redirected: false,
        headers: { get: (name) => (name.toLowerCase() === 'content-type' ? contentType : null) },
        body: this.#filtered(body),
      };
    } catch (error) {
      this.#failure = connectFailure(error);
      throw error;
    }
  }

  /** The frames of the body that the filter passes on. The body is paused while too many of them wait. */
  #filtered(body: NodeJS.ReadableStream): ReadableStream<Uint8Array> {
    return new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          body.on('data', (chunk: Buffer) =>
            this.#guarded(() => {
              if (this.#isOver) return;
              this.#options.onBytes?.();
              const passed = this.#filter.push(chunk);
              if (passed === undefined || this.#isOver) return;
              controller.enqueue(passed);
              if ((controller.desiredSize ?? 0) <= 0) body.pause();
            }),
          );
          body.on('end', () => {
            if (!this.#isOver) controller.close();
          });
          body.on('error', (error) => {
            this.#failure ??= { why: 'failed', reason: brokenReason(error) };
            if (!this.#isOver) controller.error(error);
          });
        },
        pull: () => void body.resume(),
      },
      new ByteLengthQueuingStrategy({ highWaterMark: MAX_UNREAD_BYTES }),
    );
  }

  #opened(): void {
    this.#late.cancel();
    this.#options.onOpen?.();
  }

  /** Runs a listener and catches what it throws, which would end the process. */
  #guarded(listener: () => void): void {
    if (this.#isOver) return;
    try {
      listener();
    } catch (error) {
      this.#end({ why: 'failed', reason: `could not be read: ${messageOf(error)}` });
    }
  }

  #end(end: ConnectionEnd): void {
    if (this.#isOver) return;
    void this.close();
    this.#options.onEnd(end);
  }
}

function brokenReason(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return code === 'ECONNRESET' || code === 'UND_ERR_SOCKET' ? 'the connection broke' : message;
}

function wrongAnswer(status: number, contentType: string | null): ConnectionEnd | undefined {
  if (status !== 200) {
    return { why: 'status', statusCode: status, reason: `it answered ${status}` };
  }
  if (contentType?.startsWith('text/event-stream')) return undefined;
  return { why: 'type', reason: `it answered with ${contentType ?? 'no content type'}` };
}

function connectFailure(error: unknown): ConnectionEnd {
  const { code, message } = error as NodeJS.ErrnoException;
  // Node's happy eyeballs wraps the errors of all addresses, and takes the code of the first.
  if (code === 'ECONNREFUSED') return { why: 'refused', reason: 'connection refused' };
  return { why: 'failed', reason: message || code || String(error) };
}
