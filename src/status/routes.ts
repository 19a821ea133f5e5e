/** The routes of the status endpoint. It shares one process with the watch, so every answer must be little work. */
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import fastify, { type FastifyInstance, type FastifyReply } from 'fastify';
import type { Registry } from 'prom-client';
import type { Clock } from '../lib/clock.js';
import { isId } from '../lib/id.js';
import { sinceTime } from '../lib/since.js';
import type { ActBy } from '../telemetry/catalogue/events.js';
import { pageAssets } from './assets.js';
import type { Auth } from './auth.js';
import { withheldWords, withoutContent } from './content.js';
import type { HistoryStore } from './history-store.js';
import { LIMITS } from './limits.js';
import { STEP_MS } from './series.js';
import type { ActResult, StatusSource } from './source.js';
import type { LiveStream } from './stream.js';
import type { StatusView } from './view.js';

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

/** How far back a session's timeline goes, ms. */
const TIMELINE_MS = 7 * 86_400_000;
/** Events in a session's timeline. At the limit: older ones are left out. */
export const MAX_TIMELINE = 200;

const noSchemas = () => {
  throw new Error('the status endpoint has no schemas');
};
/** No route has a schema, so the schema compilers, half of fastify, are not loaded. */
const SCHEMALESS = {
  compilersFactory: { buildValidator: noSchemas, buildSerializer: noSchemas },
};

export interface RouteOptions {
  source: StatusSource;
  view: StatusView;
  metrics: Registry;
  stream: LiveStream;
  auth: Auth;
  /** How to get the token, as the end of a sentence. */
  hint: string;
  /** The file that the token is in; undefined if callers must not be told. */
  tokenFile: string | undefined;
  history: HistoryStore | undefined;
  clock: Clock;
  onError(err: unknown, doing: string): void;
}

/** For each request that passed: whether its answer may contain content. */
const mayReadContent = new WeakMap<IncomingMessage, boolean>();

/** Answers one request, whatever it is. */
export type Answering = (request: IncomingMessage, response: ServerResponse) => void;

/** Settles when every route is ready. The server whose requests it answers belongs to the caller. */
export async function createRoutes(options: RouteOptions): Promise<Answering> {
  const app = fastify({ bodyLimit: LIMITS.bodyBytes, logger: false, schemaController: SCHEMALESS });
  authenticateAll(app, options);
  healthRoutes(app, options);
  dataRoutes(app, options);
  historyRoute(app, options);
  sessionRoute(app, options);
  actRoutes(app, options.source);
  for (const { path, type, body } of pageAssets()) {
    app.get(path, (_request, reply) => reply.type(type).send(body()));
  }
  await app.ready();
  return (request, response) => app.routing(request, response);
}

function authenticateAll(app: FastifyInstance, { auth, tokenFile, onError }: RouteOptions): void {
  app.addHook('onRequest', async (request, reply) => {
    reply.headers(HEADERS);
    // Node uses the first; a proxy in front of us may have checked the other (RFC 9112, section 3.2).
    if (hostHeaders(request.raw) > 1) {
      await reply.code(400).send({ error: 'more than one Host header' });
      return;
    }
    const path = request.url.split('?', 1)[0] ?? '';
    const decision = auth.check(request.method, path, request.headers);
    if (decision.pass) {
      mayReadContent.set(request.raw, decision.content);
      return;
    }
    // Basic is not offered: a browser would ask for the password, keep it, and add it to the requests of other pages.
    if (decision.status === 401) {
      reply.header('www-authenticate', 'Bearer realm="opencode-watchdog"');
    }
    const where = decision.status === 401 && tokenFile !== undefined ? { tokenFile } : {};
    await reply.code(decision.status).send({ error: decision.says, ...where });
  });
  app.setNotFoundHandler((request, reply) =>
    reply.code(404).send({
      error: `there is no ${request.method} ${request.url.split('?', 1)[0]?.slice(0, 100)}`,
    }),
  );
  app.setErrorHandler((error, request, reply) => {
    const status = statusOf(error);
    if (status >= 500) onError(error, `answering ${request.method} ${request.routeOptions.url}`);
    const says =
      status < 500 && error instanceof Error ? error.message : 'this failed; see the log';
    return reply.code(status).send({ error: says });
  });
}

