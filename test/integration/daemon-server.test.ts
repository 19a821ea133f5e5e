/** The daemon and its server: what counts as healthy, what leads to a restart, and what follows a failed restart. */
import { describe, expect, it } from 'vitest';
import { ControlError } from '../../src/process/control/control.js';
import type { FakeOpencode } from '../support/fake-opencode.js';
import { waitFor } from '../support/wait.js';
import { aborts, FIRST_PID, fake, retry, start, watch } from './daemon-support.js';

const HTML = { status: 200, body: '<!doctype html><html></html>', contentType: 'text/html' };

/** The process dies: all runs are gone, and nothing answers until it is started again. */
function die(server: FakeOpencode): void {
  server.fault('*', { cut: true });
  server.sessions.clear();
  server.endStreams();
}

/** A restart that fails `times` times. */
const failing = (serverAlive: boolean, times: number, then: () => void) => (nth: number) => {
  if (nth <= times) throw new ControlError(`try ${nth} failed`, { serverAlive });
  then();
};

describe('a server that refuses the password', () => {
  it('is alive: said once, never restarted, and no secret is shown', async () => {
    const server = await fake({ password: 'the-right-password' });
    const run = watch(server, { password: 'the-wrong-password' });
    expect(await run.saw('server.unauthorized')).toMatchObject({ status: 401 });
    await waitFor(() => server.requests.length > 20, { interval: 5 });
    expect(run.events('server.unauthorized')).toHaveLength(1);
    expect(run.events('server.restarting')).toEqual([]);
    expect(run.control.calls.map(({ call }) => call)).toEqual(['attach']);
    for (const password of ['the-right-password', 'the-wrong-password']) {
      expect(run.output).not.toContain(password);
      for (const user of ['opencode:', ':', '']) {
        const encoded = Buffer.from(user + password).toString('base64');
        expect(run.output).not.toContain(encoded.replace(/=+$/, ''));
      }
    }
    expect(run.output).not.toMatch(/authorization/i);
  });
});

describe('a restart that did not happen', () => {
  it('is no death: the server is asked, no session is interrupted, and none follows at once', async () => {
    const { server, run } = await start({
      config: { restart: { backoff: { initial: 60_000, max: 60_000 }, waitForHealthy: 1 } },
      control: {
        restart: () => {
          throw new ControlError('the restart command failed', { serverAlive: 'unknown' });
        },
      },
    });
    // Two stuck sessions, so that the restart is made although it would cut a healthy one.
    const wedged = server.addSession({ status: retry(30) });
    server.addSession({ status: retry(30) });
    const healthy = server.addSession({ status: { type: 'busy' } });
    server.fault('POST /session/:id/abort', { status: 500 });
    await run.saw('session.health', { sessionID: healthy.id, health: 'busy' });
    await run.saw('server.restarting', { reason: 'wedged' });
    await run.saw('server.restart_failed', { error: 'the restart command failed' });
    await run.polled(3);
    expect(run.events('session.interrupted')).toEqual([]);
    expect(run.events('server.restarting')).toHaveLength(1);
    expect(run.events('server.healthy')).toHaveLength(1);
    // On a slow machine the same health is logged again after a while, but never another one.
    expect(run.events('session.health', { sessionID: healthy.id, health: 'busy' })).toEqual(
      run.events('session.health', { sessionID: healthy.id }),
    );
    // For one session alone no restart was worth it, for both together it was. Each is reported once.
    const next = run.events('session.wedged', { sessionID: wedged.id }).map((line) => line.next);
    expect(next.length).toBeGreaterThan(0);
    expect(new Set(next).size).toBe(next.length);
  });
});

