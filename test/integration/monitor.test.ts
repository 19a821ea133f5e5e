/** The monitor with a fake opencode that cuts, goes silent, refuses, or has another version than expected. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { SystemClock } from '../../src/lib/clock.js';
import { Monitor, type MonitorOptions } from '../../src/opencode/monitor/monitor.js';
import { OpencodeClient } from '../../src/opencode/v1/client.js';
import type { Observation } from '../../src/watchdog/observation.js';
import {
  type FakeOpencode,
  type FakeOpencodeOptions,
  startFakeOpencode,
} from '../support/fake-opencode.js';
import { routes } from '../support/fake-opencode-routes.js';
import { pause, waitFor } from '../support/wait.js';

routes['GET /path'] ??= ({ directory }) => ({
  directory,
  state: '/s',
  config: '/c',
  worktree: '/',
});

type Kind = Observation['kind'];
type Of<K extends Kind> = Extract<Observation, { kind: K }>;

const clock = new SystemClock();
const ends: Array<() => Promise<unknown>> = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

class Watch {
  readonly seen: Observation[] = [];
  readonly notices: string[] = [];
  readonly client: OpencodeClient;
  readonly monitor: Monitor;

  constructor(
    url: string,
    options: { password?: string; timeoutMs?: number } & Partial<MonitorOptions>,
  ) {
    const { password, timeoutMs = 2_000, ...rest } = options;
    this.client = new OpencodeClient({ url, clock, timeoutMs, ...(password && { password }) });
    this.monitor = new Monitor({
      client: this.client,
      clock,
      watch: { pollInterval: 100, heartbeatTimeout: 100 },
      probe: { interval: 100, timeout: 500 },
      emit: (observation) => this.seen.push(observation),
      notice: (_, message) => this.notices.push(message),
      ...rest,
    });
    this.monitor.start();
    ends.push(async () => {
      await this.monitor.stop();
      const after = this.seen.length;
      await pause(30);
      expect(this.seen.slice(after)).toEqual([]);
      await this.client.close();
    });
  }

  all<K extends Kind>(kind: K): Array<Of<K>> {
    return this.seen.filter((observation): observation is Of<K> => observation.kind === kind);
  }

  /** Waits for the first observation of this kind that fits, starting at `from`. */
  until<K extends Kind>(
    kind: K,
    fits: (of: Of<K>) => boolean = () => true,
    from = 0,
  ): Promise<Of<K>> {
    const look = () =>
      this.seen.slice(from).find((one): one is Of<K> => one.kind === kind && fits(one as Of<K>));
    return waitFor(look, {
      what: `${kind}; seen: ${this.seen.map((one) => one.kind)}`,
      interval: 5,
      timeout: 10_000,
    });
  }
}

async function start(
  options: FakeOpencodeOptions = {},
  more: ConstructorParameters<typeof Watch>[1] = {},
): Promise<{ server: FakeOpencode; watch: Watch }> {
  const server = await startFakeOpencode(options);
  ends.push(() => server.stop());
  return { server, watch: new Watch(server.url, more) };
}

