/** The reader of the event stream's bytes, against servers that answer well, badly and over TLS, beside Node's own client. */
import { once } from 'node:events';
import { get } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import tls from 'node:tls';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { EndlessGet } from '../../src/opencode/http/endless-get.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function listening(server: Server): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanups.push(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  });
  return (server.address() as AddressInfo).port;
}

/** What the server says after a request, in pieces; then it closes. */
type Saying = readonly Buffer[];

const answering = (say: () => Saying) => (socket: Socket) => {
  socket.once('data', async () => {
    for (const piece of say()) {
      socket.write(piece);
      await new Promise(setImmediate);
    }
    socket.end();
  });
};

interface Seen {
  status: number | undefined;
  type: string | undefined;
  body: string;
  /** It came to the end that it had said. */
  isWhole: boolean;
}

function byUs(url: URL): Promise<Seen> {
  return new Promise((resolve) => {
    const seen: Seen = { status: undefined, type: undefined, body: '', isWhole: false };
    new EndlessGet({
      url,
      headers: {},
      head: ({ status, contentType: type }) => {
        Object.assign(seen, { status, type });
        return true;
      },
      body: (bytes, from, to) => {
        seen.body += bytes.toString('latin1', from, to);
      },
      end: (error) => resolve({ ...seen, isWhole: error === undefined }),
    });
  });
}

function byNode(url: URL): Promise<Seen> {
  return new Promise((resolve) => {
    const seen: Seen = { status: undefined, type: undefined, body: '', isWhole: false };
    get(url, { agent: false }, (answer) => {
      Object.assign(seen, {
        status: answer.statusCode,
        type: answer.headers['content-type']?.trim(),
      });
      answer.on('data', (bytes: Buffer) => {
        seen.body += bytes.toString('latin1');
      });
      answer.on('end', () => resolve({ ...seen, isWhole: answer.complete }));
      answer.on('error', () => resolve(seen));
    }).on('error', () => resolve(seen));
  });
}

const HEADS = [
  'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n',
  'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n',
  'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n',
  'HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n',
  'HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n',
];
const BODIES = [
  '6\r\ndata: \r\n4\r\n1\n\n\n\r\n0\r\n\r\n',
  '1a;x=y\r\ndata: {"payload":{"id":1}}\n\n\r\n',
  '0\r\nX: y\r\n\r\n',
  'data: 12345\n',
];

