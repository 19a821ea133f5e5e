/**
 * The HTTP routes of the status endpoint. Everything is bounded: connections, time, headers, bodies, listeners. It runs
 * beside the watch in one process, so every answer is small work.
 */
import { createServer, type Server } from 'node:http';
import fastify, { type FastifyInstance, type FastifyReply } from 'fastify';
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
  metrics: Metrics;
  stream: LiveStream;
  guard: Guard;
  onError(err: unknown, doing: string): void;
}

/** Ready to listen; whoever calls says where. */
export async function createEndpoint(options: EndpointOptions): Promise<Server> {
  let server: Server | undefined;
  const app = fastify({
    bodyLimit: LIMITS.bodyBytes,
    logger: false,
    // Fastify's own listening would not let us keep the mode of a socket.
    serverFactory(handler) {
      server = createServer(
        {
          maxHeaderSize: LIMITS.headerBytes,
          headersTimeout: LIMITS.requestMs,
          requestTimeout: LIMITS.requestMs,
          connectionsCheckingInterval: 1_000,
          keepAliveTimeout: LIMITS.idleMs,
        },
        handler,
      );
      server.maxConnections = LIMITS.connections;
      // A connection on which nothing moves; the stream's pulse keeps its own alive.
      server.setTimeout(LIMITS.idleMs);
      return server;
    },
  });
  guardAll(app, options);
  healthRoutes(app, options);
  dataRoutes(app, options);
  actRoutes(app, options.source);
  for (const { path, type, body } of pageAssets()) {
    app.get(path, (_request, reply) => reply.type(type).send(body));
  }
  await app.ready();
  if (server === undefined) throw new Error('fastify has made no server');
  return server;
}

function guardAll(app: FastifyInstance, { guard, onError }: EndpointOptions): void {
  app.addHook('onRequest', async (request, reply) => {
    reply.headers(HEADERS);
    const path = request.url.split('?', 1)[0] ?? '';
    const verdict = guard.check(request.method, path, request.headers);
    if (verdict.pass) return;
    if (verdict.status === 401) reply.header('www-authenticate', 'Basic realm="opencode-watchdog"');
    await reply.code(verdict.status).send({ error: verdict.says });
  });
  app.setNotFoundHandler((request, reply) =>
    reply.code(404).send({ error: `there is no ${request.method} ${request.url.slice(0, 100)}` }),
  );
  app.setErrorHandler((error, request, reply) => {
    const status = statusOf(error);
    if (status >= 500) onError(error, `answering ${request.method} ${request.routeOptions.url}`);
    const says =
      status < 500 && error instanceof Error ? error.message : 'this failed; see the log';
    return reply.code(status).send({ error: says });
  });
}

function healthRoutes(app: FastifyInstance, { source }: EndpointOptions): void {
  app.get('/healthz', (_request, reply) => {
    const { deafMs } = source;
    if (deafMs === undefined) return reply.send({ ok: true });
    const says = `the senses have been silent for ${Math.round(deafMs / 1_000)} s`;
    return reply.code(503).send({ ok: false, reason: says });
  });
  app.get('/readyz', (_request, reply) => {
    const { health } = source.server();
    if (health === 'healthy') return reply.send({ ready: true });
    return reply.code(503).send({ ready: false, reason: health });
  });
}

function dataRoutes(app: FastifyInstance, { view, metrics, stream }: EndpointOptions): void {
  const status = fresh(async () => JSON.stringify(await view.json()));
  const scrape = fresh(() => metrics.text());
  app.get('/status', async (_request, reply) => {
    return reply.type('application/json; charset=utf-8').send(await status());
  });
  app.get('/metrics', async (_request, reply) => {
    return reply.type(metrics.contentType).send(await scrape());
  });
  app.get('/stream', async (_request, reply) => {
    if (stream.full) {
      return reply.code(503).send({ error: 'enough pages are listening already' });
    }
    reply.hijack();
    reply.raw.writeHead(200, {
      ...HEADERS,
      'content-type': 'text/event-stream; charset=utf-8',
      'x-accel-buffering': 'no',
    });
    await stream.add(reply.raw);
    return reply;
  });
}

function actRoutes(app: FastifyInstance, source: StatusSource): void {
  // A body is not asked for; whatever type it has is read, within the limit, and dropped.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'string' }, (_request, _body, done) => done(null));
  const act = (path: string, does: () => ActResult) =>
    app.post(path, (_request, reply) => answer(reply, does()));
  act('/restart', () => source.restart());
  act('/pause', () => source.pause());
  act('/resume', () => source.resume());
  app.post<{ Params: { id: string } }>('/sessions/:id/abort', async (request, reply) => {
    const { id } = request.params;
    if (!/^[\w.-]{1,200}$/.test(id)) {
      return reply.code(404).send({ ok: false, error: 'there is no such session' });
    }
    return answer(reply, await source.abort(id));
  });
}

function answer(reply: FastifyReply, { status, ok, says, ...rest }: ActResult): FastifyReply {
  return ok
    ? reply.send({ ok, says, ...rest })
    : reply.code(status ?? 502).send({ ok, error: says, ...rest });
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

function statusOf(error: unknown): number {
  return typeof error === 'object' &&
    error !== null &&
    'statusCode' in error &&
    typeof error.statusCode === 'number'
    ? error.statusCode
    : 500;
}
