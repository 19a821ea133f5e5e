/**
 * The server of the event bench, in a process of its own. It answers a daemon's requests at the start, and writes the
 * stream to its one listener on command. `events-sender.ts SHAPE`, with an IPC channel.
 */
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { makeFrames, type Sent, sessions } from './events-frames.js';

/**
 * How frames are sent. `live`: each by itself, as fast as single writes go. `full`: one in each HTTP chunk, as opencode
 * 1.18.33 writes them at any load, as fast as the reader takes them. `joined`: as behind a proxy that collects data, in
 * HTTP chunks of 64 KiB (some 180 frames), cut anywhere.
 */
export type Shape = 'live' | 'full' | 'joined';

export type Order = { send: 'warm-up' | 'measured' };
export type Told =
  | { port: number }
  | { sent: { frames: number; deltas: number; bytes: number }; connected: number };

/** Frames are made once and sent repeatedly: making 300,000 takes longer than reading them. */
const BLOCK_DELTAS = 30_000;
const MEASURED_BLOCKS = 10;
/** Enough that the code for rare frames is compiled too, since a daemon runs for weeks. */
const WARM_UP_BLOCKS = 10;
const JOINED_BYTES = 64 * 1024;
/** The size of one write to a socket, if frames need not go one by one. */
const WRITE_BYTES = 256 * 1024;

function encode({ frames }: Sent, how: Shape): Buffer[] {
  const chunks = frames.map((frame) => Buffer.from(frame));
  if (how === 'live') return chunks.map(httpChunk);
  if (how === 'full') return cut(Buffer.concat(chunks.map(httpChunk)), WRITE_BYTES);
  return cut(Buffer.concat(chunks), JOINED_BYTES).map(httpChunk);
}

/** One chunk of `transfer-encoding: chunked` (RFC 9112, section 7.1). */
const httpChunk = (body: Buffer): Buffer =>
  Buffer.concat([Buffer.from(`${body.length.toString(16)}\r\n`), body, Buffer.from('\r\n')]);

function cut(bytes: Buffer, size: number): Buffer[] {
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size) parts.push(bytes.subarray(at, at + size));
  return parts;
}

const shape = process.argv[2] as Shape;
const block = makeFrames(BLOCK_DELTAS);
const bodyBytes = block.frames.reduce((sum, frame) => sum + Buffer.byteLength(frame), 0);
const writes = encode(block, shape);
/** A daemon makes many requests at its start. The warm-up begins when they are over. */
const SETTLE_MS = 1_500;
let listener: Socket | undefined;
let listening: () => void;
const listened = new Promise<void>((resolve) => {
  listening = resolve;
});
let listeners = 0;

const json = (response: ServerResponse, body: unknown) => {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
};

const server = createServer((request, response) => {
  const url = new URL(request.url ?? '/', 'http://localhost');
  switch (url.pathname) {
    case '/global/event':
      response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
      response.write(
        'data: {"payload":{"id":"evt_1","type":"server.connected","properties":{}}}\n\n',
      );
      listener = response.socket ?? undefined;
      listeners += 1;
      setTimeout(listening, SETTLE_MS);
      return;
    case '/global/health':
      return json(response, { healthy: true, version: '1.18.33' });
    case '/path':
      return json(response, { directory: sessions[0]?.directory, state: '/s', config: '/c' });
    case '/session/status': {
      const here = sessions.filter((one) => one.directory === url.searchParams.get('directory'));
      return json(response, Object.fromEntries(here.map(({ id }) => [id, { type: 'busy' }])));
    }
    default: {
      const session = sessions.find(({ id }) => url.pathname === `/session/${id}`);
      // The lists (permissions, questions, sessions) are empty.
      return json(response, session ? { ...session, title: 'bench', time: { updated: 1 } } : []);
    }
  }
});

async function send(blocks: number): Promise<void> {
  await listened;
  const to = listener;
  if (!to) return;
  for (let sent = 0; sent < blocks; sent += 1) {
    for (const bytes of writes) {
      const isFull = !to.write(bytes);
      if (isFull) await new Promise((resolve) => to.once('drain', resolve));
      else if (shape === 'live') await new Promise(setImmediate);
    }
  }
}

const tell = (told: Told) => process.send?.(told);
process.on('message', async (order: Order) => {
  const blocks = order.send === 'warm-up' ? WARM_UP_BLOCKS : MEASURED_BLOCKS;
  await send(blocks);
  const { frames, deltas } = block;
  tell({
    sent: { frames: frames.length * blocks, deltas: deltas * blocks, bytes: bodyBytes * blocks },
    connected: listeners,
  });
});
process.on('disconnect', () => process.exit());
server.listen(0, '127.0.0.1', () => tell({ port: (server.address() as AddressInfo).port }));
