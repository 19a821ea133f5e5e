/**
 * One connection to an event stream: frames come as text, and its end is told once. It never reconnects.
 *
 * Node's HTTP client and `eventsource-parser` do it without the `EventSource` around them, whose `MessageEvent` makes
 * Node load a whole second HTTP client (11 MB).
 */
import type { Agent, ClientRequest, IncomingMessage } from 'node:http';
import { createParser } from 'eventsource-parser';
import type { Clock } from '../lib/clock.js';
import { answerTo, openRequest, targetOf } from '../lib/http.js';
import { readInBatches } from './batches.js';
import { messageOf } from './errors.js';

/**
 * A connection made while the server is about to listen is accepted and never answered (seen on 1.18.33), and a
 * frozen server answers nothing. A healthy one sends the headers at once.
 */
const HEADERS_TIMEOUT_MS = 5_000;

/** Without a filter a frame may carry the files of a prompt; beyond this the connection is given up. */
export const MAX_UNFINISHED_CHARS = 64 * 1024 * 1024;

export interface ConnectionEnd {
  /**
   * `status`, `type`: the path is not what it should be. `refused`: nobody listens. `headers`: accepted, not
   * answered. `ended`: the server closed it. `failed`: anything else.
   */
  why: 'status' | 'type' | 'refused' | 'headers' | 'ended' | 'failed';
  statusCode?: number;
  reason: string;
}

export interface EventConnectionOptions {
  url: URL;
  headers: Readonly<Record<string, string>>;
  agent: Agent;
  clock: Clock;
  /** What it says may wait for a few ms; its agent was given `BATCHED_SOCKET`. */
  batched?: boolean;
  open?(): void;
  /** Takes out what nobody needs to read; all of it is read where this is absent. */
  filter?(bytes: Buffer): Buffer | undefined;
  /** A frame's data. */
  data(text: string): void;
  end(end: ConnectionEnd): void;
}

export class EventConnection {
  readonly #options: EventConnectionOptions;
  #sent: ClientRequest | undefined;
  #gone: Promise<void> = Promise.resolve();
  #isOver = false;

  constructor(options: EventConnectionOptions) {
    this.#options = options;
    void this.#run();
  }

  /** Nothing is reported any more. Settles when the connection is gone. */
  close(): Promise<void> {
    this.#isOver = true;
    this.#sent?.destroy();
    return this.#gone;
  }

  async #run(): Promise<void> {
    const { clock, open } = this.#options;
    let isLate = false;
    const timer = clock.after(HEADERS_TIMEOUT_MS, () => {
      isLate = true;
      this.#sent?.destroy();
    });
    let answer: IncomingMessage;
    try {
      answer = await this.#ask();
    } catch (error) {
      const late = { why: 'headers', reason: `no answer within ${HEADERS_TIMEOUT_MS} ms` } as const;
      this.#end(isLate ? late : connectFailure(error));
      return;
    } finally {
      timer.cancel();
    }
    // A redirect is not followed: it would send the credentials elsewhere.
    const wrong = wrongAnswer(answer.statusCode ?? 0, answer.headers['content-type']);
    if (wrong !== undefined) {
      this.#end(wrong);
      return;
    }
    if (this.#isOver) return;
    open?.();
    this.#read(answer);
  }

  async #ask(): Promise<IncomingMessage> {
    const { url, agent, headers } = this.#options;
    this.#sent = openRequest(targetOf(url), {
      path: url.pathname + url.search,
      agent,
      headers: { accept: 'text/event-stream', ...headers },
    });
    const sent = this.#sent;
    this.#gone = new Promise((resolve) => sent.once('close', resolve));
    const answer = answerTo(sent);
    sent.end();
    return answer;
  }

  #read(answer: IncomingMessage): void {
    const { clock, batched, data, filter } = this.#options;
    const decoder = new TextDecoder();
    const parser = createParser({
      maxBufferSize: MAX_UNFINISHED_CHARS,
      onError: ({ type }) => {
        if (type !== 'max-buffer-size-exceeded') return;
        this.#end({ why: 'failed', reason: 'a frame of it has no end' });
      },
      onEvent: ({ event, data: text }) => {
        if (!this.#isOver && (event === undefined || event === 'message')) data(text);
      },
    });
    if (batched) readInBatches(answer, clock);
    answer.on('data', (bytes: Buffer) => {
      if (this.#isOver) return;
      try {
        const passed = filter === undefined ? bytes : filter(bytes);
        if (passed) parser.feed(decoder.decode(passed, { stream: true }));
      } catch (error) {
        this.#end({ why: 'failed', reason: `could not be read: ${messageOf(error)}` });
      }
    });
    answer.on('end', () => this.#end({ why: 'ended', reason: 'the server ended it' }));
    answer.on('error', (error) => {
      const { code, message } = error as NodeJS.ErrnoException;
      const reason = code === 'ECONNRESET' ? 'the connection broke' : message;
      this.#end({ why: 'failed', reason });
    });
  }

  #end(end: ConnectionEnd): void {
    if (this.#isOver) return;
    void this.close();
    this.#options.end(end);
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