describe('a server that does not answer well', () => {
  it('is alive, and never restarted, where it answers 500 to everything and the stream is cut', async () => {
    const { server, run } = await start();
    const { id } = server.addSession({ status: { type: 'busy' } });
    await run.saw('session.health', { health: 'busy' });
    server.fault('*', { status: 500 });
    server.endStreams();
    expect(await run.saw('server.unsupported')).toMatchObject({
      answered: expect.stringMatching(/global\/health.* 500/),
    });
    await run.asked('GET /global/health', 6);
    expect(run.events('server.unsupported')).toHaveLength(1);
    server.clearFaults();
    const from = run.lines.length;
    await run.saw('server.healthy', {}, from);
    expect(run.control.count('restart')).toBe(0);
    expect(run.events('session.interrupted', { sessionID: id })).toEqual([]);
  });

  it('is said once where all that it has is a web page, and neither started nor restarted', async () => {
    const server = await fake();
    for (const route of ['GET /path', 'GET /global/event', 'GET /event', 'GET /session/status']) {
      server.fault(route, HTML);
    }
    const mendHealth = server.fault('GET /global/health', HTML);
    const run = watch(server);
    expect(await run.saw('server.unsupported')).toMatchObject({
      answered: expect.stringContaining('text/html'),
      means: expect.stringContaining('does server.url lead to'),
    });
    await run.asked('GET /global/health', 4);
    expect(run.events('server.unsupported')).toHaveLength(1);
    expect(run.events('server.healthy')).toEqual([]);
    expect(run.control.count('start') + run.control.count('restart')).toBe(0);
    mendHealth();
    await run.saw('server.healthy', { version: '1.18.33' });
  });

  it('is said again where its answer changes: a web page, then OpenCode 2 where 1.x is asked for', async () => {
    const { server, run } = await start({ config: { server: { api: 1 } } });
    server.fault('*', HTML);
    server.endStreams();
    await run.saw('server.unsupported', { version: undefined });
    const from = run.lines.length;
    const info = { version: '2.0.26', pid: 4242, urls: [], paths: {} };
    server.fault('*', { status: 200, body: info });
    expect(await run.saw('server.unsupported', {}, from)).toMatchObject({ version: '2.0.26' });
    expect(run.control.count('restart')).toBe(0);
  });

  it('is alive as long as its event stream is, however slow its probe', async () => {
    const { server, run } = await start({
      heartbeatMs: 600,
      config: { probe: { interval: 100, timeout: 100 }, watch: { heartbeatTimeout: 3_000 } },
    });
    const mend = server.fault('GET /global/health', { hang: true });
    // Long enough for the watchdog to learn the heartbeat's interval.
    await run.asked('GET /global/health', 28);
    expect(run.events('server.unresponsive')).toEqual([]);
    expect(run.control.count('restart')).toBe(0);
    // Until now only the stream kept it from being called unresponsive.
    server.silenceStreams({ future: true });
    expect(await run.saw('server.unresponsive')).toMatchObject({
      failures: expect.any(Number),
      silentMs: expect.any(Number),
    });
    mend();
  });
});

describe('a process that exits', () => {
  it('is said, with what it cut, and started again', async () => {
    const { server, run } = await start({ control: { restart: () => server.clearFaults() } });
    const { id } = server.addSession({ directory: '/other' });
    server.setStatus(id, { type: 'busy' });
    await run.saw('session.health', { health: 'busy' });
    die(server);
    run.control.exit();
    expect(await run.saw('server.exited')).toMatchObject({
      pid: FIRST_PID,
      code: null,
      signal: 'SIGKILL',
    });
    expect(await run.saw('session.interrupted')).toMatchObject({
      sessionID: id,
      directory: '/other',
      restartReason: 'exited',
      health: 'busy',
    });
    expect(await run.saw('server.restarting')).toMatchObject({
      reason: 'exited',
      interrupted: [id],
    });
    expect(await run.saw('server.restarted')).toMatchObject({ pid: FIRST_PID + 1 });
    const from = run.lines.indexOf(await run.saw('server.restarted'));
    await run.saw('stream.connected', {}, from);
    await run.polled();
    expect(run.control.count('restart')).toBe(1);
    expect(run.events('session.interrupted')).toHaveLength(1);
  });

  it('is no news where it is not the one that is watched', async () => {
    const { run } = await start();
    run.control.exit(FIRST_PID + 7);
    await run.polled();
    expect(run.events('server.exited')).toEqual([]);
    expect(run.control.count('restart')).toBe(0);
  });
});

