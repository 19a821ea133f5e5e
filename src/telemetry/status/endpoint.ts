/**
 * The HTTP routes of the status endpoint. Everything is bounded: connections, time, headers, bodies, listeners. It runs
 * beside the watch in one process, so every answer is small work. There is no framework below: a dozen fixed routes need
 * none, and it would be the heaviest thing in an idle daemon.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { pageAssets } from './assets.js';
import type { Guard } from './guard.js';
import type { Metrics } from './metrics.js';
import type { ActResult, StatusSource } from './source.js';
import type { LiveStream } from './stream.js';
import type { StatusView } from './view.js';

export const LIMITS = {
  connections: 100,
  /** An act has no body worth the name. */
  bodyBytes: 1_024,
  headerBytes: 8_192,
  /** From the connection's first byte to the whole request. */
  requestMs: 3_000,
  idleMs: 15_000,
  /** Aborts on their way at a time, whoever asked for them. */
  acts: 16,
  /** The same answer serves every request that comes within this time. */
  freshMs: 250,
} as const;

const HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=()',
  'cache-control': 'no-store',
} as const;

export interface EndpointOptions {
  source: StatusSource;
  view: StatusView;
  metrics(): Promise<Metrics>;
  stream: LiveStream;
  guard: Guard;
  onError(err: unknown, doing: string): void;
}

interface Answer {
  status?: number;
  type?: string;
  /** An object is sent as JSON. */
  body: string | Buffer | object;
}

/** Undefined where the response is somebody else's from here on. */
type Route = (response: ServerResponse) => Answer | undefined | Promise<Answer | undefined>;

const JSON_TYPE = 'application/json; charset=utf-8';
const ACT_PATH = /^\/sessions\/([^/]*)\/abort$/;

/** Ready to listen; whoever calls says where. */
export function createEndpoint(options: EndpointOptions): Server {
  const fixed = new Map<string, Route>([
    ...healthRoutes(options.source),
    ...dataRoutes(options),
    ...pageRoutes(),
    ...actRoutes(options.source),
  ]);
  const abort = abortRoute(options.source);
  const routeOf = (method: string, path: string): Route | undefined => {
    const sessionID = method === 'POST' ? ACT_PATH.exec(path)?.[1] : undefined;
    return sessionID === undefined ? fixed.get(`${method} ${path}`) : () => abort(sessionID);
  };
  const server = createServer(
    {
      maxHeaderSize: LIMITS.headerBytes,
      headersTimeout: LIMITS.requestMs,
      requestTimeout: LIMITS.requestMs,
      connectionsCheckingInterval: 1_000,
      keepAliveTimeout: LIMITS.idleMs,
    },
    (request, response) => void respond(request, response, routeOf, options),
  );
  server.maxConnections = LIMITS.connections;
  // A connection on which nothing moves; the stream's pulse keeps its own alive.
  server.setTimeout(LIMITS.idleMs);
  return server;
}

async function respond(
  request: IncomingMessage,
  response: ServerResponse,
  routeOf: (method: string, path: string) => Route | undefined,
  { guard, onError }: EndpointOptions,
): Promise<void> {
  const { method = '', url = '', headers } = request;
  const path = url.split('?', 1)[0] ?? '';
  try {
    for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value);
    const verdict = guard.check(method, path, headers);
    if (!verdict.pass) {
      if (verdict.status === 401) {
        response.setHeader('www-authenticate', 'Basic realm="opencode-watchdog"');
      }
      return send(response, { status: verdict.status, body: { error: verdict.says } });
    }
    // As HTTP wants it: the same answer, whose body is not sent.
    const asked = method === 'HEAD' ? 'GET' : method;
    const route = routeOf(asked, path);
    if (route === undefined) {
      const says = `there is no ${method} ${url.slice(0, 100)}`;
      return send(response, { status: 404, body: { error: says } });
    }
    if (asked === 'POST' && !(await drained(request))) {
      response.setHeader('connection', 'close');
      return send(response, { status: 413, body: { error: 'an act takes no body' } });
    }
    const answer = await route(response);
    if (answer !== undefined) send(response, answer);
  } catch (error) {
    // Whoever asked has gone: nobody is left to be told, and nothing failed.
    if (request.destroyed && !request.complete) return;
    onError(error, `answering ${method} ${path.slice(0, 100)}`);
    if (response.headersSent) response.destroy();
    else send(response, { status: 500, body: { error: 'this failed; see the log' } });
  }
}