describe('an opencode before 1.1', () => {
  const missing = { status: 404, body: '404 Not Found', contentType: 'text/plain' };

  it('is said once to be one, with what is missing', async () => {
    const server = await startFakeOpencode({ globalEvent: false, heartbeatMs: null });
    ends.push(() => server.stop());
    server.fault('GET /global/health', missing);
    server.fault('GET /permission', missing);
    const told: Array<Readonly<Record<string, unknown>>> = [];
    const watch = new Watch(server.url, {
      notice: (_, message, fields) => {
        if (message.includes('older than 1.1')) told.push(fields);
      },
    });
    await watch.until('stream.resynced');
    await waitFor(() => watch.all('probe.ok').length > 3 && told.length > 0);
    expect(told).toHaveLength(1);
    const words = JSON.stringify(told[0]?.missing);
    expect(words).toMatch(/its version/);
    expect(words).toMatch(/other directories/);
    expect(words).not.toMatch(/status of sessions/);
  });

  it('is not believed to be one for a bad moment of its health route', async () => {
    const { server, watch } = await start();
    await watch.until('stream.resynced');
    server.fault('GET /global/health', { status: 500 });
    const from = watch.seen.length;
    await watch.until('probe.ok', ({ version }) => version === undefined, from);
    await pause(300);
    expect(watch.notices.filter((words) => words.includes('older'))).toEqual([]);
  });

  it('is not believed to be one for a moment in which everything but its paths answers 500', async () => {
    const { server, watch } = await start();
    await watch.until('stream.resynced');
    for (const route of ['GET /global/health', 'GET /permission', 'GET /session/status']) {
      server.fault(route, { status: 500, times: 2 });
    }
    const from = watch.seen.length;
    await watch.until('probe.ok', ({ version }) => version === undefined, from);
    await watch.until('probe.ok', ({ version }) => version !== undefined, from);
    const { id } = server.addSession();
    server.setStatus(id, { type: 'busy' }, { silently: true });
    await watch.until('status.polled', ({ statuses }) => statuses.has(id), from);
    expect(watch.notices.filter((words) => words.includes('older'))).toEqual([]);
  });

  it('that has no status of sessions either is followed by its messages, and polled no more', async () => {
    const server = await startFakeOpencode({ globalEvent: false, heartbeatMs: null });
    ends.push(() => server.stop());
    server.fault('GET /global/health', missing);
    server.fault('GET /permission', missing);
    server.fault('GET /session/status', { status: 400, body: { error: [] } });
    const watch = new Watch(server.url, {});
    await waitFor(() => watch.notices.some((words) => words.includes('older than 1.1')));
    await watch.until('stream.resynced');
    const { id } = server.addSession();
    const asked = server.requests.filter(({ path }) => path === '/session/status').length;
    const info = { id: 'msg_1', sessionID: id, role: 'assistant', time: { created: 1 } };
    server.emit({ type: 'message.updated', properties: { info } });
    const busy = await watch.until('session.status', ({ sessionID }) => sessionID === id);
    expect(busy.status).toEqual({ type: 'busy' });
    server.emit({ type: 'session.idle', properties: { sessionID: id } });
    await watch.until('session.status', ({ status }) => status.type === 'idle');
    await pause(300);
    expect(server.requests.filter(({ path }) => path === '/session/status')).toHaveLength(asked);
  });
});

