/**
 * A scriptable fake opencode server, for faults that a real one cannot be made to show.
 *
 * It holds sessions whose status the test sets, streams what the test emits, and answers each route well until a
 * `fault` says otherwise. It behaves like 1.18: an unknown route gets the web app's HTML, an abort answers true
 * whatever it did, a delete stops no run.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { findRoute, type Route, RouteError, routes, taken } from './fake-opencode-routes.js';
import { FakeState } from './fake-opencode-state.js';
import { authHeader } from './opencode-api.js';
import { pause } from './wait.js';

export type {
  AbortBehaviour,
  FakePending,
  FakeSession,
  FakeStatus,
} from './fake-opencode-state.js';
export type { FakeEvent } from './fake-opencode-streams.js';

export interface FakeOpencodeOptions {
  version?: string;
  password?: string;
  username?: string;
  port?: number;
  /** The server's working directory. */
  directory?: string;
  /** False: `/global/event` is an unknown route, as in 1.0.0. */
  globalEvent?: boolean;
  /** As in 1.14.48: `/event` sends `server.connected` and ends. */
  eventEndsAtOnce?: boolean;
  /** Null: no heartbeat, as in 1.0.0. */
  heartbeatMs?: number | null;
}

export interface Fault {
  status?: number;
  /** A string is sent unchanged, anything else as JSON. */
  body?: unknown;
  contentType?: string;
  /** A delay before the answer: the faulty one if there is a `status` or `body`, else the good one. */
  delayMs?: number;
  /** Accept the request, and never answer. */
  hang?: boolean;
  /** Cut the connection without an answer. */
  cut?: boolean;
  /** Do what was asked, and cut the connection instead of the answer. */
  answerLost?: boolean;
  /** How often the fault applies. Default: until it is cleared. */
  times?: number;
}

export interface FakeRequest {
  method: string;
  path: string;
  /** The route's name, e.g. `GET /session/:id`; undefined for an unknown one. */
  route: string | undefined;
  query: Record<string, string>;
  /** Without `authorization`. */
  headers: Record<string, string | string[] | undefined>;
  body: Record<string, unknown>;
  at: number;
}

/** Status answers that are held back: see `holdStatus`. */
export interface StatusHold {
  /** How many polls are waiting; their answers are already computed. */
  readonly held: number;
  release(): void;
}

const WEB_APP = '<!doctype html><html><body>opencode</body></html>';

export class FakeOpencode extends FakeState {
  readonly requests: FakeRequest[] = [];
  eventEndsAtOnce: boolean;
  globalEvent: boolean;
  version: string;
  private readonly faults = new Map<string, Fault>();
  private hold: { count: number; released: Promise<void> } | undefined;

