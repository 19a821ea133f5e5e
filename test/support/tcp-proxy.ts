/**
 * A TCP proxy that misbehaves on request, between a client and a real server.
 *
 * Of HTTP it knows only the heads of requests, which it can report. It decides for each chunk what to do to a
 * connection. So a mode that is set while a stream is open affects that stream too.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { pause } from './wait.js';

export type ProxyMode =
  | { kind: 'pass' }
  /** Each chunk arrives this much later, in order. */
  | { kind: 'delay'; ms: number }
  /** Connections are accepted. Nothing passes in either direction until the mode changes. */
  | { kind: 'blackhole' }
  /** The server's side ends properly, but after this many bytes, in the middle of a body. */
  | { kind: 'truncate'; bytes: number }
  /** Like `truncate`, but with a RST. */
  | { kind: 'reset'; bytes: number }
  /**
   * Such requests are answered with `true`, as opencode answers, and are not passed on. Needs one request at a time on
   * a connection.
   */
  | { kind: 'swallow'; requests(method: string, path: string): boolean }
  /** Nothing listens on the port. */
  | { kind: 'refuse' };

export interface ProxyOptions {
  /** The port on 127.0.0.1 that traffic is passed on to. */
  target: number;
  /** The port to listen on. Default: any free one. */
  port?: number;
  /** The address from which the target is called, for rules that tell the proxy's connections from others. */
  localAddress?: string;
  /** Called for each request's head that arrives, whether or not it is passed on. */
  onRequest?(method: string, path: string): void;
}

interface Pair {
  client: Socket;
  upstream: Socket;
  /** Bytes of the server's that were passed on to the client. */
  answered: number;
}

const REQUEST = /\b(GET|POST|DELETE|PUT|PATCH) (\/\S*) HTTP\/1\.1\r\n/g;
const TRUE = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 4\r\n\r\ntrue';
/**
 * A RST overtakes data that is still on its way, or is taken for an end. This is the time for the data to arrive first.
 */
const ARRIVES_MS = 30;
/** How often a held chunk is checked for whether it may pass. */
const POLL_MS = 20;

export class TcpProxy {
  readonly #options: ProxyOptions;
  readonly #pairs = new Set<Pair>();
  #server: Server | undefined;
  #port = 0;
  #mode: ProxyMode = { kind: 'pass' };
  #followed = true;
  #stopped = false;
  #settling: Promise<void> = Promise.resolve();

  private constructor(options: ProxyOptions) {
    this.#options = options;
  }

  static async start(options: ProxyOptions): Promise<TcpProxy> {
    const proxy = new TcpProxy(options);
    await proxy.#listen(options.port ?? 0);
    return proxy;
  }

  get port(): number {
    return this.#port;
  }
  get mode(): ProxyMode {
    return this.#mode;
  }
  get connections(): number {
    return this.#pairs.size;
  }