describe('after a start', () => {
  it('the stream is up, the polls are in, and the server is healthy', async () => {
    const { server, watch } = await start();
    const { id } = server.addSession({ status: { type: 'busy' }, title: 'T' });
    await watch.until('stream.resynced');
    await watch.until('probe.ok', ({ version }) => version === '1.18.33');
    expect(watch.seen.findIndex(({ kind }) => kind === 'stream.connected')).toBeLessThan(
      watch.seen.findIndex(({ kind }) => kind === 'stream.resynced'),
    );
    const polled = await watch.until('status.polled', ({ statuses }) => statuses.has(id));
    expect(polled).toMatchObject({ directory: '/fake/project' });
    expect(polled.startedAt).toBeLessThanOrEqual(polled.at);
    expect(await watch.until('session.info')).toMatchObject({
      sessionID: id,
      info: { title: 'T' },
    });
  });

  it('sessions of other directories that were updated of late are found, with what they ask', async () => {
    const server = await startFakeOpencode();
    ends.push(() => server.stop());
    const other = server.addSession({ directory: '/other', status: { type: 'busy' } });
    const old = Date.now() - 2 * 24 * 3_600_000;
    server.addSession({ directory: '/old', time: { created: old, updated: old } });
    const asked = server.ask('permission', other.id);
    const watch = new Watch(server.url, {});
    await watch.until('stream.resynced');
    expect(watch.monitor.liveDirectories).toEqual(['/fake/project', '/other']);
    expect(await watch.until('request.asked')).toMatchObject({
      sessionID: other.id,
      directory: '/other',
      request: { requestID: asked.id, on: 'permission' },
    });
    const resynced = watch.seen.findIndex(({ kind }) => kind === 'stream.resynced');
    expect(watch.seen.findIndex(({ kind }) => kind === 'request.asked')).toBeLessThan(resynced);
    expect(server.requests.some(({ query }) => query.directory === '/old')).toBe(false);
  });

  it('a session that hangs in another directory is found where the stream was lost before it was listed', async () => {
    const server = await startFakeOpencode();
    ends.push(() => server.stop());
    const old = Date.now() - 30 * 60_000;
    const hung = { status: { type: 'busy' }, time: { created: old, updated: old } } as const;
    server.addSession({ directory: '/other', ...hung });
    const listed = server.fault('GET /session', { hang: true });
    const watch = new Watch(server.url, { timeoutMs: 60_000 });
    await waitFor(() => watch.monitor.streamConnected && server.count('GET /session') > 0);
    listed();
    server.endStreams();
    await watch.until('status.polled', ({ directory }) => directory === '/other');
  });

  describe('that begins in a new directory while nothing is heard is found', () => {
    const quiet = { pollInterval: 100, heartbeatTimeout: 300 };
    const hang = (server: FakeOpencode) => {
      const { id } = server.addSession({ directory: '/new' });
      server.setStatus(id, { type: 'busy' }, { silently: true });
    };

    it('after a stream that was dead while this machine slept', async () => {
      let slept = 0;
      class SleepingClock extends SystemClock {
        override epoch = () => Date.now() + slept;
      }
      const { server, watch } = await start(
        { heartbeatMs: 50 },
        { watch: quiet, clock: new SleepingClock() },
      );
      await watch.until('stream.resynced');
      await watch.until('stream.alive', ({ heartbeatMs }) => heartbeatMs !== undefined);
      server.streams.silence();
      hang(server);
      slept = 10 * 60_000;
      await watch.until('status.polled', ({ directory }) => directory === '/new');
    });

    it('after a restart that failed and left the server alive', async () => {
      const { server, watch } = await start({}, { watch: quiet });
      await watch.until('stream.resynced');
      await watch.monitor.pause();
      hang(server);
      watch.monitor.resume({ fresh: false });
      await watch.until('status.polled', ({ directory }) => directory === '/new');
    });
  });

  it('a directory that an event names is polled, until its instance is disposed', async () => {
    const { server, watch } = await start();
    await watch.until('stream.resynced');
    const { id } = server.addSession({ directory: '/new' });
    server.setStatus(id, { type: 'busy' });
    await watch.until('status.polled', ({ directory }) => directory === '/new');
    const dispose = async () => {
      const properties = { directory: '/new' };
      server.emit({ type: 'server.instance.disposed', properties }, '/new');
      await watch.until('directory.disposed', undefined, watch.seen.length);
    };
    // The event is late: the session may have begun after the dispose.
    await dispose();
    expect(watch.monitor.liveDirectories).toContain('/new');
    server.setStatus(id, { type: 'idle' });
    await dispose();
    expect(watch.monitor.liveDirectories).toEqual(['/fake/project']);
  });
});

