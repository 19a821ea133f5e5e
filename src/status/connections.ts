/** Bounds a server's connections, so that a client that opens many cannot keep others out. */
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Clock } from '../lib/clock.js';

export interface ConnectionLimits {
  connections: number;
  /** A connection that has sent no byte after this long is closed, ms. */
  silentMs: number;
}

/**
 * At the limit the new connection stays, since it may be the service manager's probe, and an old one is closed: the
 * oldest that has sent nothing; if all have sent something, the oldest that waits for no answer; else the oldest.
 */
export function limitConnections(server: Server, clock: Clock, limits: ConnectionLimits): void {
  /** The open connections, oldest first, with the number of requests being answered on each. */
  const open = new Map<Socket, number>();
  const change = (socket: Socket, by: number) => {
    const answering = open.get(socket);
    if (answering !== undefined) open.set(socket, answering + by);
  };
  server.on('connection', (socket: Socket) => {
    if (open.size >= limits.connections) oldest(open)?.destroy();
    open.set(socket, 0);
    const silence = clock.after(
      limits.silentMs,
      () => {
        if (socket.bytesRead === 0) socket.destroy();
      },
      { unref: true },
    );
    socket.on('close', () => {
      silence.cancel();
      open.delete(socket);
    });
  });
  server.on('request', ({ socket }, response) => {
    change(socket, 1);
    response.on('close', () => change(socket, -1));
  });
}

function oldest(open: Map<Socket, number>): Socket | undefined {
  const all = [...open.keys()];
  const found =
    all.find((socket) => socket.bytesRead === 0) ??
    all.find((socket) => open.get(socket) === 0) ??
    all[0];
  // Deleted now and not on 'close': several connections may arrive in one turn of the event loop.
  if (found !== undefined) open.delete(found);
  return found;
}
