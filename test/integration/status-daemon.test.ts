/** The status endpoint of a daemon that watches: what people ask for is really done, and looking costs the watch nothing. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { Daemon } from '../../src/daemon.js';
import { SystemClock } from '../../src/lib/clock.js';
import { createTelemetry } from '../../src/telemetry/logger.js';
import { createRedactor } from '../../src/telemetry/redact.js';
import { openStatus } from '../../src/telemetry/status/open.js';
import type { LogLine } from '../support/daemon.js';
import type { FakeOpencode } from '../support/fake-opencode.js';
import { waitFor } from '../support/wait.js';
import { aborts, afterwards, configWith, FakeControl, fake, retry } from './daemon-support.js';

type Groups = NonNullable<Parameters<typeof configWith>[0]>;

let nextPort = 30_000 + (process.pid % 10_000);

interface Watched {
  server: FakeOpencode;
  lines: LogLine[];
  control(): FakeControl;
  saw(event: string, where?: Partial<LogLine>): Promise<LogLine>;
  get(path: string): Promise<Response>;
  // biome-ignore lint/suspicious/noExplicitAny: parsed JSON of a test
  status(): Promise<any>;
  post(path: string): Promise<Response>;
  port: number;
}

async function watched(change: Groups = {}, acts = true): Promise<Watched> {
  const server = await fake();
  const config = configWith({ pileup: { minSessions: 99 } }, change, {
    server: { ...configWith().server, url: server.url },
  });
  const clock = new SystemClock();
  const lines: LogLine[] = [];
  nextPort += 1;
  const port = nextPort;
  const telemetry = createTelemetry({
    level: 'debug',
    format: 'json',
    server: server.url,
    secrets: [],
    clock,
    stream: { write: (text) => lines.push(JSON.parse(text) as LogLine) },
  });
  let control: FakeControl | undefined;
  const daemon = new Daemon({
    config,
    secrets: {},
    telemetry,
    clock,
    makeControl: async (deps) => {
      control = new FakeControl(deps, { acts, restart: () => {}, start: () => {} });
      return control;
    },
    openStatus: (source) =>
      openStatus({
        source,
        telemetry,
        clock,
        redactor: createRedactor([]),
        address: { kind: 'tcp', host: '127.0.0.1', port, loopback: true },
        token: undefined,
        version: '0.1.0',
        url: server.url,
      }),
  });
  const stop = new AbortController();
  const done = daemon.run(stop.signal);
  afterwards(async () => {
    stop.abort();
    await done;
    clock.stop();
    expect(lines.filter(({ event }) => event === 'error')).toEqual([]);
  });
  const saw = (event: string, where: Partial<LogLine> = {}) =>
    waitFor(
      () =>
        lines.find(
          (line) =>
            line.event === event &&
            Object.entries(where).every(([key, value]) => line[key] === value),
        ),
      { what: `${event} ${JSON.stringify(where)}`, interval: 5 },
    );
  await Promise.all([saw('status.listening'), saw('stream.connected'), saw('server.healthy')]);
  const url = `http://127.0.0.1:${port}`;
  return {
    server,
    lines,
    port,
    saw,
    control: () => control!,
    get: (path) => fetch(url + path),
    status: async () => (await fetch(`${url}/status`)).json(),
    post: (path) => fetch(url + path, { method: 'POST' }),
  };
}

describe('the status of a daemon that watches', () => {
  it('follows a session from retrying to aborted, with the incident and the metrics', async () => {
    const w = await watched();
    const { id } = w.server.addSession({ title: 'Fix the build', directory: '/other' });
    w.server.setStatus(id, retry(2));
    await w.saw('session.health', { health: 'retrying' });
    // Its title is asked for separately.
    const first = await waitFor(
      async () => {
        const [row] = (await w.status()).sessions;
        return row?.title !== undefined && row;
      },
      { interval: 20 },
    );
    expect(first).toMatchObject({
      id,
      health: 'retrying',
      title: 'Fix the build',
      attempt: 2,
      message: 'Rate limit reached',
    });
    w.server.setStatus(id, retry(5));
    await w.saw('session.aborted', { sessionID: id });
    const status = await waitFor(
      async () => {
        const seen = await w.status();
        return seen.incidents[0]?.outcome === 'aborted' && seen;
      },
      { interval: 20 },
    );
    expect(status.sessions).toMatchObject([{ id, health: 'idle' }]);
    expect(status.sessions[0].strip).toMatch(/si?$/);
    expect(status.incidents).toMatchObject([
      {
        kind: 'stuck',
        reason: 'attempts',
        outcome: 'aborted',
        sessionID: id,
        title: 'Fix the build',
        steps: [{ event: 'session.aborting' }, { event: 'session.aborted' }],
      },
    ]);
    const metrics = await (await w.get('/metrics')).text();
    expect(metrics).toContain('opencode_watchdog_aborts_total{reason="attempts",result="done"} 1');
    expect(metrics).toContain('opencode_watchdog_abort_duration_seconds_count 1');
    expect(metrics).toContain('opencode_watchdog_server_up 1');
    expect(metrics).toMatch(/probe_duration_seconds_count [1-9]/);
    expect(metrics).toMatch(/observations_total\{kind="status\.polled"\} [1-9]/);
    // Nothing about one session is a label.
    expect(metrics).not.toContain(id);
  });

  it('aborts on request, in the right directory, and sees it end', async () => {
    const w = await watched();
    const { id } = w.server.addSession({ directory: '/other' });
    w.server.setStatus(id, { type: 'busy' });
    await w.saw('session.health', { sessionID: id });
    const answer = await w.post(`/sessions/${id}/abort`);
    expect([answer.status, await answer.json()]).toMatchObject([
      200,
      { ok: true, outcome: 'done' },
    ]);
    expect(aborts(w.server)).toEqual([{ id, directory: '/other' }]);
    await w.saw('act.done', { sessionID: id, outcome: 'done' });
    expect(await (await w.post(`/sessions/${id}/abort`)).json()).toMatchObject({ outcome: 'idle' });
    expect((await w.post('/sessions/ses_unknown/abort')).status).toBe(404);
    w.server.abortBehaviour = 'lies';
    w.server.setStatus(id, { type: 'busy' });
    const failed = await w.post(`/sessions/${id}/abort`);
    expect([failed.status, ((await failed.json()) as { error: string }).error]).toEqual([
      502,
      expect.stringMatching(/still busy/),
    ]);
  });

  it('restarts on request, and says no where it never touches the process', async () => {
    const w = await watched();
    expect((await w.post('/restart')).status).toBe(200);
    await w.saw('server.restarted', { reason: 'manual' });
    expect(w.control().count('restart')).toBe(1);
    expect((await w.status()).restarts).toMatchObject([{ reason: 'manual', tookMs: 7 }]);
    const observing = await watched({}, false);
    expect((await observing.post('/restart')).status).toBe(409);
    const dry = await watched({ dryRun: true });
    expect((await dry.post('/restart')).status).toBe(409);
    expect((await dry.post('/sessions/ses_1/abort')).status).toBe(409);
  });

  it('does nothing while it is paused, and takes up what still stands when it is resumed', async () => {
    const w = await watched();
    const stays = w.server.addSession();
    const heals = w.server.addSession();
    expect((await w.post('/pause')).status).toBe(200);
    for (const { id } of [stays, heals]) {
      w.server.setStatus(id, retry(5, 60_000));
      await w.saw('act.skipped', { sessionID: id, act: 'abort', because: 'paused' });
    }
    w.control().exit();
    await w.saw('act.skipped', { act: 'restart', because: 'paused' });
    expect((await w.status()).watchdog.paused).toBe(true);
    w.server.setStatus(heals.id, { type: 'idle' });
    // The fake server answers on: a probe shows it healthy again.
    await waitFor(async () => (await w.get('/readyz')).status === 200, { interval: 20 });
    w.server.setStatus(stays.id, retry(6, 60_000));
    await w.saw('act.skipped', { sessionID: stays.id });
    expect(aborts(w.server)).toEqual([]);
    expect((await w.post('/resume')).status).toBe(200);
    await w.saw('session.aborted', { sessionID: stays.id });
    expect(aborts(w.server).map(({ id }) => id)).toEqual([stays.id]);
    expect(w.control().count('restart')).toBe(0);
  });

  it('is restarted for a dead server at once when it is resumed, and by a person also in a pause', async () => {
    const w = await watched({ probe: { interval: 60_000 } });
    await w.post('/pause');
    w.control().exit();
    await w.saw('act.skipped', { act: 'restart' });
    await w.post('/resume');
    await w.saw('server.restarted', { reason: 'exited' });
    await w.post('/pause');
    await w.post('/restart');
    await w.saw('server.restarted', { reason: 'manual' });
    expect(w.control().count('restart')).toBe(2);
  });

  it('aborts as fast as ever while a thousand connections knock', async () => {
    const w = await watched();
    const react = async () => {
      const { id } = w.server.addSession();
      w.server.setStatus(id, { type: 'busy' });
      await w.saw('session.health', { sessionID: id, health: 'busy' });
      const from = performance.now();
      w.server.setStatus(id, retry(5));
      await waitFor(() => aborts(w.server).some((each) => each.id === id), { interval: 1 });
      return performance.now() - from;
    };
    const calm = [await react(), await react(), await react()];
    const sockets: Socket[] = [];
    for (let i = 0; i < 1_000; i += 1) {
      const socket = connect(w.port, '127.0.0.1', () =>
        socket.write('GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(3)),
      );
      sockets.push(socket.on('error', () => {}).resume());
    }
    await Promise.race(sockets.map((socket) => once(socket, 'connect')));
    const stormy = [await react(), await react(), await react()];
    for (const socket of sockets) socket.destroy();
    const middle = (times: number[]) => times.toSorted((a, b) => a - b)[1]!;
    // The same process makes and answers the thousand here; what is left is noise of tens of milliseconds.
    expect(middle(stormy)).toBeLessThan(middle(calm) + 400);
  });
});