describe('the event stream', () => {
  it('brings each status, and progress for deltas at most four times a second', async () => {
    const { server, watch } = await start();
    await watch.until('stream.resynced');
    const { id } = server.addSession();
    server.setStatus(id, { type: 'retry', attempt: 1, message: 'm', next: Date.now() + 5_000 });
    for (let n = 0; n < 500; n += 1) {
      const properties = { sessionID: id, messageID: 'm', partID: 'p', field: 'text', delta: 'x' };
      server.emit({ type: 'message.part.delta', properties });
    }
    server.setStatus(id, { type: 'idle' });
    await watch.until('session.status', ({ status }) => status.type === 'idle');
    expect(watch.all('session.status')[0]).toMatchObject({
      sessionID: id,
      directory: '/fake/project',
      status: { type: 'retry', attempt: 1 },
    });
    expect(watch.all('session.progress').length).toBeLessThanOrEqual(4);
    expect(watch.monitor.events).toBeGreaterThanOrEqual(503);
  });

  describe('with the result of a tool that is larger than a frame may be', () => {
    const url = `data:application/pdf;base64,${'A'.repeat(1_200_000)}`;
    const files = Array.from({ length: 30_000 }, () => ({ file: 'a.ts', before: '', after: 'x' }));

    /** A step that consists of this call. */
    async function call(result: object) {
      const quiet = { pollInterval: 100, heartbeatTimeout: 60_000 };
      const { server, watch } = await start({}, { watch: quiet });
      await watch.until('stream.resynced');
      const { id: sessionID } = server.addSession();
      server.setStatus(sessionID, { type: 'busy' });
      const emit = (part: object) => {
        const of = { id: 'prt_1', messageID: 'msg_1', sessionID };
        const properties = { sessionID, part: { ...part, ...of } };
        server.emit({ type: 'message.part.updated', properties });
      };
      const tool = (state: object) => emit({ type: 'tool', tool: 'read', callID: 'call_1', state });
      tool({ status: 'running', input: {}, time: { start: 1 } });
      tool({ status: 'completed', input: {}, output: 'ok', ...result, time: { start: 1, end: 2 } });
      emit({ type: 'step-finish', reason: 'tool-calls', cost: 1 });
      const { step } = await watch.until('session.step_finished');
      return { watch, sessionID, step };
    }

    it('reads the call of a file that comes with it', async () => {
      const { watch, step } = await call({ attachments: [{ type: 'file', url }] });
      expect(watch.all('tool.ended')).toMatchObject([{ callID: 'call_1' }]);
      expect(step).toMatchObject({ empty: false, tools: 1, tool: 'read' });
      expect(step).toHaveProperty('fingerprint');
      expect(watch.notices).not.toContain('an event was too large to read');
    });

    it('takes no step for empty of which a frame could not be read', async () => {
      const { watch, sessionID, step } = await call({ metadata: { files } });
      expect(step).toMatchObject({ empty: false, tools: 0, costUsd: 1 });
      expect(step).not.toHaveProperty('fingerprint');
      expect(watch.notices).toContain('an event was too large to read');
      await watch.until('session.inspected', (of) => of.sessionID === sessionID);
    });
  });

  it('that ends is opened again, polled after, and probed for at once', async () => {
    const { server, watch } = await start({}, { probe: { interval: 60_000, timeout: 500 } });
    await watch.until('stream.resynced');
    await watch.until('probe.ok');
    const before = watch.seen.length;
    const { id } = server.addSession({ status: { type: 'busy' } });
    server.endStreams();
    expect(await watch.until('stream.lost')).toMatchObject({ path: '/global/event' });
    await watch.until('probe.ok', undefined, before);
    await watch.until('stream.connected', undefined, before);
    await watch.until('stream.resynced', undefined, before);
    await watch.until('status.polled', ({ statuses }) => statuses.has(id), before);
  });

  it('that falls silent is given up and opened again', async () => {
    const { server, watch } = await start({ heartbeatMs: 50 });
    await watch.until('stream.alive', ({ heartbeatMs }) => heartbeatMs !== undefined);
    server.silenceStreams();
    const lost = await watch.until('stream.lost');
    expect(lost.reason).toMatch(/^silent for/);
    expect(lost.silentMs).toBeGreaterThanOrEqual(140);
    const at = watch.seen.indexOf(lost);
    await watch.until('stream.resynced', undefined, at);
  });

  it('without heartbeats may be silent', async () => {
    const { watch } = await start({ heartbeatMs: null });
    await watch.until('stream.resynced');
    await pause(600);
    expect(watch.all('stream.lost')).toEqual([]);
  });

  it('is the older one where there is no global one', async () => {
    const { server, watch } = await start({ globalEvent: false });
    expect(await watch.until('stream.connected')).toMatchObject({ path: '/event' });
    await watch.until('stream.resynced');
    const { id } = server.addSession();
    server.setStatus(id, { type: 'busy' });
    expect(await watch.until('session.status')).toMatchObject({
      sessionID: id,
      directory: '/fake/project',
    });
  });

  it.each([
    ['500', { status: 500 }],
    ['an HTML 200', { status: 200, body: '<html>', contentType: 'text/html' }],
  ])('is looked for again, on both paths, as long as they answer %s', async (_, fault) => {
    const server = await startFakeOpencode();
    ends.push(() => server.stop());
    server.fault('GET /global/event', fault);
    server.fault('GET /event', fault);
    const watch = new Watch(server.url, {});
    await waitFor(() => server.count('GET /event') >= 2);
    expect(watch.all('stream.connected')).toEqual([]);
    server.clearFaults();
    await watch.until('stream.resynced');
  });

  it('goes back from an /event that ends at once to the global one', async () => {
    const server = await startFakeOpencode({ eventEndsAtOnce: true });
    ends.push(() => server.stop());
    server.fault('GET /global/event', { status: 404, times: 1 });
    const watch = new Watch(server.url, {});
    await watch.until('stream.connected', ({ path }) => path === '/event');
    await watch.until('stream.connected', ({ path }) => path === '/global/event');
    await watch.until('stream.resynced');
  });

  it('stays with the global path through the 503 of a proxy whose server is away', async () => {
    const server = await startFakeOpencode();
    ends.push(() => server.stop());
    server.fault('GET /global/event', { status: 503, times: 3 });
    const watch = new Watch(server.url, {});
    expect(await watch.until('stream.connected')).toMatchObject({ path: '/global/event' });
    expect(server.count('GET /event')).toBe(0);
  });

  it.each([400, 429, 500, 503])(
    'stays with the global path through one %i, which says nothing about the path',
    async (status) => {
      const server = await startFakeOpencode();
      ends.push(() => server.stop());
      server.fault('GET /global/event', { status, times: 1 });
      const watch = new Watch(server.url, {});
      expect(await watch.until('stream.connected')).toMatchObject({ path: '/global/event' });
      expect(server.count('GET /event')).toBe(0);
    },
  );

  it('survives broken frames, comments and half a frame before its end', async () => {
    const { server, watch } = await start();
    await watch.until('stream.resynced');
    server.streams.sendRaw(': hello\n\ndata: {"payload":\n\ndata: 3\n\nnonsense\n\n');
    const { id } = server.addSession();
    server.setStatus(id, { type: 'busy' });
    await watch.until('session.status', ({ sessionID }) => sessionID === id);
    server.streams.sendRaw('data: {"directory":"/fa');
    server.endStreams();
    const lost = await watch.until('stream.lost');
    await watch.until('stream.resynced', undefined, watch.seen.indexOf(lost));
    expect(watch.client.parseStats.unparseable).toBeGreaterThanOrEqual(2);
  });
});