function send(response: ServerResponse, { status = 200, type, body }: Answer): void {
  const isRaw = typeof body === 'string' || Buffer.isBuffer(body);
  response.statusCode = status;
  response.setHeader('content-type', type ?? JSON_TYPE);
  response.end(isRaw ? body : JSON.stringify(body));
}

/** A body is not asked for; whatever comes is read, within the limit, and dropped. False where it is too large. */
function drained(request: IncomingMessage): Promise<boolean> {
  return new Promise((resolve, reject) => {
    let bytes = Number(request.headers['content-length'] ?? 0) > LIMITS.bodyBytes ? Infinity : 0;
    if (bytes > 0) resolve(false);
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > LIMITS.bodyBytes) resolve(false);
    });
    request.on('end', () => resolve(true)).on('error', reject);
  });
}

function healthRoutes(source: StatusSource): [string, Route][] {
  return [
    [
      'GET /healthz',
      () => {
        const { deafMs } = source;
        if (deafMs === undefined) return { body: { ok: true } };
        const reason = `the senses have been silent for ${Math.round(deafMs / 1_000)} s`;
        return { status: 503, body: { ok: false, reason } };
      },
    ],
    [
      'GET /readyz',
      () => {
        const { health } = source.server();
        if (health === 'healthy') return { body: { ready: true } };
        return { status: 503, body: { ready: false, reason: health } };
      },
    ],
  ];
}

function dataRoutes({ view, metrics, stream }: EndpointOptions): [string, Route][] {
  const status = fresh(async () => JSON.stringify(await view.json()));
  const scrape = fresh(async () => (await metrics()).text());
  return [
    ['GET /status', async () => ({ body: await status() })],
    ['GET /metrics', async () => ({ body: await scrape(), type: (await metrics()).contentType })],
    [
      'GET /stream',
      async (response) => {
        if (stream.full) {
          return { status: 503, body: { error: 'enough pages are listening already' } };
        }
        const type = 'text/event-stream; charset=utf-8';
        // It would never end.
        if (response.req.method === 'HEAD') return { type, body: '' };
        response.writeHead(200, { 'content-type': type, 'x-accel-buffering': 'no' });
        await stream.add(response);
        return undefined;
      },
    ],
  ];
}

/** Read when somebody looks at the page, and kept for the next. */
function pageRoutes(): [string, Route][] {
  return pageAssets().map(({ path, type, body }) => [
    `GET ${path}`,
    () => ({ type, body: body() }),
  ]);
}

function actRoutes(source: StatusSource): [string, Route][] {
  return [
    ['POST /restart', () => answer(source.restart())],
    ['POST /pause', () => answer(source.pause())],
    ['POST /resume', () => answer(source.resume())],
  ];
}

function abortRoute(source: StatusSource): (sessionID: string) => Promise<Answer> {
  let running = 0;
  return async (sessionID) => {
    if (!/^[\w.-]{1,200}$/.test(sessionID)) {
      return { status: 404, body: { ok: false, error: 'there is no such session' } };
    }
    if (running >= LIMITS.acts) {
      return { status: 429, body: { ok: false, error: 'enough aborts are on their way already' } };
    }
    running += 1;
    try {
      return answer(await source.abort(sessionID));
    } finally {
      running -= 1;
    }
  };
}

function answer({ status, ok, says, ...rest }: ActResult): Answer {
  return ok
    ? { body: { ok, says, ...rest } }
    : { status: status ?? 502, body: { ok, error: says, ...rest } };
}

/** Makes it once for all who ask within `freshMs`. */
function fresh(make: () => Promise<string>): () => Promise<string> {
  let last: { at: number; value: Promise<string> } | undefined;
  return () => {
    const at = performance.now();
    if (last === undefined || at - last.at > LIMITS.freshMs) {
      const value = make();
      last = { at, value };
      // A failure is not kept for the next.
      value.catch(() => {
        last = undefined;
      });
    }
    return last.value;
  };
}
