/** Regressions: each of these once went wrong in the whole daemon. */
import { describe, expect, it } from 'vitest';
import { ControlError } from '../../src/process/control/control.js';
import { pause, waitFor } from '../support/wait.js';
import { fake, retry, start, watch } from './daemon-support.js';

describe('once seen to go wrong', () => {
  it('a server that answers 401 is not said to be healthy', async () => {
    const server = await fake({ password: 'the-right-password' });
    const run = watch(server, { password: 'the-wrong-password' });
    await run.saw('server.unauthorized');
    expect(run.events('server.healthy').map((l) => l.msg)).toEqual([]);
  });

  it('a stop during an abort says no further act', async () => {
    const { server, run } = await start({ config: { abort: { verifyTimeout: 300 } } });
    const { id } = server.addSession({ abort: 'lies' });
    server.setStatus(id, retry(5));
    await run.asked('POST /session/:id/abort');
    const from = run.lines.length;
    await run.stop();
    // The only line says that the run ends with the server.
    expect(run.lines.slice(from).map((l) => l.event)).toEqual(['session.interrupted']);
  });

  it('a stop during the last abort says no restart', async () => {
    const { server, run } = await start({ config: { abort: { verifyTimeout: 300, maxTries: 1 } } });
    const { id } = server.addSession({ abort: 'lies' });
    server.setStatus(id, retry(5));
    await run.asked('POST /session/:id/abort');
    const from = run.lines.length;
    await run.stop();
    // The only line says that the run ends with the server.
    expect(run.lines.slice(from).map((l) => l.event)).toEqual(['session.interrupted']);
  });

  it('silence is judged after a first start that failed and a restart that worked', async () => {
    const server = await fake();
    server.fault('*', { cut: true });
    const run = watch(server, {
      config: { stall: { maxSilence: 600 } },
      control: {
        start: () => {
          throw new ControlError('no', { serverAlive: false });
        },
        restart: async () => {
          server.clearFaults();
          await pause(2_000);
        },
      },
    });
    await run.saw('server.healthy');
    await run.saw('stream.connected');
    await run.polled();
    const { id } = server.addSession();
    server.setStatus(id, { type: 'busy' });
    await run.saw('session.aborted', { sessionID: id, reason: 'silence' });
  });

  it('nothing is asked of a server that is being restarted', async () => {
    const server = await fake();
    server.fault('*', { cut: true });
    let before = 0;
    let after = 0;
    const run = watch(server, {
      control: {
        start: () => {
          throw new ControlError('no', { serverAlive: false });
        },
        restart: async () => {
          await pause(50);
          before = server.requests.length;
          await pause(500);
          after = server.requests.length;
          server.clearFaults();
        },
      },
    });
    await run.saw('server.healthy');
    expect(after - before).toBe(0);
  });

  it('a status entry of no readable shape is not taken for idle', async () => {
    const { server, run } = await start();
    const { id } = server.addSession();
    server.setStatus(id, { type: 'busy' });
    await run.saw('session.health', { health: 'busy' });
    server.fault('GET /session/status', { body: { [id]: { state: 'busy' } } });
    await run.polled(3);
    expect(run.healths(id)).toEqual(['busy']);
  });

  it('an abort is not proven by a status entry that cannot be read', async () => {
    const { server, run } = await start({ config: { watch: { pollInterval: 60_000 } } });
    const { id } = server.addSession({ abort: 'lies' });
    server.fault('GET /session/status', { body: { [id]: 'retry' } });
    server.setStatus(id, retry(5));
    await run.saw('session.aborting');
    await pause(400);
    expect(run.events('session.aborted').map((l) => l.msg)).toEqual([]);
    expect(run.events('session.recovered').map((l) => l.msg)).toEqual([]);
  });

  it('a stop during the attach starts nothing', async () => {
    const server = await fake();
    server.fault('*', { cut: true });
    const run = watch(server, { control: { attach: () => pause(200) } });
    await waitFor(() => run.control.count('attach') > 0);
    await run.stop();
    expect(run.lines.map((l) => l.msg)).toEqual([]);
    expect(run.control.count('start')).toBe(0);
  });

  it('a dry run counts no restarts', async () => {
    const { server, run } = await start({
      config: { dryRun: true, log: { healthInterval: 1_000 } },
    });
    server.fault('*', { cut: true });
    server.endStreams();
    run.control.exit();
    await run.saw('act.skipped');
    const summary = await run.saw('health.summary', {}, run.lines.length);
    expect(summary.restarts).toBe(0);
  });

  it('an abort that outlives its server is not taken for one of the next', async () => {
    const { server, run } = await start({
      config: { abort: { verifyTimeout: 1_500, maxTries: 3 } },
      control: { restart: () => server.clearFaults() },
    });
    const { id } = server.addSession({ abort: 'lies' });
    server.setStatus(id, retry(5));
    await run.asked('POST /session/:id/abort');
    await pause(700);
    run.control.exit();
    const from = run.lines.indexOf(await run.saw('server.restarted'));
    const aborting = await run.saw('session.aborting', {}, from);
    const failed = await run.saw('session.abort_failed', {}, from);
    // By the times in the log: a slow test might see both lines at once.
    expect(Date.parse(failed.time) - Date.parse(aborting.time)).toBeGreaterThan(1_300);
  });

  it('a busy event tagged with a wrong directory does not end the run', async () => {
    const { server, run } = await start();
    const { id } = server.addSession();
    server.setStatus(id, { type: 'busy' });
    await run.saw('session.health', { health: 'busy' });
    server.emit(
      { type: 'session.status', properties: { sessionID: id, status: { type: 'busy' } } },
      '/wrong',
    );
    await run.polled(6);
    expect(run.healths(id)).toEqual(['busy']);
  });

  it('one bad answer of /global/event does not blind it to other directories for ever', async () => {
    const server = await fake();
    server.fault('GET /global/event', { status: 500, times: 1 });
    const run = watch(server);
    await run.saw('stream.connected');
    await run.polled(5);
    const { id } = server.addSession({ directory: '/new' });
    server.setStatus(id, retry(5));
    await run.saw('session.aborted', { sessionID: id });
  });

  it('who is idle after an abort that was sent did not recover by itself', async () => {
    const { server, run } = await start({ config: { abort: { verifyTimeout: 300 } } });
    const { id } = server.addSession({ abort: 'lies' });
    server.setStatus(id, retry(5));
    await run.asked('POST /session/:id/abort');
    // Late, at the very moment when the second try is decided.
    const { lines } = run;
    lines.push = (line) => {
      if (line.event === 'session.aborting' && line.try === 2) {
        server.setStatus(id, { type: 'idle' }, { silently: true });
      }
      return Array.prototype.push.call(lines, line);
    };
    await run.saw('session.health', { health: 'idle' });
    expect(run.events('session.recovered').map((l) => l.msg)).toEqual([]);
  });
});
