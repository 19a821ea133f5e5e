/** One connection to an event stream, with a server that misbehaves in named ways. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MAX_FRAME_BYTES } from '../../src/opencode/http/delta-filter.js';
import {
  type ConnectionEnd,
  EventConnection,
  type EventConnectionOptions,
} from '../../src/opencode/http/event-source.js';
import { Transport } from '../../src/opencode/http/transport.js';
import { FakeClock } from '../support/fake-clock.js';
import { type MisbehavingServer, startMisbehaving } from '../support/misbehaving-server.js';
import { waitFor } from '../support/wait.js';

let server: MisbehavingServer;
const ends: Array<() => Promise<unknown>> = [];
beforeEach(async () => {
  server = await startMisbehaving();
});
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
  await server.stop();
});

type Heard = ReturnType<typeof connect>;

function connect(
  name: string,
  options: Partial<EventConnectionOptions> & { url?: string; password?: string } = {},
) {
  const { url = server.url, password, ...more } = options;
  const clock = new FakeClock();
  const transport = new Transport({ url, clock, timeoutMs: 1_000, ...(password && { password }) });
  const heard = { clock, opened: 0, reads: 0, data: [] as string[], ends: [] as ConnectionEnd[] };
  const connection = new EventConnection({
    target: transport.streamTarget(server.path(name)),
    clock,
    onOpen: () => void heard.opened++,
    onBytes: () => void heard.reads++,
    onData: (text) => void heard.data.push(text),
    onEnd: (end) => void heard.ends.push(end),
    ...more,
  });
  ends.push(
    () => connection.close(),
    () => transport.close(),
  );
  return { ...heard, heard, connection };
}

const ended = async ({ heard }: Heard): Promise<ConnectionEnd> => {
  await waitFor(() => heard.ends.length > 0);
  // Nothing is reported twice.
  expect(heard.ends).toHaveLength(1);
  return heard.ends[0]!;
};

describe('a connection that fails', () => {
  it.each([
    ['redirects elsewhere', { why: 'status', statusCode: 302, reason: 'it answered 302' }],
    ['is an event stream behind a redirect', { why: 'status', statusCode: 307 }],
    ['says no content', { why: 'status', statusCode: 204 }],
    ['fails with words', { why: 'status', statusCode: 500, reason: 'it answered 500' }],
    ['fails with endless words', { why: 'status', statusCode: 500 }],
    ['is a web page', { why: 'type', reason: 'it answered with text/html' }],
    ['is endless JSON', { why: 'type' }],
    ['breaks the connection', { why: 'failed' }],
    ['speaks no HTTP', { why: 'failed' }],
    ['has a header beyond all measure', { why: 'failed' }],
  ])('because the answer %s says so once, and is gone', async (name, expected) => {
    const connected = connect(name);
    expect(await ended(connected)).toMatchObject(expected);
    expect(connected.heard.opened).toBe(0);
    await connected.connection.close();
    expect(server.requests).toHaveLength(1);
  });

  it('because nobody listens says refused', async () => {
    const { url, port } = server;
    await server.stop();
    expect(await ended(connect('is one frame', { url }))).toEqual({
      why: 'refused',
      reason: 'connection refused',
    });
    server = await startMisbehaving();
    expect(server.port).not.toBe(port);
  });

  it('because it is accepted and never answered says so after 5 s', async () => {
    const connected = connect('is accepted and never answered');
    await waitFor(() => server.requests.length === 1);
    await connected.heard.clock.advance(4_900);
    expect(connected.heard.ends).toEqual([]);
    await connected.heard.clock.advance(200);
    expect(await ended(connected)).toEqual({ why: 'headers', reason: 'no answer within 5000 ms' });
  });

  it('because its credentials could not be had does not connect without them', async () => {
    const target = {
      url: new URL(`${server.url}${server.path('is one frame')}`),
      authorised: () => Promise.reject(new Error('the port is held by another')),
    };
    expect(await ended(connect('is one frame', { target }))).toEqual({
      why: 'failed',
      reason: 'the port is held by another',
    });
    expect(server.requests).toEqual([]);
  });
});

describe('a stream', () => {
  it('is asked for with credentials and without a word of gzip', async () => {
    const { heard } = connect('is one frame', { password: 'secret' });
    await waitFor(() => heard.data.length === 1);
    const { headers } = server.requests[0]!;
    expect(headers.accept).toBe('text/event-stream');
    expect(headers.authorization).toMatch(/^Basic /);
    expect(headers).not.toHaveProperty('accept-encoding');
  });

  it('is asked for on 127.0.0.1 where the URL says localhost', async () => {
    const { heard } = connect('is one frame', { url: `http://localhost:${server.port}` });
    await waitFor(() => heard.data.length === 1);
    expect(server.requests[0]?.headers.host).toBe(`localhost:${server.port}`);
  });

  it('that the server ends is told so, and not connected again', async () => {
    for (const name of ['ends at once', 'asks for a reconnect at once']) {
      const before = server.connections();
      const connected = connect(name);
      expect(await ended(connected)).toEqual({ why: 'ended', reason: 'the server ended it' });
      expect(connected.heard.opened).toBe(1);
      await connected.connection.close();
      // With the server's `retry: 1` the next connection would come within a millisecond.
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(server.connections()).toBe(before + 1);
    }
  });

  it('that breaks in the middle of a frame tells the frames before, and that it broke', async () => {
    const connected = connect('breaks in the middle of a frame');
    expect(await ended(connected)).toEqual({ why: 'failed', reason: 'the connection broke' });
    expect(connected.heard.data).toEqual(['1']);
  });

  it('that is closed inside the listener of its end or of a frame says nothing more', async () => {
    const seen: unknown[] = [];
    const inEnd: Heard = connect('asks for a reconnect at once', {
      onEnd: (end) => {
        seen.push(end.why);
        void inEnd.connection.close();
      },
    });
    await waitFor(() => seen.length > 0);
    const inData: Heard = connect('has frames called open, error and other', {
      onData: (text) => {
        seen.push(text);
        void inData.connection.close();
      },
    });
    await waitFor(() => seen.length > 1);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(seen).toEqual(['ended', '"m"']);
    expect(server.connections()).toBe(2);
  });

  it('whose frames are called open or error is neither opened twice nor ended', async () => {
    const { heard } = connect('has frames called open, error and other');
    await waitFor(() => heard.data.length === 2);
    expect(heard).toMatchObject({ opened: 1, data: ['"m"', '2'], ends: [] });
  });

  it('that comes byte by byte is read whole, characters of several bytes too', async () => {
    const { heard } = connect('comes byte by byte');
    await waitFor(() => heard.data.length === 2);
    expect(heard.data).toEqual(['"grüße 日本 🐕"', '"crlf"']);
  });

  it('of comments alone is alive', async () => {
    const { heard } = connect('has only comments');
    await waitFor(() => heard.reads === 1);
    expect(heard).toMatchObject({ data: [], ends: [] });
  });

  it('goes on behind a frame that was too large, which is told with its beginning', async () => {
    const heads: string[] = [];
    const { heard } = connect('has a frame too large', {
      onOversized: (head) => void heads.push(head),
    });
    await waitFor(() => heard.data.length === 2);
    expect(heard.data).toEqual(['1', '2']);
    expect(heads).toHaveLength(1);
    expect(heads[0]).toMatch(/^data: \{"head":1,/);
  });

  it('whose frame has no end is held in no more memory than one frame may have', async () => {
    let oversized = 0;
    const { heard } = connect('has a frame without end', { onOversized: () => void oversized++ });
    await waitFor(() => server.written() > 20 * MAX_FRAME_BYTES);
    expect(oversized).toBe(1);
    expect(heard).toMatchObject({ data: [], ends: [] });
  });

  it('that is loud keeps little of what it has not read', async () => {
    const source = connect('is loud without end');
    await waitFor(() => source.heard.data.length > 2_000);
    const read = source.heard.data.length * 10_000;
    expect(server.written() - read).toBeLessThan(16 * MAX_FRAME_BYTES);
  });

  it('ends where a listener throws: nothing of it is thrown into the process', async () => {
    const thrown: unknown[] = [];
    const onUncaught = (error: unknown) => thrown.push(error);
    process.on('uncaughtException', onUncaught);
    ends.push(async () => void process.off('uncaughtException', onUncaught));
    const broken = () => {
      throw new Error('oh no');
    };
    for (const listener of ['onOpen', 'onBytes', 'onData', 'isRedundant'] as const) {
      const connected = connect('is one frame', { [listener]: broken });
      expect(await ended(connected), listener).toEqual({
        why: 'failed',
        reason: 'could not be read: oh no',
      });
    }
    await new Promise((resolve) => setImmediate(resolve));
    expect(thrown).toEqual([]);
  });

  it('is without the frames that its owner calls redundant, and counts them', async () => {
    const { heard, connection } = connect('has frames called open, error and other', {
      isRedundant: (head) => head === 'data: 2\n\n',
    });
    await waitFor(() => connection.frames === 5);
    await waitFor(() => heard.data.length === 1);
    expect(heard.data).toEqual(['"m"']);
  });
});