describe('a full disk of the server', () => {
  it('is said once, though every session fails on it', async () => {
    const { server, watch } = await start();
    await watch.until('stream.resynced');
    const message = 'SqliteError: database or disk is full\n    at run (/opencode/db.ts:1:1)';
    for (let n = 0; n < 3; n += 1) {
      const { id } = server.addSession();
      const error = { name: 'UnknownError', data: { message } };
      server.emit({ type: 'session.error', properties: { sessionID: id, error } });
      const said = await watch.until('session.error', ({ sessionID }) => sessionID === id);
      expect(said.message).toBe('SqliteError: database or disk is full');
    }
    expect(watch.notices.filter((words) => words.includes('disk is full'))).toHaveLength(1);
  });
});

describe('polls and events', () => {
  it('a poll that crosses an event says when it was sent', async () => {
    const { server, watch } = await start();
    await watch.until('stream.resynced');
    const { id } = server.addSession();
    server.setStatus(id, { type: 'busy' });
    await watch.until('session.status');
    const hold = server.holdStatus();
    await waitFor(() => hold.held > 0, { interval: 5 });
    server.setStatus(id, { type: 'idle' });
    const event = await watch.until('session.status', ({ status }) => status.type === 'idle');
    const from = watch.seen.length;
    hold.release();
    const late = await watch.until('status.polled', ({ statuses }) => statuses.has(id), from);
    expect(late.startedAt).toBeLessThan(event.at);
    expect(late.at).toBeGreaterThanOrEqual(event.at);
    const next = await watch.until('status.polled', ({ statuses }) => !statuses.has(id), from);
    expect(next.startedAt).toBeGreaterThan(event.at);
  });

  it('a directory is never asked twice at a time, however slowly it answers', async () => {
    const { server, watch } = await start();
    await watch.until('stream.resynced');
    const hold = server.holdStatus();
    await waitFor(() => hold.held > 0, { interval: 5 });
    await pause(400);
    expect(hold.held).toBe(1);
    hold.release();
  });

  it('a failing poll is told once, and is no word about the server', async () => {
    const { server, watch } = await start();
    await watch.until('stream.resynced');
    server.fault('GET /session/status', { status: 500 });
    const before = server.count('GET /session/status');
    await waitFor(() => server.count('GET /session/status') >= before + 3);
    expect(watch.notices.filter((text) => text === 'a status poll failed')).toHaveLength(1);
    expect(watch.all('probe.failed')).toEqual([]);
  });

  it('a request answered while the stream was away is noticed', async () => {
    const { server, watch } = await start();
    await watch.until('stream.resynced');
    const { id } = server.addSession();
    server.setStatus(id, { type: 'busy' });
    const asked = server.ask('permission', id);
    await watch.until('request.asked');
    server.fault('GET /global/event', { status: 503 });
    server.endStreams();
    await watch.until('stream.lost');
    server.pending.delete(asked.id);
    server.clearFaults();
    expect(await watch.until('request.answered')).toMatchObject({
      requestID: asked.id,
      sessionID: id,
    });
  });
});

