/**
 * GETs over connections that are kept, for the few small ones that are asked every few seconds for weeks: through Node's
 * HTTP client each costs three times as much CPU, which is most of what an idle daemon does.
 *
 * It answers only where nothing is out of the ordinary. Everything else (no connection to be had, one that breaks, an
 * answer that it does not take) is `undefined`, and asked again by Node's client, which then says what is wrong.
 */
import { Buffer } from 'node:buffer';
import { connect, type Socket } from 'node:net';
import type { Clock } from '../../lib/clock.js';
import { AnswerBody } from './answer-body.js';
import { type AnswerHead, type Framing, readAnswerHead } from './answer-head.js';

/** As many as polls and a probe need at a time. */
export const MAX_KEPT = 5;
const READ_BYTES = 16 * 1024;
/** What the path of a request line may hold (RFC 9112, section 3.2), no space and no line's end above all. */
const PATH = /^[\x21-\x7e]+$/;
/** These have no body, and say nothing of its length (RFC 9112, section 6.3). */
const NO_BODY = new Set([204, 304]);

export interface KeptAnswer {
  status: number;
  contentType: string;
  /** Undefined where it is longer than was asked for. */
  text: string | undefined;
}

export interface KeptGetsOptions {
  host: string;
  port: number;
  /** Including `host`; without a line's end in any. */
  headers: Readonly<Record<string, string>>;
  /** A connection that was idle for longer is not trusted any more. */
  keptMs: number;
  clock: Clock;
}

export class KeptGets {
  readonly #options: KeptGetsOptions;
  readonly #fields: string;
  readonly #all = new Set<KeptConnection>();
  /** The last used is the last. */
  readonly #idle: KeptConnection[] = [];
  #isAllowed = false;

  constructor(options: KeptGetsOptions) {
    this.#options = options;
    const fields = Object.entries(options.headers);
    this.#fields = fields.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  }

  /** The server answers as it should: from now on connections to it are worth keeping. */
  allow(): void {
    this.#isAllowed = true;
  }

  /** Undefined where it is to be asked otherwise; `begun` gets what ends the asking. */
  async get(
    path: string,
    maxBytes: number,
    begun: (asking: { destroy(): void }) => void,
  ): Promise<KeptAnswer | undefined> {
    if (!this.#isAllowed || !PATH.test(path)) return undefined;
    const connection = this.#take();
    if (connection === undefined) return undefined;
    begun(connection);
    const answer = await connection.ask(`GET ${path} HTTP/1.1\r\n${this.#fields}\r\n`, maxBytes);
    // Whatever it was, Node's client is to see to it first.
    if (answer === undefined) this.#isAllowed = false;
    if (!connection.isGone) this.#idle.push(connection);
    return answer;
  }

  close(): void {
    this.#isAllowed = false;
    for (const connection of this.#all) connection.destroy();
  }

  #take(): KeptConnection | undefined {
    const { host, port, keptMs, clock } = this.#options;
    for (let kept = this.#idle.pop(); kept !== undefined; kept = this.#idle.pop()) {
      if (!kept.isGone && clock.now() - kept.usedAt <= keptMs) return kept;
      kept.destroy();
    }
    if (this.#all.size >= MAX_KEPT) return undefined;
    const made: KeptConnection = new KeptConnection({
      host,
      port,
      clock,
      gone: () => this.#all.delete(made),
    });
    this.#all.add(made);
    return made;
  }
}

interface Asking {
  maxBytes: number;
  settle(answer: KeptAnswer | undefined): void;
}

class KeptConnection {
  readonly #socket: Socket;
  readonly #clock: Clock;
  #asking: Asking | undefined;
  /** What came of the head. */
  #before: Buffer = Buffer.alloc(0);
  #head: AnswerHead | undefined;
  #body: AnswerBody | undefined;
  #pieces: Buffer[] = [];
  #size = 0;
  usedAt = 0;
  isGone = false;

  constructor(o: { host: string; port: number; clock: Clock; gone: () => void }) {
    this.#clock = o.clock;
    this.#socket = connect({
      host: o.host,
      port: o.port,
      noDelay: true,
      onread: {
        buffer: Buffer.allocUnsafeSlow(READ_BYTES),
        callback: (count, bytes) => {
          this.#read((bytes as Buffer).subarray(0, count));
          return true;
        },
      },
    });
    const end = () => {
      o.gone();
      this.destroy();
    };
    this.#socket.on('error', end).on('end', end).on('close', end);
  }

  ask(request: string, maxBytes: number): Promise<KeptAnswer | undefined> {
    this.#before = Buffer.alloc(0);
    this.#head = undefined;
    this.#body = undefined;
    this.#pieces = [];
    this.#size = 0;
    return new Promise((settle) => {
      this.#asking = { maxBytes, settle };
      this.#socket.ref();
      this.#socket.write(request, 'latin1');
    });
  }

  destroy(): void {
    this.isGone = true;
    this.#socket.destroy();
    this.#settle(undefined);
  }

  #settle(answer: KeptAnswer | undefined): void {
    const asking = this.#asking;
    this.#asking = undefined;
    this.usedAt = this.#clock.now();
    // What is kept must not keep the process.
    this.#socket.unref();
    asking?.settle(answer);
  }

  #read(bytes: Buffer): void {
    try {
      // Nobody asked: whatever it is, it would be taken for the next answer.
      if (this.#asking === undefined) this.destroy();
      else this.#take(this.#asking, bytes);
    } catch {
      this.destroy();
    }
  }

  #take(asking: Asking, bytes: Buffer): void {
    let from = 0;
    let all = bytes;
    if (this.#head === undefined) {
      if (this.#before.length > 0) all = Buffer.concat([this.#before, bytes]);
      this.#head = readAnswerHead(all);
      if (this.#head === undefined) {
        this.#before = Buffer.from(all);
        return;
      }
      from = this.#head.bodyFrom;
    }
    const { status, contentType = '' } = this.#head;
    this.#body ??= new AnswerBody(framingOf(this.#head));
    this.#body.push(all, from, all.length, this.#keep);
    if (this.#body.endsByClose) {
      // Node's client can wait for that as well.
      this.destroy();
    } else if (this.#size > asking.maxBytes) {
      this.#settle({ status, contentType, text: undefined });
      this.destroy();
    } else if (this.#body.isWhole) {
      const text = Buffer.concat(this.#pieces).toString('utf8');
      this.#pieces = [];
      this.#settle({ status, contentType, text });
    }
  }

  /** The bytes are others as soon as this read is over. */
  readonly #keep = (bytes: Buffer, from: number, to: number): void => {
    this.#pieces.push(Buffer.from(bytes.subarray(from, to)));
    this.#size += to - from;
  };
}

function framingOf({ status, framing }: AnswerHead): Framing {
  return framing.by !== 'chunks' && NO_BODY.has(status) ? { by: 'length', bytes: 0 } : framing;
}