function hostHeaders({ rawHeaders }: IncomingMessage): number {
  // Names and values alternate.
  return rawHeaders.filter((name, at) => at % 2 === 0 && name.toLowerCase() === 'host').length;
}

function healthRoutes(app: FastifyInstance, { source }: RouteOptions): void {
  app.get('/healthz', (_request, reply) => {
    const { deafMs } = source;
    if (deafMs === undefined) return reply.send({ ok: true });
    const says = `the monitor has been silent for ${Math.round(deafMs / 1_000)} s`;
    return reply.code(503).send({ ok: false, reason: says });
  });
  app.get('/readyz', (_request, reply) => {
    const { health, says } = source.server();
    if (health === 'healthy') return reply.send({ ready: true });
    return reply.code(503).send({ ready: false, reason: health, ...(says && { says }) });
  });
}

/**
 * `?since=` is a time (ISO 8601) or how long ago (`12h`), by default a day. `&only=series` returns figures instead of
 * events.
 */
function historyRoute(
  app: FastifyInstance,
  { history, view, clock, hint, tokenFile }: RouteOptions,
): void {
  app.get<{ Querystring: { since?: unknown; only?: unknown } }>(
    '/history',
    async (request, reply) => {
      const now = clock.epoch();
      const { since = '24h', only } = request.query;
      const from = typeof since === 'string' ? sinceTime(since, now) : undefined;
      if (from === undefined) {
        const error =
          'since: expected a time such as 2026-11-28T22:00:00Z, or how long ago such as 12h';
        return reply.code(400).send({ error });
      }
      const span = { since: new Date(from).toISOString(), until: new Date(now).toISOString() };
      if (only === 'series') {
        return reply.send({ ...span, stepMs: STEP_MS, series: view.series.since(from) });
      }
      if (only !== undefined) {
        return reply.code(400).send({ error: 'only: expected series, or nothing' });
      }
      const mayRead = mayReadContent.get(request.raw) === true;
      const { events, complete } = history?.since(from, mayRead) ?? { events: [], complete: true };
      const withheld = mayRead ? {} : { withheld: withheldWords(hint), tokenFile };
      const head = JSON.stringify({ ...span, complete, ...withheld });
      return reply
        .type('application/json; charset=utf-8')
        .send(`${head.slice(0, -1)},"events":[${events.join(',')}]}`);
    },
  );
}

/** One session in detail: its row, its children, what happened to it, and the end of its transcript. */
function sessionRoute(
  app: FastifyInstance,
  { view, source, history, clock, hint, tokenFile }: RouteOptions,
): void {
  app.get<{ Params: { id: string } }>('/sessions/:id', async (request, reply) => {
    const { id } = request.params;
    const found = isId(id) ? view.session(id) : undefined;
    if (found === undefined) {
      return reply
        .code(404)
        .send({ error: 'there is no such session that was active in the last hour' });
    }
    const mayRead = mayReadContent.get(request.raw) === true;
    const excerpt = mayRead ? await source.askExcerpt(id, found.row.directory) : undefined;
    const from = clock.epoch() - TIMELINE_MS;
    const answer = {
      session: view.session(id)?.row ?? found.row,
      children: found.children,
      events: history?.ofSession(id, from, MAX_TIMELINE) ?? [],
      ...(excerpt === undefined ? {} : { messages: view.clean(excerpt).messages }),
    };
    if (mayRead) return reply.send(answer);
    const shown = withoutContent(answer) as object;
    return reply.send({ ...shown, withheld: withheldWords(hint), tokenFile });
  });
}