describe('an endless answer', () => {
  it('is what Node’s own client makes of it, or is refused, however it is damaged and cut', async () => {
    let said: Saying = [];
    const port = await listening(createServer(answering(() => said)));
    const url = new URL(`http://127.0.0.1:${port}/global/event?x=1`);
    const damage = fc.tuple(fc.nat(400), fc.constantFrom('\r', '\n', ':', '0', 'f', ' ', ';', ''));
    const answer = fc
      .tuple(
        fc.constantFrom(...HEADS),
        fc.array(fc.constantFrom(...BODIES), { maxLength: 3 }),
        fc.array(damage, { maxLength: 2 }),
      )
      .map(([head, bodies, changes]) => {
        let text = head + bodies.join('');
        for (const [at, to] of changes) {
          if (at < text.length) text = text.slice(0, at) + to + text.slice(at + 1);
        }
        return Buffer.from(text, 'latin1');
      });
    let wholes = 0;
    await fc.assert(
      fc.asyncProperty(answer, fc.array(fc.nat(120), { maxLength: 4 }), async (bytes, cuts) => {
        said = pieces(bytes, cuts);
        const [ours, theirs] = await Promise.all([byUs(url), byNode(url)]);
        if (!ours.isWhole) return;
        wholes += 1;
        // But for the trailer, which Node looks at and we pass over.
        expect({ ...ours, isWhole: true }).toEqual({ ...theirs, isWhole: true });
      }),
      { numRuns: 1_000, seed: 20_261_122 },
    );
    expect(wholes).toBeGreaterThan(50);
  });

  it('that is well formed is read whole, in every framing', async () => {
    for (const [head, body] of [
      [HEADS[0], BODIES[0]],
      [HEADS[1], BODIES[3]],
      [HEADS[2], BODIES[3]],
      [HEADS[3], BODIES[2]],
    ]) {
      const bytes = Buffer.from(`${head}${body}`, 'latin1');
      const port = await listening(createServer(answering(() => [bytes])));
      const url = new URL(`http://127.0.0.1:${port}/`);
      const theirs = await byNode(url);
      expect(theirs.isWhole).toBe(true);
      expect(await byUs(url)).toEqual(theirs);
    }
  });

  it('is asked for with its path, query, host and headers, on a connection of its own', async () => {
    const server = createServer();
    const connected = once(server, 'connection');
    const port = await listening(server);
    const request = new EndlessGet({
      url: new URL(`http://127.0.0.1:${port}/base/global/event?directory=%2Fp`),
      headers: { accept: 'text/event-stream', authorization: 'Basic eDp5' },
      head: () => true,
      body: () => {},
      end: () => {},
    });
    cleanups.push(() => request.destroy());
    const [socket] = (await connected) as [Socket];
    expect(String(await once(socket, 'data'))).toBe(
      `GET /base/global/event?directory=%2Fp HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\n` +
        'connection: close\r\naccept: text/event-stream\r\nauthorization: Basic eDp5\r\n\r\n',
    );
    request.destroy();
    await request.gone;
  });

  it('refuses a header that would be two', () => {
    const url = new URL('http://127.0.0.1:1/');
    const options = { url, head: () => true, body: () => {}, end: () => {} };
    expect(() => new EndlessGet({ ...options, headers: { x: 'y\r\nz: a' } })).toThrow();
  });

  it('that is cut off before its end is broken, and a connection that is refused says so', async () => {
    const bytes = Buffer.from(`${HEADS[0]}6\r\ndat`);
    const port = await listening(createServer(answering(() => [bytes])));
    expect(await byUs(new URL(`http://127.0.0.1:${port}/`))).toMatchObject({
      body: 'dat',
      isWhole: false,
    });
    const closed = createServer();
    closed.listen(0, '127.0.0.1');
    await once(closed, 'listening');
    const { port: free } = closed.address() as AddressInfo;
    closed.close();
    const error = await new Promise<Error | undefined>((resolve) => {
      new EndlessGet({
        url: new URL(`http://localhost:${free}/`),
        headers: {},
        head: () => true,
        body: () => {},
        end: resolve,
      });
    });
    expect(error).toMatchObject({ code: 'ECONNREFUSED' });
  });

  it('is read over TLS, and paused and resumed without a loss', async () => {
    // Without certificates: the cipher suites that need none, and a client that asks for none.
    const { DEFAULT_CIPHERS } = tls;
    const { NODE_TLS_REJECT_UNAUTHORIZED = '1' } = process.env;
    tls.DEFAULT_CIPHERS = 'aNULL:@SECLEVEL=0';
    process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
    cleanups.push(() => {
      tls.DEFAULT_CIPHERS = DEFAULT_CIPHERS;
      process.env.NODE_TLS_REJECT_UNAUTHORIZED = NODE_TLS_REJECT_UNAUTHORIZED;
    });
    const lines = Array.from({ length: 20_000 }, (_, n) => `data: ${n}\n\n`).join('');
    const server = tls.createServer({ maxVersion: 'TLSv1.2' });
    server.on('secureConnection', (socket) => {
      socket.once('data', () => socket.end(`${HEADS[1]}${lines}`));
    });
    const port = await listening(server);
    let body = '';
    const error = await new Promise<Error | undefined>((resolve) => {
      const request: EndlessGet = new EndlessGet({
        url: new URL(`https://127.0.0.1:${port}/`),
        headers: {},
        head: () => true,
        body: (bytes, from, to) => {
          body += bytes.toString('latin1', from, to);
          request.pause();
          setTimeout(() => request.resume(), 1);
        },
        end: resolve,
      });
    });
    expect(error).toBeUndefined();
    expect(body).toBe(lines);
  });
});

function pieces(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const all: Buffer[] = [];
  let from = 0;
  for (const cut of cuts) {
    all.push(bytes.subarray(from, from + cut));
    from += cut;
  }
  all.push(bytes.subarray(from));
  return all.filter(({ length }) => length > 0);
}
