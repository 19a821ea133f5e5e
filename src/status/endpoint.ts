/**
 * The server of the status endpoint. Everything is bounded: connections, time, headers. The routes (`routes.ts`, with
 * fastify below them) are loaded for the first request: most daemons are never asked anything, and fastify is among the
 * heaviest things that an idle one would hold.
 */
import { createServer, type Server } from 'node:http';
import type { Clock } from '../lib/clock.js';
import { limitConnections } from './connections.js';
import { LIMITS } from './limits.js';
import type { Answering, RouteOptions } from './routes.js';

/** Ready to listen; whoever calls says where. */
export function createEndpoint(options: RouteOptions, clock: Clock): Server {
  let routes: Promise<Answering> | undefined;
  const load = async () => {
    const { createRoutes } = await import('./routes.js');
    // Loading takes tens of milliseconds, and so does making the routes: timers that became due meanwhile come first.
    await new Promise((resolve) => setTimeout(resolve));
    return createRoutes(options);
  };
  const server = createServer(
    {
      maxHeaderSize: LIMITS.headerBytes,
      headersTimeout: LIMITS.requestMs,
      requestTimeout: LIMITS.requestMs,
      // Node checks this often for requests that take too long, also while there are none.
      connectionsCheckingInterval: 5_000,
      keepAliveTimeout: LIMITS.idleMs,
    },
    (request, response) => {
      routes ??= load();
      routes
        .then((answer) => answer(request, response))
        .catch((error: unknown) => {
          // Tried anew for the next.
          routes = undefined;
          options.onError(error, 'loading the status endpoint');
          if (response.headersSent) response.destroy();
          else response.writeHead(500).end();
        });
    },
  );
  limitConnections(server, clock, LIMITS);
  // A connection on which nothing moves; the stream's pulse keeps its own alive.
  server.setTimeout(LIMITS.idleMs);
  return server;
}
