/** Ports for tests' servers. */
import { once } from 'node:events';
import { createServer } from 'node:net';

/**
 * Below the ports that the system gives to outgoing connections (32768 and up on Linux), where any client could take
 * the port before its server does; each test process counts through a range that starts at its own place.
 */
const PORTS = { first: 10_000, count: 22_000 };
let nextPort = (process.pid * 97) % PORTS.count;

/** A port of loopback that nobody listens on, and that this process gives out but once. */
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
