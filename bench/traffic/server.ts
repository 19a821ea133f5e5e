/** The traffic server's HTTP side: opencode 1.18.33's routes that the watchdog asks, over the fake state, and its event stream. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { FakeServerState, FakeSession } from './fake-server-state.js';
import * as frames from './frames.js';
import { type Frame, json } from './frames.js';

const HEARTBEAT_MS = 10_000;

export class TrafficServer {
  /** `sync` frames, and all bytes of the streams. */
  readonly counts = { syncs: 0, bytes: 0, connections: 0, worstUnread: 0 };
  /** Requests by their route. */
  readonly requests: Record<string, number> = {};
  readonly #state: FakeServerState;
  readonly #streams = new Set<ServerResponse>();
  readonly #directory: string;
  #server: Server | undefined;
  #heartbeat: NodeJS.Timeout | undefined;

  constructor(state: FakeServerState, directory: string) {
    this.#state = state;
    this.#directory = directory;
  }

  async listen(port: number): Promise<number> {
    const server = createServer((req, res) => this.#answer(req, res));
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(port, '127.0.0.1', resolve);
    });
    this.#heartbeat = setInterval(() => this.#write(frames.heartbeat()), HEARTBEAT_MS);
    const address = server.address();
    return typeof address === 'object' && address !== null ? address.port : port;
  }

  async close(): Promise<void> {
    clearInterval(this.#heartbeat);
    const { promise, resolve } = withResolvers();
    if (this.#server === undefined) return;
    this.#server.close(() => resolve());
    this.#server.closeAllConnections();
    await promise;
  }

  /** The streams break off. */
  cut(): void {
    for (const stream of this.#streams) stream.destroy();
  }

  send({ text, sync }: Frame): void {
    this.#write(text);
    if (sync === undefined) return;
    this.counts.syncs += 1;
    this.#write(sync);
  }

  #write(text: string): void {
    for (const stream of this.#streams) {
      stream.write(text);
      this.counts.bytes += text.length;
      if (stream.writableLength > this.counts.worstUnread) {
        this.counts.worstUnread = stream.writableLength;
      }
    }
  }

  #answer(req: IncomingMessage, res: ServerResponse): void {
    const { pathname, searchParams } = new URL(req.url ?? '/', 'http://127.0.0.1');
    const directory = searchParams.get('directory') ?? this.#directory;
    const [, room = '', id = '', rest = ''] = pathname.split('/');
    const route = id.startsWith('ses_') ? `/${room}/:id/${rest}` : pathname;
    this.requests[route] = (this.requests[route] ?? 0) + 1;
    if (pathname === '/global/event') {
      this.#open(res);
      return;
    }
    const fixed = this.#fixed(pathname, directory, searchParams);
    if (fixed !== undefined) {
      give(res, fixed);
      return;
    }
    const session = room === 'session' ? this.#state.sessions.get(id) : undefined;
    if (rest === 'abort') this.#abort(session, directory, res);
    else if (session === undefined || session.deleted) {
      give(res, json({ name: 'NotFoundError', data: { message: 'not found' } }), 404);
    } else give(res, rest === 'message' ? transcript(session) : session.info());
  }

  /** The routes that are about no one session. */
  #fixed(pathname: string, directory: string, query: URLSearchParams): string | undefined {
    switch (pathname) {
      case '/global/health':
        return '{"healthy":true,"version":"1.18.33"}';
      case '/path':
        return json({ directory: this.#directory, state: '/s', config: '/c' });
      case '/session/status':
        return this.#state.statuses(directory);
      case '/permission':
        return this.#state.pendingIn(directory, 'permission');
      case '/question':
        return this.#state.pendingIn(directory, 'question');
      case '/experimental/session':
      case '/session':
        return this.#list(Number(query.get('limit') ?? 100));
      default:
        return undefined;
    }
  }

  #list(limit: number): string {
    const sessions = [...this.#state.sessions.values()].filter(({ deleted }) => !deleted);
    return `[${sessions
      .slice(-limit)
      .reverse()
      .map((session) => session.info())
      .join(',')}]`;
  }

  #abort(session: FakeSession | undefined, directory: string, res: ServerResponse): void {
    if (session?.run && session.directory === directory) {
      this.#state.judge(session, performance.now());
      const { deleted } = session;
      session.run.cancel();
      const data = { message: 'Aborted' };
      this.send(frames.error(session, { name: 'MessageAbortedError', data }));
      this.send(frames.status(session, '{"type":"idle"}'));
      this.send(frames.idle(session));
      if (!deleted) this.send(frames.sessionEvent(session, 'updated', session.info()));
    } else if (session) {
      // Nothing runs there (any more): the run may have ended in the same moment.
      this.#state.findings.aborts += 1;
    }
    give(res, 'true');
  }

  #open(res: ServerResponse): void {
    this.counts.connections += 1;
    res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
    res.write(frames.connected());
    this.#streams.add(res);
    res.once('close', () => this.#streams.delete(res));
  }
}

function transcript({ messages }: FakeSession): string {
  const shown = messages.map(
    ({ info, parts }) =>
      `{"info":${info},"parts":[${[...parts.values()].map((part) => part()).join(',')}]}`,
  );
  return `[${shown.join(',')}]`;
}

function give(res: ServerResponse, body: string, statusCode = 200): void {
  const length = Buffer.byteLength(body);
  res.writeHead(statusCode, { 'content-type': 'application/json', 'content-length': length });
  res.end(body);
}

function withResolvers(): { promise: Promise<void>; resolve: () => void } {
  let resolve: () => void = () => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