describe('the server', () => {
  it('that wants a password is unauthorized, and alive', async () => {
    const { watch } = await start({ password: 'x' });
    expect(await watch.until('probe.unauthorized')).toMatchObject({ status: 401 });
    expect(watch.all('probe.failed')).toEqual([]);
    await pause(100);
    expect(JSON.stringify(watch.notices)).not.toContain('x"');
  });

  it('is watched with the password', async () => {
    const { watch } = await start({ password: 'hunter2' }, { password: 'hunter2' });
    await watch.until('stream.resynced');
    await watch.until('probe.ok');
  });

  it('that hangs fails its probes by timeout', async () => {
    const { server, watch } = await start();
    await watch.until('probe.ok');
    server.fault('*', { hang: true });
    expect(await watch.until('probe.failed')).toMatchObject({ failure: 'timeout' });
  });

  it('that is replaced loses what ran in its directories', async () => {
    const first = await startFakeOpencode();
    const { port, url } = first;
    const { id } = first.addSession({ directory: '/other' });
    const watch = new Watch(url, {});
    await watch.until('stream.resynced');
    first.setStatus(id, { type: 'busy' });
    await watch.until('session.status');
    await first.stop();
    await watch.until('probe.failed', ({ failure }) => failure === 'refused');
    const second = await startFakeOpencode({ port, version: '1.19.0' });
    ends.push(() => second.stop());
    // Polled, this directory would get an instance for nothing.
    const before = Date.now() - 2 * 3_600_000;
    second.addSession({ directory: '/other', time: { created: before, updated: before } });
    const from = watch.seen.length;
    await watch.until('directory.disposed', ({ directory }) => directory === '/other');
    await watch.until('probe.ok', ({ version }) => version === '1.19.0');
    await watch.until('stream.resynced', undefined, from);
    expect(watch.monitor.liveDirectories).toEqual(['/fake/project']);
    expect(second.requests.some(({ query }) => query.directory === '/other')).toBe(false);
  });

  it('is left alone while the monitor is paused', async () => {
    const { server, watch } = await start();
    await watch.until('stream.resynced');
    await watch.monitor.pause();
    expect(watch.seen.at(-1)).toMatchObject({ kind: 'stream.lost' });
    const [requests, seen] = [server.requests.length, watch.seen.length];
    await pause(300);
    expect(server.requests.length).toBe(requests);
    expect(watch.seen.length).toBe(seen);
    watch.monitor.resume();
    await watch.until('stream.resynced', undefined, seen);
  });

  it('that was restarted is asked only about directories where something happened since', async () => {
    const { server, watch } = await start();
    await watch.until('stream.resynced');
    await watch.monitor.pause();
    const hourAgo = Date.now() - 3_600_000;
    server.addSession({ directory: '/other', time: { created: hourAgo, updated: hourAgo } });
    server.addSession({ directory: '/new' });
    const from = watch.seen.length;
    watch.monitor.resume();
    await watch.until('stream.resynced', undefined, from);
    expect(watch.monitor.liveDirectories).toEqual(['/fake/project', '/new']);
  });
});

