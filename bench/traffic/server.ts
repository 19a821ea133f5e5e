/** The traffic server's HTTP side: the routes that the watchdog uses, over the fake state, and the event stream. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { FakeServerState, FakeSession } from './fake-server-state.js';
import * as frames from './frames.js';
import { type Frame, json } from './frames.js';

const HEARTBEAT_MS = 10_000;

/** What differs between the versions of opencode. */
export interface Routes {
  readonly streamPath: string;
  /** The first frame of each stream. */
  readonly connected: string;
  readonly heartbeat: { text: string; everyMs: number };
  /** The route's name without ids, for the counts. */
  name(pathname: string): string;
  /** Answers any request except the stream's. */
  answer(req: IncomingMessage, url: URL, res: ServerResponse): void;
}

export class TrafficServer {
  /** `sync` frames, bytes and connections of all streams, and the most bytes that a reader was behind. */
  readonly counts = { syncs: 0, bytes: 0, connections: 0, worstUnread: 0 };
  /** How many requests came, by route. */
  readonly requests: Record<string, number> = {};
  readonly #routes: Routes;
  readonly #streams = new Set<ServerResponse>();
  #server: Server | undefined;
  #heartbeat: NodeJS.Timeout | undefined;

  constructor(routes: Routes) {
    this.#routes = routes;
  }

  async listen(port: number): Promise<number> {
    const server = createServer((req, res) => this.#answer(req, res));
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(port, '127.0.0.1', resolve);
    });
    const { text, everyMs } = this.#routes.heartbeat;
    this.#heartbeat = setInterval(() => this.#write(text), everyMs);
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

  /** Breaks off all streams. */
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
    const url = new URL(req.url ?? '/', 'http://127.0.0.1');
    const route = this.#routes.name(url.pathname);
    this.requests[route] = (this.requests[route] ?? 0) + 1;
    if (url.pathname === this.#routes.streamPath) this.#open(res);
    else this.#routes.answer(req, url, res);
  }

  #open(res: ServerResponse): void {
    this.counts.connections += 1;
    res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
    res.write(this.#routes.connected);
    this.#streams.add(res);
    res.once('close', () => this.#streams.delete(res));
  }
}

/** The routes of opencode 1.18.33. */
export class Routes1 implements Routes {
  readonly streamPath = '/global/event';
  readonly connected = frames.connected();
  readonly heartbeat = { text: frames.heartbeat(), everyMs: HEARTBEAT_MS };
  readonly #state: FakeServerState;
  readonly #send: (frame: Frame) => void;
  readonly #directory: string;

  constructor(state: FakeServerState, send: (frame: Frame) => void, directory: string) {
    this.#state = state;
    this.#send = send;
    this.#directory = directory;
  }

  name(pathname: string): string {
    const [, room = '', id = '', rest = ''] = pathname.split('/');
    return id.startsWith('ses_') ? `/${room}/:id/${rest}` : pathname;
  }

  answer(_req: IncomingMessage, { pathname, searchParams }: URL, res: ServerResponse): void {
    const directory = searchParams.get('directory') ?? this.#directory;
    const [, room = '', id = '', rest = ''] = pathname.split('/');
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

  /** The routes that are not about one session. */
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
      this.#send(frames.error(session, { name: 'MessageAbortedError', data }));
      this.#send(frames.status(session, '{"type":"idle"}'));
      this.#send(frames.idle(session));
      if (!deleted) this.#send(frames.sessionEvent(session, 'updated', session.info()));
    } else if (session) {
      // No run (any more): it may have ended at the same moment.
      this.#state.findings.aborts += 1;
    }
    give(res, 'true');
  }
}

function transcript({ messages }: FakeSession): string {
  const shown = messages.map(
    ({ info, parts }) =>
      `{"info":${info},"parts":[${[...parts.values()].map((part) => part()).join(',')}]}`,
  );
  return `[${shown.join(',')}]`;
}

export function give(res: ServerResponse, body: string, statusCode = 200): void {
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