describe('a restart that fails', () => {
  it('is tried again, each time later', async () => {
    const { server, run } = await start({
      control: { restart: failing(false, 2, () => server.clearFaults()) },
    });
    die(server);
    run.control.exit();
    await run.saw('server.restarted');
    expect(run.events('server.restart_failed').map(({ error }) => error)).toEqual([
      'try 1 failed',
      'try 2 failed',
    ]);
    // restart.backoff in the tests, from one decision to the next: 100 ms, then 200 ms.
    const at = run.events('server.restarting').map(({ time }) => Date.parse(time));
    expect(at).toHaveLength(3);
    expect(at[1]! - at[0]!).toBeGreaterThanOrEqual(99);
    expect(at[2]! - at[1]!).toBeGreaterThanOrEqual(199);
    expect(run.control.count('restart')).toBe(3);
  });

  it('cuts nothing where the old server serves on', async () => {
    const { server, run } = await start({
      config: { abort: { verifyTimeout: 100, maxTries: 1 }, restart: { waitForHealthy: 1 } },
      control: { restart: failing(true, 1, () => server.sessions.clear()) },
    });
    // More stuck sessions than healthy ones, as otherwise no restart is worth it.
    const stuck = server.addSession({ abort: 'lies' });
    const stuckToo = server.addSession({ abort: 'lies' });
    const well = server.addSession();
    server.setStatus(well.id, { type: 'busy' });
    for (const { id } of [stuck, stuckToo]) server.setStatus(id, retry(5));
    await run.saw('server.restart_failed', { reason: 'wedged' });
    expect(run.events('session.interrupted')).toEqual([]);
    await run.saw('server.restarted', { reason: 'wedged' });
    expect(run.control.count('restart')).toBe(2);
    expect(run.healths(well.id)).toEqual(['busy', 'idle']);
    expect(run.events('session.interrupted').map((line) => line.sessionID)).toEqual(
      expect.arrayContaining([stuck.id, well.id]),
    );
  });

  it('opens the breaker in the end, which lets one through when it has cooled down', async () => {
    const { server, run } = await start({
      config: {
        restart: {
          maxRestarts: 2,
          window: 1_000,
          cooldown: 1_000,
          backoff: { initial: 50, max: 50 },
        },
      },
      control: { restart: failing(false, 2, () => server.clearFaults()) },
    });
    die(server);
    run.control.exit();
    const open = await run.saw('server.breaker_open');
    expect(open).toMatchObject({ reason: 'exited', restarts: 2, cooldownMs: expect.any(Number) });
    expect(run.control.count('restart')).toBe(2);
    await run.saw('server.breaker_closed');
    const at = run.control.calls.filter(({ call }) => call === 'restart').map((each) => each.at);
    expect(at).toHaveLength(3);
    expect(at[2]! - at[0]!).toBeGreaterThan(1_000);
    expect(run.events('server.breaker_open')).toHaveLength(1);
    await run.saw('server.restarted');
  });

  it('ends the daemon where it is told to give up, and leaves the server as it is', async () => {
    const { server, run } = await start({
      config: {
        restart: { maxRestarts: 2, giveUp: 'exit', backoff: { initial: 50, max: 50 } },
      },
      control: { restart: failing(false, 99, () => {}) },
    });
    die(server);
    run.control.exit();
    expect(await run.done).toEqual({ gaveUp: true });
    await run.saw('server.breaker_open');
    expect(run.control.calls.at(-1)?.call).toBe('dispose leave');
  });
});

describe('a server that is not there', () => {
  it('is started, which is no restart and costs no budget', async () => {
    const server = await fake();
    server.fault('*', { cut: true });
    const run = watch(server, { control: { start: () => server.clearFaults() } });
    expect(await run.saw('server.starting')).toMatchObject({ pid: FIRST_PID });
    expect(await run.saw('server.healthy')).toMatchObject({ pid: FIRST_PID, tookMs: 7 });
    await run.saw('stream.connected');
    await run.polled();
    expect(run.control.count('start')).toBe(1);
    expect(run.control.count('restart')).toBe(0);
    expect(run.events('server.restarting')).toEqual([]);
  });

  it('is left to others where they bring it back before the next try', async () => {
    const { server, run } = await start({
      config: { restart: { backoff: { initial: 1_000, max: 1_000 } } },
      control: { restart: failing(false, 1, () => {}) },
    });
    die(server);
    run.control.exit();
    await run.saw('server.restart_failed');
    const from = run.lines.length;
    server.clearFaults();
    await run.saw('server.healthy', {}, from);
    await run.saw('stream.connected', {}, from);
    // Longer than the pause that was announced.
    await run.asked('GET /global/health', 20);
    expect(run.control.count('restart')).toBe(1);
  });

  it('is judged as ever when it is back: a silent session is stuck there too', async () => {
    const { server, run } = await start({
      config: { stall: { maxSilence: 600 } },
      control: { restart: () => server.clearFaults() },
    });
    die(server);
    run.control.exit();
    const from = run.lines.indexOf(await run.saw('server.restarted'));
    await run.saw('stream.connected', {}, from);
    const { id } = server.addSession({ directory: '/other' });
    server.setStatus(id, { type: 'busy' });
    await run.saw('session.aborted', { sessionID: id, reason: 'silence' }, from);
  });

  it('and is only observed, is never started; its sessions are aborted all the same', async () => {
    const { server, run } = await start({
      config: { abort: { verifyTimeout: 100, maxTries: 1 } },
      control: { acts: false },
    });
    const cured = server.addSession();
    server.setStatus(cured.id, retry(5));
    await run.saw('session.aborted', { sessionID: cured.id });
    const wedged = server.addSession({ abort: 'lies' });
    server.setStatus(wedged.id, retry(5));
    await run.saw('session.wedged', { sessionID: wedged.id });
    die(server);
    run.control.exit();
    await run.saw('server.exited');
    await run.asked('GET /global/health', 5);
    server.clearFaults();
    await run.saw('server.healthy', {}, run.lines.length);
    expect(run.control.count('restart') + run.control.count('start')).toBe(0);
    expect(run.events('server.restarting')).toEqual([]);
  });

  it('and belonged to a person at its terminal, is restarted where the one that came after it does not', async () => {
    const { server, run } = await start({ control: { acts: false } });
    run.control.exit();
    // Somebody starts a server on the same port, and the control sees that nobody sits in front of that one.
    run.control.acts = true;
    run.control.comesBack();
    const notice = `found the process of the server that answers: pid ${run.control.pid}`;
    await run.saw('server.notice', { notice });
    die(server);
    run.control.exit();
    await run.saw('server.restarting', { reason: 'exited' });
  });
});