describe('an inspection', () => {
  it('shows tools, requests and a mark; or that the session is gone', async () => {
    const { server, watch } = await start();
    await watch.until('stream.resynced');
    const state = { status: 'running', time: { start: Date.now() - 5_000 } };
    const { id } = server.addSession({
      title: 'T',
      status: { type: 'busy' },
      messages: [
        { info: { id: 'u', role: 'user' }, parts: [] },
        {
          info: { id: 'a', role: 'assistant', providerID: 'p', modelID: 'm', time: { created: 1 } },
          parts: [{ id: 'x', type: 'tool', tool: 'bash', callID: 'c', state }],
        },
      ],
    });
    const asked = server.ask('question', id);
    await watch.monitor.inspect(id, '/fake/project');
    const [look] = watch.all('session.inspected');
    expect(look).toMatchObject({
      sessionID: id,
      directory: '/fake/project',
      result: {
        found: true,
        info: { title: 'T' },
        tools: [{ callID: 'c', tool: 'bash' }],
        requests: [{ requestID: asked.id, on: 'question' }],
        preparing: false,
        model: 'p/m',
      },
    });
    const started = look?.result.found ? look.result.tools[0]?.startedAt : undefined;
    expect(look!.at - started!).toBeGreaterThanOrEqual(4_990);
    await watch.monitor.inspect('ses_gone', '/fake/project');
    expect(watch.all('session.inspected').at(-1)?.result).toEqual({ found: false });
    server.fault('GET /session/:id', { status: 503 });
    await watch.monitor.inspect(id, '/fake/project');
    expect((await watch.until('session.inspect_failed')).error).toContain('503');
  });

  it('comes by itself when an active session turns out to be none', async () => {
    const { server, watch } = await start();
    await watch.until('stream.resynced');
    const { id } = server.addSession({ status: { type: 'busy' }, deleted: true });
    expect(await watch.until('session.inspected')).toMatchObject({
      sessionID: id,
      result: { found: false },
    });
  });
});

it('a server that accepts and never answers the stream is asked again', async () => {
  let streams = 0;
  const server = createServer((req, res) => {
    if (req.url === '/global/event') {
      streams += 1;
      if (streams === 1) return;
      res.writeHead(200, { 'content-type': 'text/event-stream' }).write(': begun\n\n');
      return;
    }
    res.writeHead(200, { 'content-type': 'application/json' }).end('{}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  ends.push(async () => {
    server.closeAllConnections();
    server.close();
  });
  const watch = new Watch(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, {});
  await watch.until('stream.connected');
  expect(streams).toBe(2);
});