  /** Resolves when the mode is in force. */
  async set(mode: ProxyMode): Promise<void> {
    this.#mode = mode;
    for (const pair of this.#pairs) pair.answered = 0;
    if (mode.kind === 'refuse') this.cut();
    await this.#settle();
  }

  /** Makes the proxy listen only while its target listens, so that it goes unnoticed. */
  async follow(listening: boolean): Promise<void> {
    if (this.#followed === listening) return;
    this.#followed = listening;
    await this.#settle();
  }

  /** Ends every open connection, as a restarted router would. */
  cut(how: 'close' | 'reset' = 'close'): void {
    for (const { client, upstream } of this.#pairs) {
      if (how === 'reset') client.resetAndDestroy();
      else client.destroy();
      upstream.destroy();
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#mode = { kind: 'pass' };
    this.cut('reset');
    await this.#settle();
  }

  /** Starts or stops listening, as mode, `follow` and `stop` together demand, one change after the other. */
  #settle(): Promise<void> {
    this.#settling = this.#settling.then(async () => {
      const wanted = !this.#stopped && this.#followed && this.#mode.kind !== 'refuse';
      if (wanted === (this.#server !== undefined)) return;
      if (wanted) await this.#listen(this.#port);
      else await this.#unlisten();
    });
    return this.#settling;
  }

  async #listen(port: number): Promise<void> {
    const server = createServer((client) => this.#accept(client));
    this.#server = server;
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    this.#port = (server.address() as AddressInfo).port;
  }

  /** The port is free at once. Accepted connections continue. */
  async #unlisten(): Promise<void> {
    this.#server?.close();
    this.#server = undefined;
  }

  #accept(client: Socket): void {
    const { target, localAddress, onRequest } = this.#options;
    const upstream = connect({
      host: '127.0.0.1',
      port: target,
      ...(localAddress !== undefined && { localAddress }),
    });
    const pair: Pair = { client, upstream, answered: 0 };
    this.#pairs.add(pair);
    const end = () => {
      this.#pairs.delete(pair);
      upstream.destroy();
    };
    client.on('close', end).on('error', end);
    // Nothing listens there: the client must see a broken connection, as it would without us.
    upstream.on('error', () => client.resetAndDestroy());
    client.on('data', (chunk) => {
      if (onRequest === undefined) return;
      for (const [method, path] of requestsIn(chunk)) onRequest(method, path);
    });
    this.#forward(pair, client, upstream);
    this.#forward(pair, upstream, client);
  }

  /** Passes on what arrives, in order, each chunk when the mode allows it. */
  #forward(pair: Pair, from: Socket, to: Socket): void {
    let queue: Promise<unknown> = Promise.resolve();
    let waiting = 0;
    from.on('data', (chunk: Buffer) => {
      const arrived = performance.now();
      waiting += 1;
      from.pause();
      queue = queue.then(async () => {
        waiting -= 1;
        await this.#hold(arrived, to);
        if (from === pair.client && this.#isSwallowed(chunk)) from.write(TRUE);
        else if (!to.destroyed) this.#write(pair, chunk, to);
        if (waiting === 0) from.resume();
      });
      // A delay holds what has arrived, not what is still to come. Otherwise a stream of many chunks would slow to a
      // crawl.
      if (this.#mode.kind === 'delay') from.resume();
    });
    from.on('end', () => {
      queue = queue.then(async () => {
        await this.#hold(performance.now(), to);
        to.end();
      });
    });
  }

  #isSwallowed(chunk: Buffer): boolean {
    const { mode } = this;
    if (mode.kind !== 'swallow') return false;
    return requestsIn(chunk).some(([method, path]) => mode.requests(method, path));
  }

  async #hold(arrived: number, to: Socket): Promise<void> {
    for (;;) {
      const mode = this.#mode;
      if (to.destroyed) return;
      if (mode.kind === 'blackhole') await pause(POLL_MS);
      else if (mode.kind === 'delay' && performance.now() - arrived < mode.ms) {
        await pause(Math.min(POLL_MS, mode.ms - (performance.now() - arrived)));
      } else return;
    }
  }

  #write(pair: Pair, chunk: Buffer, to: Socket): void {
    const { mode } = this;
    if (to !== pair.client || (mode.kind !== 'truncate' && mode.kind !== 'reset')) {
      to.write(chunk);
      return;
    }
    const left = Math.max(0, mode.bytes - pair.answered);
    pair.answered += chunk.length;
    if (chunk.length <= left) {
      to.write(chunk);
      return;
    }
    const { client, upstream } = pair;
    if (mode.kind === 'reset') {
      client.write(chunk.subarray(0, left));
      setTimeout(() => client.resetAndDestroy(), ARRIVES_MS);
    } else {
      client.end(chunk.subarray(0, left), () => client.destroy());
    }
    upstream.destroy();
  }
}

/** Method and path of each request whose head is in the chunk. */
function requestsIn(chunk: Buffer): [method: string, path: string][] {
  return Array.from(chunk.toString('latin1').matchAll(REQUEST), ([, method = '', path = '']) => [
    method,
    path,
  ]);
}
