/**
 * A GET whose answer has no end, read straight from its socket into one buffer.
 *
 * Node's HTTP client hands over each chunk by itself, through two streams and as a buffer of its own; an event stream
 * has a chunk for each frame, and reading the bytes cost more than all that is done with them (`bench/events.ts`). So
 * this speaks as much of HTTP/1.1 as one answer needs: no redirects, no reuse of the connection, no coding but chunks.
 */
import { Buffer } from 'node:buffer';
import { connect, isIP, type OnReadOpts, type Socket } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import { AnswerBody } from './answer-body.js';
import { type AnswerHead, readAnswerHead } from './answer-head.js';
import { targetOf } from './node-http.js';

/** One read of the socket. */
const READ_BYTES = 64 * 1024;

export interface EndlessGetOptions {
  url: URL;
  headers: Readonly<Record<string, string>>;
  /** False: the body is not wanted, and nothing more is told. */
  head(head: AnswerHead): boolean;
  /** A piece of the body. The bytes are others as soon as this returns. */
  body(bytes: Buffer, from: number, to: number): void;
  /** Before what is in a read is told; `drained`: nothing more was there to be read. */
  read?(bytes: number, drained: boolean): void;
  /** Told once: whole, or with what went wrong; not after `destroy`. */
  end(error?: Error): void;
}

export class EndlessGet {
  readonly #options: EndlessGetOptions;
  readonly #socket: Socket;
  /** Settles when the connection is gone. */
  readonly gone: Promise<void>;
  /** What came of the head; undefined when the body has begun. */
  #head: Buffer | undefined = Buffer.alloc(0);
  #body: AnswerBody | undefined;
  #isOver = false;

  constructor(options: EndlessGetOptions) {
    this.#options = options;
    const { url } = options;
    this.#socket = open(url, {
      buffer: Buffer.allocUnsafeSlow(READ_BYTES),
      callback: (count, bytes) => {
        this.#take(bytes as Buffer, count);
        return true;
      },
    });
    const socket = this.#socket;
    this.gone = new Promise((resolve) => socket.once('close', () => resolve()));
    socket.on('error', (error) => this.#end(error));
    socket.on('end', () => this.#closed());
    socket.on('close', () => this.#closed());
    socket.write(requestOf(options));
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Nothing is told any more. */
  destroy(): void {
    this.#isOver = true;
    this.#socket.destroy();
  }

  #take(bytes: Buffer, count: number): void {
    if (this.#isOver) return;
    try {
      this.#options.read?.(count, count < bytes.length);
      const from = this.#head === undefined ? 0 : this.#readHead(bytes, count);
      if (from < count) this.#readBody(bytes, from, count);
    } catch (error) {
      this.#end(error as Error);
    }
  }

  /** Gives where in these bytes the body begins. */
  #readHead(bytes: Buffer, count: number): number {
    const before = this.#head?.length ?? 0;
    const all = Buffer.concat([this.#head ?? bytes, bytes.subarray(0, count)]);
    const head = readAnswerHead(all);
    this.#head = head ? undefined : all;
    if (head === undefined) return count;
    this.#body = new AnswerBody(head.framing);
    if (!this.#options.head(head)) this.destroy();
    return head.bodyFrom - before;
  }

  #readBody(bytes: Buffer, from: number, to: number): void {
    if (this.#isOver) return;
    this.#body?.push(bytes, from, to, this.#piece);
    if (this.#body?.isWhole) this.#end();
  }

  readonly #piece = (bytes: Buffer, from: number, to: number): void => {
    if (!this.#isOver) this.#options.body(bytes, from, to);
  };

  /** The other side has said its last word. */
  #closed(): void {
    this.#end(this.#body?.endsByClose ? undefined : new Error('the connection broke'));
  }

  #end(error?: Error): void {
    if (this.#isOver) return;
    this.destroy();
    this.#options.end(error);
  }
}

function open(url: URL, onread: OnReadOpts): Socket {
  const { protocol, hostname: host, port } = targetOf(url);
  if (protocol !== 'https:') return connect({ host, port: Number(port || 80), onread });
  // Not loaded for a server on plain HTTP: TLS alone is 3 MB.
  const tls = process.getBuiltinModule('node:tls');
  // `onread` is known to Node (it is taken as `net.connect` takes it), not to its types.
  const options: ConnectionOptions & { onread: OnReadOpts } = {
    host,
    port: Number(port || 443),
    ALPNProtocols: ['http/1.1'],
    ...(isIP(host) === 0 && { servername: host }),
    onread,
  };
  return tls.connect(options);
}

/** RFC 9112, section 3. A URL's parts hold no line ends, and neither may the headers. */
function requestOf({ url, headers }: EndlessGetOptions): string {
  const all = { host: url.host, connection: 'close', ...headers };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`);
  if (lines.some((line) => /[\r\n\0]/.test(line))) throw new Error('a header has more than a line');
  return `GET ${url.pathname}${url.search} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`;
}
