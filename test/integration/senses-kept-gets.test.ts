/** GETs over kept connections: the same answers and errors as by Node's client, whatever a server does. */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { SystemClock } from '../../src/lib/clock.js';
import { KeptGets, MAX_KEPT } from '../../src/opencode/http/kept-gets.js';
import { Transport } from '../../src/opencode/http/transport.js';
import { waitFor } from '../support/wait.js';

const clock = new SystemClock();
const ends: Array<() => Promise<unknown> | unknown> = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** A server that says raw bytes; `say` gets the number of the request on its connection and of all. */
async function raw(say: (socket: Socket, nth: number, of: number, request: string) => void) {
  const sockets = new Set<Socket>();
  let asked = 0;
  let connections = 0;
  const server = createServer((socket) => {
    sockets.add(socket);
    connections += 1;
    let nth = 0;
    socket.on('data', (bytes) => {
      nth += 1;
      asked += 1;
      say(socket, nth, asked, bytes.toString('latin1'));
    });
    socket.on('error', () => {});
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  ends.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { port, connections: () => connections, asked: () => asked };
}

const OK = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n';
const whole = (body: string) => `${OK}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;

function transport(port: number, timeoutMs = 2_000): Transport {
  const made = new Transport({ url: `http://127.0.0.1:${port}`, clock, timeoutMs });
  ends.push(() => made.close());
  return made;
}

function kept(port: number, keptMs = 30_000): KeptGets {
  const headers = { host: `127.0.0.1:${port}`, accept: 'application/json' };
  const made = new KeptGets({ host: '127.0.0.1', port, headers, keptMs, clock });
  ends.push(() => made.close());
  made.allow();
  return made;
}

const get = (from: KeptGets, path = '/x', maxBytes = 1_000) => from.get(path, maxBytes, () => {});

describe('a kept connection', () => {
  test('is one for any number of requests, one after the other', async () => {
    const { port, connections, asked } = await raw((socket, _nth, of) =>
      socket.write(whole(`${of}`)),
    );
    const api = transport(port);
    for (let i = 1; i <= 20; i += 1) expect(await api.json({ path: '/x' })).toBe(i);
    expect(asked()).toBe(20);
    // The first was Node's.
    expect(connections()).toBe(2);
  });

  test('asks for what it is told to, with the headers of every request', async () => {
    const seen: string[] = [];
    const { port } = await raw((socket, _nth, _of, request) => {
      seen.push(request);
      socket.write(whole('{}'));
    });
    await get(kept(port), '/session/status?directory=%2Fp');
    expect(seen).toEqual([
      `GET /session/status?directory=%2Fp HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\naccept: application/json\r\n\r\n`,
    ]);
  });

  test('takes an answer in whatever pieces it comes, by its length or in chunks', async () => {
    const text = JSON.stringify({ text: 'schön '.repeat(50) });
    const bytes = Buffer.from(text);
    const chunked = (sizes: readonly number[]) => {
      const parts: Buffer[] = [];
      let from = 0;
      for (let i = 0; from < bytes.length; i += 1) {
        const piece = bytes.subarray(from, from + (sizes[i % sizes.length] ?? 1));
        parts.push(Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n'));
        from += piece.length;
      }
      const head = Buffer.from(`${OK}transfer-encoding: chunked\r\n\r\n`);
      return Buffer.concat([head, ...parts, Buffer.from('0\r\n\r\n')]);
    };
    let next = Buffer.alloc(0);
    let cuts: number[] = [];
    const { port } = await raw(async (socket) => {
      let from = 0;
      for (const cut of [...cuts, next.length]) {
        socket.write(next.subarray(from, cut));
        from = cut;
        await new Promise((resolve) => setImmediate(resolve));
      }
    });
    const from = kept(port);
    const sizes = fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(
        fc.boolean(),
        sizes,
        fc.array(fc.nat(500), { maxLength: 4 }),
        async (c, s, at) => {
          next = c ? chunked(s) : Buffer.from(whole(text));
          cuts = at.filter((cut) => cut < next.length).sort((a, b) => a - b);
          expect(await get(from)).toMatchObject({ status: 200, text });
        },
      ),
      { numRuns: 200 },
    );
  });

  test('that was idle for long is not used again', async () => {
    const { port, connections } = await raw((socket) => socket.write(whole('{}')));
    const from = kept(port, -1);
    for (let i = 0; i < 3; i += 1) expect(await get(from)).toBeDefined();
    expect(connections()).toBe(3);
  });

  test('are bounded in number: whoever comes then is asked for otherwise', async () => {
    const { port, connections } = await raw(() => {});
    const from = kept(port);
    const waiting = Array.from({ length: MAX_KEPT }, () => get(from));
    expect(await get(from)).toBeUndefined();
    // Nobody was told to leave those that are on their way alone.
    from.close();
    expect(await Promise.all(waiting)).toEqual(waiting.map(() => undefined));
    expect(connections()).toBeLessThanOrEqual(MAX_KEPT);
  });
});

describe('what is out of the ordinary is left to others', () => {
  const odd: Record<string, string> = {
    'no end of the body said': `${OK}\r\n{}`,
    'no HTTP': 'SSH-2.0-OpenSSH_9.2\r\n\r\n',
    'a length that is none': `${OK}content-length: two\r\n\r\n{}`,
    'more than its length': `${whole('{}')}{}`,
    'bad chunks': `${OK}transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n`,
    'both length and chunks': `${OK}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n`,
    'a head without end': `${OK}x: ${'x'.repeat(40_000)}`,
  };
  for (const [name, bytes] of Object.entries(odd)) {
    test(name, async () => {
      const { port } = await raw((socket) => socket.write(bytes));
      expect(await get(kept(port))).toBeUndefined();
    });
  }

  test('nobody who listens, a path that is none', async () => {
    expect(await get(kept(1))).toBeUndefined();
    const { port, asked } = await raw((socket) => socket.write(whole('{}')));
    expect(await get(kept(port), '/a b\r\nx: y')).toBeUndefined();
    expect(asked()).toBe(0);
  });

  test('and the caller sees an answer all the same', async () => {
    // Each connection serves once, and then closes without a word as it is asked again.
    const { port } = await raw((socket, nth) => {
      if (nth > 1) socket.destroy();
      else socket.write(whole('{"ok":1}'));
    });
    const api = transport(port);
    for (let i = 0; i < 6; i += 1) expect(await api.json({ path: '/x' })).toEqual({ ok: 1 });
  });

  test('an unasked word ends the connection, and is nobody’s answer', async () => {
    const { port, connections } = await raw((socket, _nth, of) => {
      socket.write(whole(`${of}`));
      setTimeout(() => socket.write(whole('"smuggled"')), 5);
    });
    const from = kept(port);
    expect(await get(from)).toMatchObject({ text: '1' });
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await get(from)).toMatchObject({ text: '2' });
    expect(connections()).toBe(2);
  });
});

