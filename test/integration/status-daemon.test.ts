/**
 * The status endpoint of a running daemon: what people ask for is really done, and reading it does not disturb the
 * watch.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { waitFor } from '../support/wait.js';
import { aborts, retry } from './daemon-support.js';
import { watched } from './status-support.js';

describe('the status of a daemon that watches', () => {
  it('follows a session from retrying to aborted, with the incident and the metrics', async () => {
    const w = await watched();
    const { id } = w.server.addSession({ title: 'Fix the build', directory: '/other' });
    w.server.setStatus(id, retry(2));
    await w.saw('session.health', { health: 'retrying' });
    // The title is requested separately.
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
    expect(status.sessions[0].timeline).toMatch(/si?$/);
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
    // Nothing about a single session is a label.
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
    // In a dry run there is nothing that a pause could hold back.
    expect((await dry.post('/pause')).status).toBe(409);
    expect((await dry.status()).watchdog).toMatchObject({ dryRun: true, paused: false });
  });

  it('says at /readyz what a server answered that it does not understand', async () => {
    const w = await watched();
    expect((await w.get('/readyz')).status).toBe(200);
    w.server.fault('*', {
      status: 200,
      body: '<html></html>',
      contentType: 'text/html',
    });
    w.server.endStreams();
    await w.saw('server.unsupported');
    const answer = await w.get('/readyz');
    expect(answer.status).toBe(503);
    expect(await answer.json()).toEqual({
      ready: false,
      reason: 'unsupported',
      says: expect.stringMatching(/text\/html.*: .*server\.url/),
    });
    expect(w.control().count('restart')).toBe(0);
  });

  it('counts nothing that a dry run would have done', async () => {
    const w = await watched({ dryRun: true });
    const { id } = w.server.addSession();
    w.server.setStatus(id, retry(30, 60_000));
    await w.saw('act.skipped', { act: 'abort' });
    w.control().exit();
    await w.saw('act.skipped', { act: 'restart' });
    const status = await w.status();
    expect(status).toMatchObject({
      restarts: [],
      server: { restarts: 0, recentRestarts: 0 },
      counters: { restarts: 0, aborted: 0 },
    });
    const metrics = await (await w.get('/metrics')).text();
    expect(metrics).toMatch(/server_restarts_total\{[^}]*reason="exited"[^}]*\} 0/);
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
    // The fake server keeps answering, so a probe shows it healthy again.
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
    w.server.fault('*', { cut: true });
    w.control().exit();
    await w.saw('act.skipped', { act: 'restart' });
    await w.post('/resume');
    await w.saw('server.restarted', { reason: 'exited' });
    await w.post('/pause');
    await w.post('/restart');
    await w.saw('server.restarted', { reason: 'manual' });
    expect(w.control().count('restart')).toBe(2);
  });

  it('aborts while a thousand connections knock, and says how fast', async () => {
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
    // Printed for the reader. On a shared machine the milliseconds prove nothing, but that the aborts come does.
    console.log(
      `from the retry to the abort: ${Math.round(middle(calm))} ms calm, ${Math.round(middle(stormy))} ms beside 1,000 connections`,
    );
    expect([...calm, ...stormy].every(Number.isFinite)).toBe(true);
  });
});
