/** The daemon's own life: what it logs about each session's health over time, how it reloads, and how it stops. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { startDaemon } from '../support/daemon.js';
import { isRoot, needsRoot } from '../support/other-user.js';
import { waitFor } from '../support/wait.js';
import { aborts, fake, OWN, retry, start, TestRun, watch } from './daemon-support.js';

describe('the health lines', () => {
  it('say every change of health, and each active session again and again', async () => {
    const { server, run } = await start({ config: { log: { healthInterval: 1_000 } } });
    const busy = server.addSession({ title: 'Busy' });
    const retrying = server.addSession({ directory: '/other' });
    server.addSession({ title: 'Never seen' });
    server.setStatus(busy.id, { type: 'busy' });
    server.setStatus(retrying.id, { type: 'busy' });
    server.setStatus(retrying.id, retry(2));
    await run.saw('session.health', { sessionID: retrying.id, health: 'retrying' });
    const from = run.lines.length;
    const first = await run.saw('health.summary', { retrying: 1 }, from);
    const second = await run.saw('health.summary', {}, run.lines.indexOf(first) + 1);

    const changes = run.events('session.health', { sessionID: retrying.id });
    expect(changes.slice(0, 2)).toMatchObject([
      { health: 'busy', previous: 'idle', directory: '/other', forMs: expect.any(Number) },
      { health: 'retrying', previous: 'busy', attempt: 2 },
    ]);
    const between = run.lines.slice(run.lines.indexOf(first), run.lines.indexOf(second));
    const periodic = between.filter(({ event }) => event === 'session.health');
    expect(periodic.map(({ sessionID }) => sessionID).sort()).toEqual(
      [busy.id, retrying.id].sort(),
    );
    for (const line of periodic) expect(line.previous).toBeUndefined();
    expect(periodic.find(({ sessionID }) => sessionID === busy.id)).toMatchObject({
      health: 'busy',
      directory: OWN,
      title: 'Busy',
      forMs: expect.any(Number),
    });
    expect(periodic.find(({ sessionID }) => sessionID === retrying.id)).toMatchObject({
      health: 'retrying',
      attempt: 2,
    });

    expect(second).toMatchObject({
      level: 'info',
      server: server.url,
      msg: expect.stringMatching(/^Sessions: 1 busy, 1 retrying; /),
      idle: 0,
      busy: 1,
      waiting: 0,
      delegating: 0,
      retrying: 1,
      looping: 0,
      stalled: 0,
      stuck: 0,
      wedged: 0,
      eventsPerSec: expect.any(Number),
      serverMemoryBytes: 123_456_789,
      watchdogMemoryBytes: expect.any(Number),
      costTodayUsd: 0,
      tokensToday: 0,
      restarts: 0,
    });
    // The heartbeats alone are five per second here.
    expect(second.eventsPerSec).toBeGreaterThan(0);

    server.setStatus(busy.id, { type: 'idle' });
    const ended = await run.saw('session.health', { sessionID: busy.id, health: 'idle' });
    const third = await run.saw('health.summary', { idle: 1 }, run.lines.indexOf(ended));
    await run.saw('health.summary', {}, run.lines.indexOf(third) + 1);
    const later = run.events('session.health', { sessionID: busy.id }, run.lines.indexOf(ended));
    expect(later).toHaveLength(1);
  });

  it('do without the memory of a server that cannot be measured, and count its restarts', async () => {
    const { server, run } = await start({
      config: { log: { healthInterval: 1_000 } },
      control: { memory: async () => undefined, restart: () => server.clearFaults() },
    });
    server.fault('*', { cut: true });
    server.endStreams();
    run.control.exit();
    await run.saw('server.restarted');
    const summary = await run.saw('health.summary', { restarts: 1 });
    expect(summary).not.toHaveProperty('serverMemoryBytes');
    expect(summary.msg).not.toContain('undefined');
  });
});

describe('told to reload', () => {
  it.skipIf(!isRoot)(`looks up the same user no second time${needsRoot}`, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'watchdog-reload-'));
    const file = join(folder, 'config.yaml');
    const asked = join(folder, 'asked');
    const server = { url: (await fake()).url, control: 'observe', user: 'directory-user' };
    const write = (maxAttempts: number) =>
      writeFile(file, stringify({ status: { listen: 'off' }, retry: { maxAttempts }, server }));
    await write(7);
    const answer = 'directory-user:x:4242:4242::/none:/bin/sh';
    const getent = `#!/bin/sh\necho asked >>${asked}\necho ${answer}\n`;
    await writeFile(join(folder, 'getent'), getent, { mode: 0o755 });
    const env = { PATH: `${folder}:${process.env.PATH}`, HOME: folder, XDG_RUNTIME_DIR: folder };
    const daemon = await startDaemon({ config: {}, env, args: ['--config', file] });
    try {
      await daemon.saw('server.healthy');
      const before = await readFile(asked, 'utf8');
      await write(8);
      daemon.child.kill('SIGHUP');
      await daemon.saw('config.reloaded');
      expect(await readFile(asked, 'utf8')).toBe(before);
    } finally {
      await daemon.stop();
      await rm(folder, { recursive: true, force: true });
    }
  });

  it.each([
    [
      'an event that does not exist',
      { notify: { webhooks: [{ url: 'https://hooks.example/x', events: ['session.stuk'] }] } },
      'session.stuck',
    ],
    ['a user that the server cannot run as', { server: { user: 'nobody-at-all' } }, 'server.user'],
  ])('keeps the old configuration where the new one names %s', async (_, wrong, says) => {
    const folder = await mkdtemp(join(tmpdir(), 'watchdog-reload-'));
    const file = join(folder, 'config.yaml');
    const server = { url: (await fake()).url, control: 'observe' };
    const write = (more: { server?: object; notify?: object }, maxAttempts: number) =>
      writeFile(
        file,
        stringify({
          status: { listen: 'off' },
          retry: { maxAttempts },
          ...more,
          server: { ...server, ...more.server },
        }),
      );
    await write({}, 7);
    const env = { PATH: process.env.PATH, HOME: folder, XDG_RUNTIME_DIR: folder };
    const daemon = await startDaemon({ config: {}, env, args: ['--config', file] });
    try {
      await daemon.saw('server.healthy');
      await write(wrong, 8);
      daemon.child.kill('SIGHUP');
      await waitFor(
        () => daemon.events('config.invalid').length + daemon.events('config.reloaded').length > 0,
      );
      expect(daemon.events('config.reloaded')).toEqual([]);
      expect(daemon.events('config.invalid')[0]?.msg).toContain(says);
      await write({}, 8);
      daemon.child.kill('SIGHUP');
      const { applied } = await daemon.saw('config.reloaded');
      expect(applied).toEqual(['retry.maxAttempts']);
    } finally {
      await daemon.stop();
      await rm(folder, { recursive: true, force: true });
    }
  });
});

describe('told to stop', () => {
  const sockets = () =>
    process.getActiveResourcesInfo().filter((kind) => kind === 'TCPSocketWrap').length;
  const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;

  it('it lets go of every connection and timer, and says nothing more', async () => {
    // Wait until everything that earlier tests left closing is closed.
    await waitFor(() => sockets() === 0, { what: 'no socket' });
    const before = timers();
    const server = await fake({ heartbeatMs: null });
    const { id } = server.addSession({ status: { type: 'busy' } });
    const run = watch(server, { config: { log: { healthInterval: 1_000 } } });
    await run.settled();
    await run.saw('session.health', { sessionID: id });
    expect(timers()).toBeGreaterThan(before);
    expect(sockets()).toBeGreaterThan(0);

    expect(await run.stop()).toEqual({ gaveUp: false });
    expect(timers()).toBeLessThanOrEqual(before);
    await waitFor(() => server.listeners === 0, { what: 'no listener' });
    await waitFor(() => sockets() === 0, { what: 'no socket' });
    expect(run.control.calls.at(-1)?.call).toBe('dispose stop');
    const requests = server.requests.length;
    const lines = run.lines.length;
    server.setStatus(id, retry(5));
    await waitFor(() => sockets() === 0);
    expect(server.requests.length).toBe(requests);
    expect(run.lines.length).toBe(lines);
  });

  it('it leaves the server where that is what is wanted', async () => {
    const { run } = await start({ config: { server: { onExit: 'leave' } } });
    await run.stop();
    expect(run.control.calls.at(-1)?.call).toBe('dispose leave');
  });

  it.each<[string, 'makeRecorder' | 'onUnsupported']>([
    ['its recording cannot be made', 'makeRecorder'],
    ['the server is not understood', 'onUnsupported'],
  ])('it leaves the server where it cannot begin because %s', async (_, step) => {
    const server = await fake();
    server.fault('*', { status: 503 });
    const fails = () => {
      throw new Error('it cannot begin');
    };
    const run = new TestRun(server, { daemon: { [step]: fails } });
    await expect(run.done).rejects.toThrow('it cannot begin');
    expect(run.control.calls.at(-1)?.call).toBe('dispose leave');
  });

  it('what fails to end is said, and keeps nothing else from being ended', async () => {
    const server = await fake();
    const run = new TestRun(server, {
      control: {
        dispose: () => {
          throw new Error('the control cannot let go');
        },
      },
    });
    await run.settled();
    expect(await run.stop()).toEqual({ gaveUp: false });
    expect(run.events('error').map(({ msg }) => msg)).toEqual([
      'Failed while letting go of the server: the control cannot let go',
    ]);
    await waitFor(() => sockets() === 0, { what: 'no socket' });
  });

  it('it does not wait for a server that answers nothing', async () => {
    const { server, run } = await start();
    server.fault('*', { hang: true });
    server.silenceStreams();
    await run.asked('GET /session/status');
    await run.asked('GET /global/health');
    const began = performance.now();
    await run.stop();
    expect(performance.now() - began).toBeLessThan(2_000);
  });

  it('while an abort is under way, it sends no other and restarts nothing', async () => {
    const { server, run } = await start({ config: { abort: { maxTries: 1 } } });
    const { id } = server.addSession({ abort: 'lies' });
    server.setStatus(id, retry(5));
    await run.asked('POST /session/:id/abort');
    await run.stop();
    expect(aborts(server)).toHaveLength(1);
    expect(run.control.count('restart')).toBe(0);
  });

  it('while a restart is under way, it ends that too', async () => {
    const { server, run } = await start({
      control: {
        restart: (_, signal) =>
          new Promise((_, reject) => {
            signal.addEventListener('abort', () => reject(signal.reason), { once: true });
          }),
      },
    });
    server.fault('*', { cut: true });
    server.endStreams();
    run.control.exit();
    await waitFor(() => run.control.count('restart') === 1, { interval: 5 });
    expect(await run.stop()).toEqual({ gaveUp: false });
    expect(run.events('server.restart_failed')).toEqual([]);
    expect(run.events('server.restarted')).toEqual([]);
  });
});