  constructor(
    private readonly server: Server,
    private readonly options: FakeOpencodeOptions,
  ) {
    const { directory = '/fake/project', heartbeatMs = 200 } = options;
    super(directory, heartbeatMs);
    this.eventEndsAtOnce = options.eventEndsAtOnce ?? false;
    this.globalEvent = options.globalEvent ?? true;
    this.version = options.version ?? '1.18.33';
    server.on('request', (req: IncomingMessage, res: ServerResponse) => {
      this.handle(req, res).catch((error: unknown) => {
        const [status, name] =
          error instanceof RouteError ? [error.status, 'NotFoundError'] : [500, 'Error'];
        send(res, status, { name, data: { message: String(error) } });
      });
    });
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** How many event streams are open. */
  get listeners(): number {
    return this.streams.size;
  }

  /** Makes a route (`GET /session/:id`, or `*` for all) faulty. Returns a function that removes the fault. */
  fault(route: string, fault: Fault): () => void {
    if (route !== '*' && !routes[route]) throw new Error(`no such route: ${route}`);
    this.faults.set(route, { ...fault });
    return () => this.faults.delete(route);
  }

  clearFaults(): void {
    this.faults.clear();
  }

  /**
   * From now on `GET /session/status` computes its answer at once, but sends it only after `release`. So a test can let
   * an event overtake a poll.
   */
  holdStatus(): StatusHold {
    let release = () => {};
    const hold = {
      count: 0,
      released: new Promise<void>((resolve) => {
        release = resolve;
      }),
    };
    this.hold = hold;
    return {
      get held() {
        return hold.count;
      },
      release: () => {
        if (this.hold === hold) this.hold = undefined;
        hold.count = 0;
        release();
      },
    };
  }

  /** Every stream ends cleanly, as when the server closes it. */
  endStreams(): void {
    this.streams.end();
  }

  /** The open streams stay open and send nothing more. With `future`, new streams send nothing either. */
  silenceStreams({ future = false } = {}): void {
    this.streams.silence();
    this.streams.muteNew = future;
  }

  /** How often a route was called. */
  count(route: string): number {
    return this.requests.filter((request) => request.route === route).length;
  }

  async stop(): Promise<void> {
    const closed = once(this.server, 'close');
    this.streams.close();
    this.server.close();
    this.server.closeAllConnections();
    await closed;
  }

  private async handle(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(req.url ?? '/', 'http://fake');
    const method = req.method ?? 'GET';
    const { authorization, ...headers } = req.headers;
    const raw = await text(req);
    const body = (raw ? JSON.parse(raw) : {}) as Record<string, unknown>;
    const found = findRoute(method, pathname);
    const known = found?.name === 'GET /global/event' && !this.globalEvent ? undefined : found;
    const query = Object.fromEntries(searchParams);
    const route = known?.name;
    this.requests.push({ method, path: pathname, route, query, headers, body, at: Date.now() });

    const { password, username } = this.options;
    if (password && authorization !== authHeader(password, username).authorization) {
      res.writeHead(401, { 'www-authenticate': 'Basic realm="Secure Area"' }).end();
      return;
    }
    const fault = this.nextFault(route);
    if (fault && (await spoil(res, fault))) return;
    if (!known) return send(res, 200, WEB_APP, 'text/html');

    const header = headers['x-opencode-directory'];
    const named = query.directory ?? (typeof header === 'string' ? header : undefined);
    const handler = routes[known.name] as Route;
    const answer = await handler({
      state: this,
      version: this.version,
      eventEndsAtOnce: this.eventEndsAtOnce,
      id: known.id,
      directory: named ?? this.directory,
      named,
      body,
      res,
    });
    if (answer === taken) return;
    // Serialised here, before a hold: changes of the state during the hold must not show in the answer.
    const json = answer === undefined ? undefined : JSON.stringify(answer);
    if (route === 'GET /session/status' && this.hold) {
      this.hold.count += 1;
      await this.hold.released;
    }
    if (fault?.answerLost) res.destroy();
    else if (json === undefined) res.writeHead(204).end();
    else send(res, 200, json, 'application/json');
  }

  /** The fault that applies to this request; it is counted. */
  private nextFault(route: string | undefined): Fault | undefined {
    const name = route !== undefined && this.faults.has(route) ? route : '*';
    const fault = this.faults.get(name);
    if (fault?.times !== undefined) {
      fault.times -= 1;
      if (fault.times <= 0) this.faults.delete(name);
    }
    return fault;
  }
}

/** Returns true if the fault has dealt with the request. */
async function spoil(res: ServerResponse, fault: Fault): Promise<boolean> {
  if (fault.cut) res.destroy();
  if (fault.cut || fault.hang) return true;
  if (fault.delayMs) await pause(fault.delayMs);
  if (fault.status === undefined && fault.body === undefined) return false;
  send(res, fault.status ?? 200, fault.body ?? { message: 'a fault' }, fault.contentType);
  return true;
}

function send(res: ServerResponse, status: number, body: unknown, contentType?: string): void {
  if (res.destroyed || res.headersSent) return;
  res.writeHead(status, { 'content-type': contentType ?? 'application/json' });
  res.end(typeof body === 'string' ? body : JSON.stringify(body));
}

export async function startFakeOpencode(options: FakeOpencodeOptions = {}): Promise<FakeOpencode> {
  const server = createServer();
  server.listen(options.port ?? 0, '127.0.0.1');
  await once(server, 'listening');
  return new FakeOpencode(server, options);
}