function dataRoutes(
  app: FastifyInstance,
  { view, metrics, stream, hint, tokenFile }: RouteOptions,
): void {
  const status = fresh(async () => JSON.stringify(await view.json()));
  const bare = fresh(async () => {
    const shown = withoutContent(await view.json()) as object;
    return JSON.stringify({ ...shown, withheld: withheldWords(hint), tokenFile });
  });
  const scrape = fresh(() => metrics.metrics());
  app.get('/status', async (request, reply) => {
    const answer = mayReadContent.get(request.raw) === true ? status : bare;
    return reply.type('application/json; charset=utf-8').send(await answer());
  });
  app.get('/metrics', async (_request, reply) => {
    return reply.type(metrics.contentType).send(await scrape());
  });
  app.get('/stream', async (request, reply) => {
    if (stream.full) {
      return reply.code(503).send({ error: 'enough pages are listening already' });
    }
    const type = 'text/event-stream; charset=utf-8';
    // A stream would never end.
    if (request.method === 'HEAD') return reply.type(type).send('');
    reply.hijack();
    reply.raw.writeHead(200, { ...HEADERS, 'content-type': type, 'x-accel-buffering': 'no' });
    await stream.add(reply.raw, mayReadContent.get(request.raw) === true);
    return reply;
  });
}

function actRoutes(app: FastifyInstance, source: StatusSource): void {
  // No body is expected. A body of any type is read, within the limit, and dropped.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'string' }, (_request, _body, done) => done(null));
  const act = (path: string, does: (by: ActBy) => ActResult) =>
    app.post(path, (request, reply) => answer(reply, does(actorOf(request.headers))));
  act('/restart', (by) => source.restart(by));
  act('/pause', (by) => source.pause(by));
  act('/resume', (by) => source.resume(by));
  let aborts = 0;
  app.post<{ Params: { id: string } }>('/sessions/:id/abort', async (request, reply) => {
    const { id } = request.params;
    if (!isId(id)) {
      return reply.code(404).send({ ok: false, error: 'there is no such session' });
    }
    if (aborts >= LIMITS.acts) {
      return reply.code(429).send({ ok: false, error: 'enough aborts are on their way already' });
    }
    aborts += 1;
    // Nothing moves on the connection while the abort is verified, which may take longer than an idle one is kept.
    const { socket } = request.raw;
    const idleMs = socket.timeout ?? 0;
    socket.setTimeout(0);
    try {
      return answer(reply, await source.abort(id, actorOf(request.headers)));
    } finally {
      socket.setTimeout(idleMs);
      aborts -= 1;
    }
  });
}

/** For the log only: a caller with the token may call itself anything. */
function actorOf(headers: IncomingHttpHeaders): ActBy {
  if (headers['user-agent']?.startsWith('opencode-watchdog')) return 'command';
  // Every browser sends this header with a page's requests, and no page can forge it (Fetch Metadata).
  return headers['sec-fetch-site'] === 'same-origin' ? 'page' : 'http';
}

function answer(reply: FastifyReply, { status, ok, says, ...rest }: ActResult): FastifyReply {
  return ok
    ? reply.send({ ok, says, ...rest })
    : reply.code(status ?? 502).send({ ok, error: says, ...rest });
}

/** Makes the value once for all requests within `freshMs`. */
function fresh(make: () => Promise<string>): () => Promise<string> {
  let last: { at: number; value: Promise<string> } | undefined;
  return () => {
    const at = performance.now();
    if (last === undefined || at - last.at > LIMITS.freshMs) {
      const value = make();
      last = { at, value };
      // A failure is not kept for the next request.
      value.catch(() => {
        last = undefined;
      });
    }
    return last.value;
  };
}

function statusOf(error: unknown): number {
  return typeof error === 'object' &&
    error !== null &&
    'statusCode' in error &&
    typeof error.statusCode === 'number'
    ? error.statusCode
    : 500;
}
