/** One connection to an event stream: frames come as text, and its end is told once. It never reconnects. */
import type { Buffer } from 'node:buffer';
import { createParser } from 'eventsource-parser';
import type { Clock, Timer } from '../../lib/clock.js';
import { Batches } from './batches.js';
import { EndlessGet } from './endless-get.js';
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

/** Where a stream is opened, and with which credentials. */
export interface StreamTarget {
  url: URL;
  headers: Readonly<Record<string, string>>;
}

export interface EventConnectionOptions {
  /** Asked once, before the connection is made. */
  target: Promise<StreamTarget>;
  clock: Clock;
  /** What it says may wait for a few ms. */
  batched?: boolean;
  open?(): void;
  /** Bytes came, and are about to be read. */
  alive?(): void;
  /** Takes out what nobody needs to read; all of it is read where this is absent. */
  filter?(bytes: Buffer, from: number, to: number): Buffer | undefined;
  /** A frame's data. */
  data(text: string): void;
  end(end: ConnectionEnd): void;
}

export class EventConnection {
  readonly #options: EventConnectionOptions;
  #get: EndlessGet | undefined;
  readonly #late: Timer;
  readonly #batches: Batches;
  #isOpen = false;
  #isOver = false;

  constructor(options: EventConnectionOptions) {
    this.#options = options;
    const { clock } = options;
    this.#late = clock.after(HEADERS_TIMEOUT_MS, () =>
      this.#end({ why: 'headers', reason: `no answer within ${HEADERS_TIMEOUT_MS} ms` }),
    );
    this.#batches = new Batches(clock, {
      pause: () => this.#get?.pause(),
      resume: () => this.#get?.resume(),
    });
    options.target.then(
      (target) => this.#open(target),
      (error: unknown) => this.#end(connectFailure(error)),
    );
  }

  #open({ url, headers }: StreamTarget): void {
    if (this.#isOver) return;
    const { batched } = this.#options;
    this.#get = new EndlessGet({
      url,
      headers: { accept: 'text/event-stream', ...headers },
      head: ({ status, contentType }) => this.#answered(status, contentType),
      body: this.#reader(),
      read: (bytes, drained) => {
        if (this.#isOpen) this.#options.alive?.();
        if (batched) this.#batches.read(bytes, drained);
      },
      end: (error) => this.#end(this.#isOpen ? endOf(error) : connectFailure(error)),
    });
  }

  /** How long what it says may wait, ms: 0 where it is read at once. */
  get restMs(): number {
    return this.#batches.restMs;
  }

  /** Nothing is reported any more. Settles when the connection is gone. */
  close(): Promise<void> {
    this.#isOver = true;
    this.#late.cancel();
    this.#get?.destroy();
    return this.#get?.gone ?? Promise.resolve();
  }

  /** Whether the body is wanted. */
  #answered(status: number, contentType: string | undefined): boolean {
    // A redirect is not followed: it would send the credentials elsewhere.
    const wrong = wrongAnswer(status, contentType);
    if (wrong !== undefined) {
      this.#end(wrong);
      return false;
    }
    this.#late.cancel();
    this.#isOpen = true;
    this.#options.open?.();
    return !this.#isOver;
  }

  #reader(): (bytes: Buffer, from: number, to: number) => void {
    const { data, filter } = this.#options;
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
    return (bytes, from, to) => {
      try {
        const passed = filter === undefined ? bytes.subarray(from, to) : filter(bytes, from, to);
        if (passed) parser.feed(decoder.decode(passed, { stream: true }));
      } catch (error) {
        this.#end({ why: 'failed', reason: `could not be read: ${messageOf(error)}` });
      }
    };
  }

  #end(end: ConnectionEnd): void {
    if (this.#isOver) return;
    void this.close();
    this.#options.end(end);
  }
}

/** How a stream that was open ended. */
function endOf(error: Error | undefined): ConnectionEnd {
  if (error === undefined) return { why: 'ended', reason: 'the server ended it' };
  const { code, message } = error as NodeJS.ErrnoException;
  return { why: 'failed', reason: code === 'ECONNRESET' ? 'the connection broke' : message };
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
