/** Tells who listens on a port, and whether the port is free. */
import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { connect, createServer, isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { lsofHolders } from './lsof.js';
import type { PortHolder } from './port-holder.js';
import { procHolders } from './proc-net.js';

export type FindHolders = (host: string, port: number) => Promise<PortHolder[]>;

/** Loopback answers at once or never. If it does not answer, binding the port decides. */
const CONNECT_TIMEOUT_MS = 1_000;

/** Every process that accepts connections to this host and port; several if the socket was inherited or shared. */
export const findHolders: FindHolders = async (host, port) => {
  const addresses = await addressesOf(host);
  return existsSync('/proc/net/tcp') ? procHolders(addresses, port) : lsofHolders(port);
};

/** True if a server could listen on host:port now: nothing answers there, and binding it works. */
export async function isPortFree(host: string, port: number): Promise<boolean> {
  for (const address of await addressesOf(host)) {
    if (await answers(address, port)) return false;
    if (!(await canBind(address, port))) return false;
  }
  return true;
}

async function answers(address: string, port: number): Promise<boolean> {
  const target = address === '0.0.0.0' ? '127.0.0.1' : address === '::' ? '::1' : address;
  const socket = connect({ host: target, port, timeout: CONNECT_TIMEOUT_MS });
  try {
    return await new Promise((resolve) => {
      socket.once('connect', () => resolve(true));
      socket.once('timeout', () => resolve(false));
      socket.once('error', () => resolve(false));
    });
  } finally {
    socket.destroy();
  }
}

async function canBind(address: string, port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen({ host: address, port, exclusive: true });
    await once(server, 'listening');
    return true;
  } catch (error) {
    // Only "in use" shows that the port is taken. If this machine lacks an address family (EADDRNOTAVAIL,
    // EAFNOSUPPORT), nothing holds the port, and if we may not bind it (EACCES), the server's start will report that.
    return (error as NodeJS.ErrnoException).code !== 'EADDRINUSE';
  } finally {
    if (server.listening) {
      server.close();
      await once(server, 'close');
    }
  }
}

/** The host's addresses; if the host is an address, that address. An unknown name has none. */
export async function addressesOf(host: string): Promise<string[]> {
  const bare = host.replace(/^\[(.*)\]$/, '$1');
  if (isIP(bare)) return [bare];
  // opencode listens there, and every request goes there.
  if (bare === 'localhost') return ['127.0.0.1'];
  try {
    return [...new Set((await lookup(bare, { all: true })).map((entry) => entry.address))];
  } catch {
    return [];
  }
}

/** True if the host's name means this machine (or this network namespace). */
export async function isLocalHost(host: string): Promise<boolean> {
  // Always this machine, whatever a resolver answers or fails to answer (RFC 6761, section 6.3).
  if (host === 'localhost' || host.endsWith('.localhost')) return true;
  const own = new Set(['0.0.0.0', '::']);
  for (const list of Object.values(networkInterfaces())) {
    for (const entry of list ?? []) own.add(entry.address);
  }
  const addresses = await addressesOf(host);
  return (
    addresses.length > 0 &&
    addresses.every(
      (address) => own.has(address) || address === '::1' || address.startsWith('127.'),
    )
  );
}
