import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { TcpProxy } from '../support/tcp-proxy.js';
import { waitFor } from '../support/wait.js';

let server: Server;
let proxy: TcpProxy;
const heads: string[] = [];
const sockets: Socket[] = [];

/** Answers every chunk with 100 bytes. */
beforeEach(async () => {
  server = createServer((socket) => {
    sockets.push(socket);
    socket.on('data', () => socket.write('x'.repeat(100))).on('error', () => {});
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const target = (server.address() as AddressInfo).port;
  const onRequest = (method: string, path: string) => heads.push(`${method} ${path}`);
  proxy = await TcpProxy.start({ target, onRequest });
});
afterEach(async () => {
  await proxy.stop();
  for (const socket of sockets.splice(0)) socket.destroy();
  server.close();
  heads.length = 0;
});

function client() {
  const socket = connect(proxy.port, '127.0.0.1');
  sockets.push(socket);
  const seen = { bytes: 0, ended: false, error: undefined as string | undefined };
  socket
    .on('data', (chunk) => {
      seen.bytes += chunk.length;
    })
    .on('end', () => {
      seen.ended = true;
    })
    .on('error', (error: NodeJS.ErrnoException) => {
      seen.error = error.code;
    });
  return { socket, seen };
}

describe('the proxy', () => {
  test('passes everything on, and tells of requests', async () => {
    const { socket, seen } = client();
    socket.write('POST /session/ses_1/abort?directory=/x HTTP/1.1\r\nhost: x\r\n\r\n');
    await waitFor(() => seen.bytes === 100);
    expect(heads).toEqual(['POST /session/ses_1/abort?directory=/x']);
  });

  test('holds what is on its way in a black hole, and lets it go afterwards', async () => {
    const { socket, seen } = client();
    socket.write('one');
    await waitFor(() => seen.bytes === 100);
    await proxy.set({ kind: 'blackhole' });
    socket.write('two');
    const late = client();
    late.socket.write('three');
    await waitFor(() => proxy.connections === 2);
    expect([seen.bytes, late.seen.bytes]).toEqual([100, 0]);
    await proxy.set({ kind: 'pass' });
    await waitFor(() => seen.bytes === 200 && late.seen.bytes === 100);
  });

  test('swallows the requests that it is told to, and answers them itself', async () => {
    await proxy.set({ kind: 'swallow', requests: (_method, path) => path.endsWith('/abort') });
    const { socket, seen } = client();
    let answer = '';
    socket.on('data', (chunk) => {
      answer += chunk;
    });
    socket.write('POST /session/ses_1/abort HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n');
    await waitFor(() => answer.endsWith('\r\n\r\ntrue'));
    const before = seen.bytes;
    socket.write('GET /session/status HTTP/1.1\r\nhost: x\r\n\r\n');
    await waitFor(() => seen.bytes === before + 100);
    expect(heads).toEqual(['POST /session/ses_1/abort', 'GET /session/status']);
  });

  test('ends an answer in its middle, properly or with a reset', async () => {
    await proxy.set({ kind: 'truncate', bytes: 30 });
    const proper = client();
    proper.socket.write('x');
    await waitFor(() => proper.seen.ended);
    expect(proper.seen).toMatchObject({ bytes: 30, error: undefined });
    await proxy.set({ kind: 'reset', bytes: 30 });
    const harsh = client();
    harsh.socket.write('x');
    await waitFor(() => harsh.seen.error === 'ECONNRESET');
  });

  test('refuses, cuts, and follows its target', async () => {
    const open = client();
    open.socket.write('x');
    await waitFor(() => open.seen.bytes === 100);
    await proxy.set({ kind: 'refuse' });
    await waitFor(() => open.socket.destroyed);
    const refused = client();
    await waitFor(() => refused.seen.error === 'ECONNREFUSED');
    await proxy.set({ kind: 'pass' });
    await proxy.follow(false);
    const nobody = client();
    await waitFor(() => nobody.seen.error === 'ECONNREFUSED');
    await proxy.follow(true);
    const again = client();
    again.socket.write('x');
    await waitFor(() => again.seen.bytes === 100);
    proxy.cut('reset');
    await waitFor(() => again.seen.error === 'ECONNRESET');
  });

  test('delays each chunk, and keeps their order', async () => {
    await proxy.set({ kind: 'delay', ms: 60 });
    const { socket, seen } = client();
    for (let i = 0; i < 3; i++) socket.write('x');
    await waitFor(() => seen.bytes >= 100);
    expect(seen.error).toBeUndefined();
  });
});
