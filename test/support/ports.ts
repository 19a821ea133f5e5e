/** Ports for tests' servers. */
import { once } from 'node:events';
import { createServer } from 'node:net';

/**
 * Below the range for outgoing connections (32768 and up on Linux), where any client could take the port before the
 * server does. Each test process counts through the range from its own starting point.
 */
const PORTS = { first: 10_000, count: 22_000 };
let nextPort = (process.pid * 97) % PORTS.count;

/** A loopback port that nobody listens on. This process gives it out only once per pass through the range. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < PORTS.count; tries++) {
    const port = PORTS.first + nextPort;
    nextPort = (nextPort + 1) % PORTS.count;
    if (await canListen(port)) return port;
  }
  throw new Error('every port is taken');
}

async function canListen(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
    return true;
  } catch {
    return false;
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
}