describe('a pile-up', () => {
  it('over two directories leads to a restart that names whom it cuts', async () => {
    const { server, run } = await start({ control: { restart: () => server.sessions.clear() } });
    const ids = ['/a', '/a', '/b'].map((directory) => {
      const { id } = server.addSession({ directory });
      server.setStatus(id, retry(1, 2_000));
      return id;
    });
    const restarting = await run.saw('server.restarting');
    expect(restarting).toMatchObject({ reason: 'pileup', interrupted: expect.any(Array) });
    expect([...(restarting.interrupted as string[])].sort()).toEqual([...ids].sort());
    await run.saw('server.restarted', { reason: 'pileup' });
    for (const id of ids) await run.saw('session.interrupted', { sessionID: id });
    await run.polled();
    expect(aborts(server)).toEqual([]);
    expect(run.control.count('restart')).toBe(1);
  });

  it('is ended by aborts where a restart would cut a healthy run', async () => {
    const { server, run } = await start();
    const well = server.addSession({ directory: '/b' });
    server.setStatus(well.id, { type: 'busy' });
    const ids = ['/a', '/a', '/b'].map((directory) => {
      const { id } = server.addSession({ directory });
      server.setStatus(id, retry(1, 2_000));
      return id;
    });
    for (const id of ids) await run.saw('session.aborted', { sessionID: id, reason: 'pileup' });
    // Longer than abort.verifyTimeout: by then the pile-up is over.
    await run.polled(10);
    expect(run.control.count('restart')).toBe(0);
    expect(run.healths(well.id)).toEqual(['busy']);
    expect(aborts(server)).toHaveLength(3);
  });
});

describe('a dry run', () => {
  it('decides and does nothing', async () => {
    const { server, run } = await start({ config: { dryRun: true } });
    const { id } = server.addSession();
    server.setStatus(id, retry(30));
    expect(await run.saw('act.skipped')).toMatchObject({ act: 'abort', sessionID: id });
    die(server);
    run.control.exit();
    await run.saw('act.skipped', { act: 'restart', reason: 'exited' });
    await run.asked('GET /global/health', 5);
    expect(run.events('act.skipped')).toHaveLength(2);
    expect(aborts(server)).toEqual([]);
    expect(server.requests.every(({ method }) => method === 'GET')).toBe(true);
    expect(run.control.count('restart') + run.control.count('start')).toBe(0);
    server.clearFaults();
    const from = run.lines.length;
    await run.saw('stream.connected', {}, from);
  });

  it('says "would" of all that it would do, and leaves the server as it ends', async () => {
    const { server, run } = await start({ config: { dryRun: true } });
    const { id } = server.addSession();
    server.setStatus(id, retry(30));
    die(server);
    run.control.exit();
    await run.saw('act.skipped', { act: 'restart', reason: 'exited' });
    const acts = ['session.aborting', 'server.restarting', 'act.skipped'];
    const said = run.lines.filter(({ event }) => acts.includes(event));
    expect(said.length).toBeGreaterThan(1);
    for (const { msg } of said) expect(msg).toMatch(/\bwould\b/i);
    await run.stop();
    expect(run.control.calls.at(-1)?.call).toBe('dispose leave');
  });

  it('says once why it waits where there is no server', async () => {
    const server = await fake();
    server.fault('*', { cut: true });
    const run = watch(server, { config: { dryRun: true, server: { onExit: 'stop' } } });
    await run.saw('act.skipped', { act: 'start' });
    await run.asked('GET /global/health', 5);
    expect(run.lines.filter(({ msg }) => /a dry run starts no server/i.test(msg))).toHaveLength(1);
    expect(run.events('act.skipped')).toHaveLength(1);
    server.clearFaults();
    await run.saw('server.healthy');
  });

  it('never gives up, however often it would have restarted', async () => {
    const { server, run } = await start({
      config: { dryRun: true, restart: { maxRestarts: 1, giveUp: 'exit' } },
    });
    for (let nth = 1; nth <= 3; nth += 1) {
      const from = run.lines.length;
      die(server);
      run.control.exit();
      await run.saw('act.skipped', { act: 'restart' }, from);
      server.clearFaults();
      await run.saw('server.healthy', {}, from);
    }
    expect(run.events('server.breaker_open')).toEqual([]);
    expect(run.events('daemon.stopped')).toEqual([]);
  });
});
