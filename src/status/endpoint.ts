/**
 * The HTTP server of the status endpoint. Its connections, times and headers are bounded. The routes (`routes.ts`,
 * built on fastify) are loaded at the first request: most daemons never get one, and fastify is among the heaviest
 * things that an idle daemon would hold.
 */
import { createServer, type Server } from 'node:http';
import type { Clock } from '../lib/clock.js';
import { limitConnections } from './connections.js';
import { LIMITS } from './limits.js';
import type { Answering, RouteOptions } from './routes.js';

/** Returns a server that is ready to listen; the caller says where. */
export function createEndpoint(options: RouteOptions, clock: Clock): Server {
  let routes: Promise<Answering> | undefined;
  const load = async () => {
    const { createRoutes } = await import('./routes.js');
    // Loading takes tens of milliseconds, and so does making the routes. Timers that became due meanwhile run in
    // between.
    await new Promise((resolve) => setTimeout(resolve));
    return createRoutes(options);
  };
  const server = createServer(
    {
      maxHeaderSize: LIMITS.headerBytes,
      headersTimeout: LIMITS.requestMs,
      requestTimeout: LIMITS.requestMs,
      // Node checks this often for requests that take too long, even while there are none.
      connectionsCheckingInterval: 5_000,
      keepAliveTimeout: LIMITS.idleMs,
    },
    (request, response) => {
      routes ??= load();
      routes
        .then((answer) => answer(request, response))
        .catch((error: unknown) => {
          // The next request tries again.
          routes = undefined;
          options.onError(error, 'loading the status endpoint');
          if (response.headersSent) response.destroy();
          else response.writeHead(500).end();
        });
    },
  );
  limitConnections(server, clock, LIMITS);
  // Closes a connection on which nothing moves. The pulse of `/stream` keeps its connections alive.
  server.setTimeout(LIMITS.idleMs);
  return server;
}
