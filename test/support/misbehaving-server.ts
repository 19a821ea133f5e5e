/** A real HTTP server whose paths are named misbehaviours, for the tests of our HTTP code. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';

const MiB = 1024 * 1024;
const stream = (response: ServerResponse, text = '') => {
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
  response.write(text === '' ? ': begun\n\n' : text);
  return response;
};
/** 100,000 bytes of a list of texts. Each is short enough to be read. */
const TEXTS = `${'x'.repeat(9_997)}","`.repeat(10);
const frame = (value: unknown) => `data: ${JSON.stringify(value)}\n\n`;

/** Writes for as long as the other side reads, at most this many pieces. */
async function pour(
  response: ServerResponse,
  piece: (n: number) => string | Buffer,
  pieces: number,
) {
  const closed = once(response, 'close');
  for (let n = 0; n < pieces && !response.destroyed; n += 1) {
    if (response.write(piece(n))) continue;
    const drained = new Promise<void>((resolve) => void response.once('drain', resolve));
    await Promise.race([drained, closed]);
  }
}

const ANSWERS: Record<string, (response: ServerResponse) => unknown> = {
  'is accepted and never answered': () => undefined,
  'redirects elsewhere': (response) => response.writeHead(302, { location: '/well' }).end(),
  'is an event stream behind a redirect': (response) =>
    response.writeHead(307, { location: '/is one frame' }).end(),
  'says no content': (response) => response.writeHead(204).end(),
  'fails with words': (response) => json(response, { message: 'no room' }, 500),
  'fails with endless words': (response) => {
    response.writeHead(500, { 'content-type': 'application/json' });
    return pour(response, () => Buffer.alloc(MiB, 0x20), 200);
  },
  'is a web page': (response) =>
    response.writeHead(200, { 'content-type': 'text/html' }).end('<html>'),
  'is endless JSON': (response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    return pour(response, () => Buffer.alloc(MiB, 0x20), 200);
  },
  'breaks the connection': (response) => response.destroy(),
  'breaks in the middle of JSON': (response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).write('{"a":');
    setImmediate(() => response.destroy());
  },
  'speaks no HTTP': (response) => response.socket?.end('SSH-2.0-OpenSSH_9.2\r\n\r\n'),
  'has a header beyond all measure': (response) =>
    response.writeHead(200, { x: 'x'.repeat(200_000) }).end(),
  'is well': (response) => json(response, { well: true }),
  'is of another time': (response) => {
    response.setHeader('date', 'Fri, 01 Jan 2100 00:00:00 GMT');
    return json(response, { well: true });
  },

  'is one frame': (response) => stream(response, frame(1)),
  'ends at once': (response) => stream(response).end(),
  'breaks in the middle of a frame': (response) => {
    stream(response, `${frame(1)}data: {"ha`);
    setImmediate(() => response.destroy());
  },
  'comes byte by byte': async (response) => {
    stream(response);
    for (const byte of Buffer.from(`${frame('grüße 日本 🐕')}data: "crlf"\r\n\r\n`)) {
      response.write(Uint8Array.of(byte));
      await turn();
    }
  },
  'asks for a reconnect at once': (response) => stream(response, `retry: 1\n\n${frame(1)}`).end(),
  'has frames called open, error and other': (response) =>
    stream(
      response,
      `event: open\n${frame('o')}event: error\n${frame('e')}event: other\n${frame('x')}event: message\n${frame('m')}${frame(2)}`,
    ),
  'has only comments': (response) => stream(response, ': heartbeat\n\n'),
  'has a frame too large': async (response) => {
    stream(response, `${frame(1)}data: {"head":1,"texts":["`);
    await pour(response, () => TEXTS, 30);
    response.write(`"]}\n\n${frame(2)}`);
  },
  'has a frame without end': (response) => {
    stream(response, 'data: {"head":2,"texts":["');
    return pour(response, () => TEXTS, 100_000);
  },
  'is loud without end': (response) => {
    stream(response);
    return pour(response, (n) => frame({ n, text: 'x'.repeat(10_000) }), 1_000_000);
  },
};

function json(response: ServerResponse, body: unknown, status = 200) {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

export interface MisbehavingServer {
  url: string;
  port: number;
  /** The path of a misbehaviour. */
  path(name: string): string;
  /** Every request, newest last. */
  requests: IncomingMessage[];
  /** Bytes that were written so far to the newest request's socket. */
  written(): number;
  connections(): number;
  stop(): Promise<void>;
}

export async function startMisbehaving(): Promise<MisbehavingServer> {
  const requests: IncomingMessage[] = [];
  let connections = 0;
  const server = createServer((request, response) => {
    requests.push(request);
    const name = decodeURIComponent(new URL(request.url ?? '/', 'http://x').pathname.slice(1));
    const answer = ANSWERS[name];
    if (answer === undefined) response.writeHead(404).end();
    else Promise.resolve(answer(response)).catch(() => {});
  });
  server.on('connection', (socket) => {
    connections += 1;
    socket.on('error', () => {});
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    path: (name) => {
      if (!(name in ANSWERS)) throw new Error(`no such misbehaviour: ${name}`);
      return `/${encodeURIComponent(name)}`;
    },
    requests,
    written: () => requests.at(-1)?.socket.bytesWritten ?? 0,
    connections: () => connections,
    stop: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
