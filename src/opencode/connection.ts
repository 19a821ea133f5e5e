/**
 * One connection to one of opencode's event streams: `eventsource` reads it, through a fetch that puts the frame
 * filter between Node's HTTP client and the parser. It never reconnects; its end is reported once.
 */
import type { Agent, IncomingMessage } from 'node:http';
import { EventSource, type FetchLike, type FetchLikeResponse } from 'eventsource';
import type { Clock, Timer } from '../lib/clock.js';
import { answerTo, openRequest, readerOf } from '../lib/http.js';
import { FrameFilter, type FrameFilterEvents } from './frame-filter.js';

/**
 * A connection made while the server is about to listen is accepted and never answered (seen on 1.18.33), and a
 * frozen server answers nothing. A healthy one sends the headers at once.
 */
const HEADERS_TIMEOUT_MS = 5_000;

export interface ConnectionEnd {
  /**
   * `status`, `type`: the path is not what it should be. `refused`: nobody listens. `headers`: accepted, not
   * answered. `ended`: the server closed it. `failed`: anything else.
   */
  why: 'status' | 'type' | 'refused' | 'headers' | 'ended' | 'failed';
  statusCode?: number;
  reason: string;
}

export interface ConnectionEvents extends FrameFilterEvents {
  open(): void;
  bytes(): void;
  /** A frame's data. */
  data(text: string): void;
  end(end: ConnectionEnd): void;
}

export interface ConnectionOptions {
  url: URL;
  headers: Readonly<Record<string, string>>;
  agent: Agent;
  clock: Clock;
  events: ConnectionEvents;
}

export class Connection {
  readonly #options: ConnectionOptions;
  readonly #source: EventSource;
  /** What our fetch saw go wrong: EventSource itself tells little. */
  #failure: ConnectionEnd | undefined;
  #over = false;
  readonly #filter: FrameFilter;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    const { events } = options;
    this.#filter = new FrameFilter(events);
    this.#source = new EventSource(options.url, { fetch: this.#fetch });
    this.#source.onopen = () => {
      if (!this.#over) events.open();
    };
    this.#source.onmessage = ({ data }) => {
      if (!this.#over) events.data(String(data));
    };
    this.#source.onerror = ({ message }) => {
      if (this.#over) return;
      this.close();
      // EventSource sets its reconnect timer after this call: closing again takes it back.
      queueMicrotask(() => this.#source.close());
      const end: ConnectionEnd = message
        ? { why: 'failed', reason: message }
        : { why: 'ended', reason: 'the server ended it' };
      events.end(this.#failure ?? end);
    };
  }

  /** Frames so far. */
  get frames(): number {
    const { passed, deltas, repeated, oversized } = this.#filter.counts;
    return passed + deltas + repeated + oversized;
  }

  /** Nothing is reported any more. */
  close(): void {
    this.#over = true;
    this.#source.close();
  }

  readonly #fetch: FetchLike = async (url, init) => {
    const { clock, agent, headers } = this.#options;
    const sent = openRequest(new URL(url), { agent, headers: { ...init.headers, ...headers } });
    // Not taken back when the head is there: it ends the body too.
    init.signal.addEventListener('abort', () => sent.destroy(), { once: true });
    const timer: Timer = clock.after(HEADERS_TIMEOUT_MS, () => {
      this.#failure = { why: 'headers', reason: `no answer within ${HEADERS_TIMEOUT_MS} ms` };
      sent.destroy();
    });
    try {
      const answered = answerTo(sent);
      sent.end();
      // A redirect is not followed: it would send the credentials elsewhere.
      const answer = await answered;
      const { statusCode: status = 0, headers: fields } = answer;
      this.#failure = wrongAnswer(status, fields['content-type']);
      if (this.#failure) answer.destroy();
      const body = this.#failure ? null : this.#filtered(answer);
      const get = (name: string) => String(fields[name.toLowerCase()] ?? '') || null;
      return { url: String(url), status, headers: { get }, redirected: false, body };
    } catch (error) {
      this.#failure ??= connectFailure(error);
      throw new Error(this.#failure.reason, { cause: error });
    } finally {
      timer.cancel();
    }
  };

  /** A body whose reader gives only what the filter passes on: no second stream, no queue of its own. */
  #filtered(answer: IncomingMessage): FetchLikeResponse['body'] {
    const { events } = this.#options;
    const filter = this.#filter;
    return {
      getReader: () => {
        const reader = readerOf(answer);
        return {
          cancel: reader.cancel,
          read: async (): Promise<{ done: true } | { done: false; value: Buffer }> => {
            for (;;) {
              const { done, value } = await reader.read();
              if (done || this.#over) return { done: true };
              events.bytes();
              const passed = filter.push(value);
              if (passed) return { done: false, value: passed };
            }
          },
        };
      },
    };
  }
}

function wrongAnswer(status: number, contentType: string | undefined): ConnectionEnd | undefined {
  if (status !== 200) {
    return { why: 'status', statusCode: status, reason: `it answered ${status}` };
  }
  if (contentType?.startsWith('text/event-stream')) return undefined;
  return { why: 'type', reason: `it answered with ${contentType ?? 'no content type'}` };
}

function connectFailure(error: unknown): ConnectionEnd {
  const { code, message } = error as NodeJS.ErrnoException;
  // Node's happy-eyeballs wraps the refusals of each address, and takes the code of the first.
  if (code === 'ECONNREFUSED') return { why: 'refused', reason: 'connection refused' };
  return { why: 'failed', reason: message || code || String(error) };
}