describe('errors are those of Node’s client', () => {
  test('a status, a time-out, an answer too large, a signal', async () => {
    let bytes = whole('{}');
    const { port } = await raw((socket) => socket.write(bytes));
    const api = transport(port, 300);
    const kind = (maxBytes = 100, signal?: AbortSignal) =>
      api.json({ path: '/x', maxBytes, ...(signal && { signal }) }).then(
        () => 'none',
        (error: { kind: string }) => error.kind,
      );
    expect(await kind()).toBe('none');
    bytes = 'HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n';
    expect(await kind()).toBe('unauthorized');
    bytes = whole(`"${'x'.repeat(1_000)}"`);
    expect(await kind()).toBe('too_large');
    bytes = `${OK}content-length: 10\r\n\r\n{}`;
    expect(await kind()).toBe('timeout');
    const control = new AbortController();
    const given = kind(100, control.signal);
    setTimeout(() => control.abort(), 20);
    expect(await given).toBe('aborted');
    bytes = whole('<html>').replace('application/json', 'text/html');
    expect(await kind()).toBe('not_opencode');
    bytes = 'HTTP/1.1 204 No Content\r\n\r\n';
    expect(await kind()).toBe('none');
    expect(await kind()).toBe('none');
  });

  test('nothing is asked any more once it is closed', async () => {
    const { port, asked } = await raw((socket) => socket.write(whole('{}')));
    const api = transport(port);
    for (let i = 0; i < 3; i += 1) await api.json({ path: '/x' });
    await api.close();
    await expect(api.json({ path: '/x' })).rejects.toThrow();
    await waitFor(() => asked() === 3, { what: 'no more requests' });
  });
});
