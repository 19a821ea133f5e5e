/** Makes a server listen on a TCP address or a unix socket, and closes it again. */
import { chmodSync, mkdirSync, unlinkSync } from 'node:fs';
import type { Server } from 'node:http';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { lstatOf } from '../lib/file-stat.js';

export type Address =
  | { kind: 'unix'; path: string }
  | { kind: 'tcp'; host: string; port: number; loopback: boolean };

/** Only the daemon's own user may connect. Users of systemd.socket(5) set up a group of their own. */
const SOCKET_MODE = 0o600;
const NOBODY_ELSE = 0o177;

export async function listen(server: Server, address: Address): Promise<void> {
  if (address.kind === 'tcp') {
    await listening(server, () => server.listen(address.port, address.host));
    return;
  }
  const { path } = address;
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  if (isSocket(path) && !(await answers(path))) unlinkSync(path);
  // `listen` binds the socket before it returns, so the socket is never open to others.
  const before = process.umask(NOBODY_ELSE);
  try {
    await listening(server, () => {
      server.listen(path);
      process.umask(before);
    });
  } finally {
    process.umask(before);
  }
  chmodSync(path, SOCKET_MODE);
}

/** Closes every connection too. */
export function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    if (!server.listening) {
      resolve();
      return;
    }
    // Node removes the socket's file itself (net, "Identifying paths for IPC connections").
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

function listening(server: Server, begin: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (error: Error) => {
      server.off('listening', onListening);
      reject(error);
    };
    const onListening = () => {
      server.off('error', onError);
      resolve();
    };
    server.once('error', onError).once('listening', onListening);
    begin();
  });
}

function isSocket(path: string): boolean {
  return lstatOf(path)?.isSocket() ?? false;
}

/**
 * Only a refusal proves that nobody listens any more (a daemon was killed). EAGAIN comes from a daemon whose queue is
 * full.
 */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code !== 'ECONNREFUSED'));
  });
}
