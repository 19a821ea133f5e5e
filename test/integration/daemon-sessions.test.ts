/** The daemon and its sessions: a stuck session is aborted and seen to end, a healthy one is left alone. */
import { describe, expect, it } from 'vitest';
import { waitFor } from '../support/wait.js';
import { aborts, fake, OWN, retry, start, watch } from './daemon-support.js';

describe('a stuck session', () => {
  it('is aborted in its directory, once, and its absence from the status proves the end', async () => {
    const { server, run } = await start();
    const { id } = server.addSession({ directory: '/other', title: 'Fix the build' });
    server.setStatus(id, { type: 'busy' });
    server.setStatus(id, retry(1));
    server.setStatus(id, { type: 'busy' });
    server.setStatus(id, retry(5, 60_000));
    const of = { sessionID: id, directory: '/other', title: 'Fix the build' };
    await run.saw('session.aborted', { sessionID: id });
    await run.polled();
    expect(run.events('session.stuck')).toEqual([
      expect.objectContaining({
        sessionID: id,
        directory: '/other',
        reason: 'attempts',
        limit: 5,
        value: 5,
        attempt: 5,
        message: 'Rate limit reached',
        nextAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
        episodeMs: expect.any(Number),
      }),
    ]);
    expect(run.events('session.aborting')).toMatchObject([{ sessionID: id, try: 1 }]);
    expect(run.events('session.aborted')).toMatchObject([
      { ...of, reason: 'attempts', try: 1, tookMs: expect.any(Number) },
    ]);
    expect(aborts(server)).toEqual([{ id, directory: '/other' }]);
    expect(run.healths(id)).toEqual(['busy', 'retrying', 'stuck', 'idle']);
    expect(run.events('session.failed')).toEqual([]);
  });

  it('is wedged when the aborts answer true and do nothing, and the server restarted', async () => {
    const { server, run } = await start({
      config: { abort: { verifyTimeout: 200, maxTries: 3 } },
      control: { restart: () => server.sessions.clear() },
    });
    server.abortBehaviour = 'lies';
    const { id } = server.addSession({ directory: '/other' });
    server.setStatus(id, retry(5));
    expect(await run.saw('server.restarting')).toMatchObject({
      reason: 'wedged',
      pid: 100,
      interrupted: [id],
      restarts: 1,
    });
    expect(run.events('session.aborting').map((line) => line.try)).toEqual([1, 2, 3]);
    expect(run.events('session.abort_failed').map((line) => line.try)).toEqual([1, 2, 3]);
    for (const { error } of run.events('session.abort_failed')) {
      expect(error).toMatch(/, \d+ ms after the abort was answered$/);
    }
    expect(run.events('session.wedged')).toMatchObject([
      { sessionID: id, tries: 3, next: 'dispose' },
      { sessionID: id, tries: 3, next: 'restart' },
    ]);
    expect(await run.saw('session.interrupted')).toMatchObject({
      sessionID: id,
      restartReason: 'wedged',
      health: 'wedged',
    });
    expect(await run.saw('server.restarted')).toMatchObject({ reason: 'wedged', oldPid: 100 });
    await run.polled();
    expect(run.healths(id)).toEqual(['stuck', 'wedged', 'idle']);
    expect(run.control.count('restart')).toBe(1);
    expect(aborts(server)).toHaveLength(3);
  });

  it('has its directory disposed where no abort ends it, and nobody else is cut', async () => {
    const { server, run } = await start({ config: { abort: { verifyTimeout: 200, maxTries: 2 } } });
    server.abortBehaviour = 'lies';
    server.disposeBehaviour = 'works';
    const { id: neighbour } = server.addSession({ directory: '/here' });
    server.setStatus(neighbour, { type: 'busy' });
    const { id } = server.addSession({ directory: '/other' });
    server.setStatus(id, retry(5));
    expect(await run.saw('directory.disposing')).toMatchObject({
      reason: 'wedged',
      directory: '/other',
      interrupted: [id],
    });
    await run.saw('directory.disposed', { reason: 'wedged', directory: '/other' });
    expect(await run.saw('session.ended', { sessionID: id })).toMatchObject({ outcome: 'aborted' });
    await run.polled();
    expect(server.get(neighbour).status).toEqual({ type: 'busy' });
    expect(run.control.count('restart')).toBe(0);
    expect(run.events('session.interrupted')).toEqual([]);
    expect(run.events('directory.disposed')).toHaveLength(1);
  });

  it('is aborted again when the first abort is lost', async () => {
    const { server, run } = await start({ config: { abort: { verifyTimeout: 200 } } });
    server.abortBehaviour = 'lost-once';
    const { id } = server.addSession();
    server.setStatus(id, retry(5));
    expect(await run.saw('session.aborted')).toMatchObject({ sessionID: id, try: 2 });
    expect(run.events('session.abort_failed')).toMatchObject([{ try: 1 }]);
    await run.polled();
    expect(run.healths(id)).toEqual(['stuck', 'idle']);
    expect(run.events('session.wedged')).toEqual([]);
    expect(run.control.count('restart')).toBe(0);
  });

  it('is aborted again when it looked idle and comes back unprompted', async () => {
    const { server, run } = await start();
    const { id } = server.addSession();
    server.setStatus(id, retry(5));
    await run.saw('session.aborted', { try: 1 });
    server.setStatus(id, { type: 'busy' });
    server.setStatus(id, retry(1));
    await run.saw('session.aborted', { try: 2 });
    expect(aborts(server)).toHaveLength(2);
  });

  it('whose abort is never answered is seen to have ended all the same', async () => {
    const { server, run } = await start({ config: { abort: { verifyTimeout: 300, maxTries: 2 } } });
    const { id } = server.addSession({ abort: 'hangs' });
    server.setStatus(id, retry(5));
    expect(await run.saw('session.abort_failed')).toMatchObject({
      error: expect.stringMatching(/was sent and not answered|did not answer/),
    });
    await waitFor(() => aborts(server).length === 2, { interval: 5 });
    server.setStatus(id, { type: 'idle' }, { silently: true });
    await run.saw('session.aborted', { sessionID: id });
  });

  it('that was stuck before the daemon started is found, in any directory', async () => {
    const server = await fake();
    const other = server.addSession({ directory: '/other', status: retry(9) });
    const far = server.addSession({ directory: '/far', status: retry(1, 3_600_000) });
    const fine = server.addSession({ directory: '/far', status: { type: 'busy' } });
    const run = watch(server);
    await run.saw('session.aborted', { sessionID: other.id, directory: '/other' });
    await run.saw('session.aborted', { sessionID: far.id, directory: '/far' });
    expect(run.events('session.stuck', { sessionID: far.id })).toMatchObject([{ reason: 'wait' }]);
    await run.polled();
    // On a slow machine one session may get two abort requests.
    expect(new Set(aborts(server).map(({ id }) => id))).toEqual(new Set([other.id, far.id]));
    expect(run.healths(fine.id)).toEqual(['busy']);
  });

  it('that was deleted while its run goes on is a ghost, and is ended', async () => {
    const { server, run } = await start();
    const { id } = server.addSession({ directory: '/other' });
    server.setStatus(id, { type: 'busy' });
    await run.saw('session.health', { sessionID: id, health: 'busy' });
    server.remove(id);
    expect(await run.saw('session.stuck')).toMatchObject({ sessionID: id, reason: 'ghost' });
    await run.saw('session.aborted', { sessionID: id });
    expect(aborts(server)).toEqual([{ id, directory: '/other' }]);
  });

  it('that a proxy calls not found is no ghost', async () => {
    const { server, run } = await start();
    const notFound = { status: 404, body: '404 page not found', contentType: 'text/plain' };
    server.fault('GET /session/:id', notFound);
    const { id } = server.addSession({ directory: '/other' });
    server.setStatus(id, { type: 'busy' });
    await run.saw('session.health', { sessionID: id, health: 'busy' });
    await waitFor(() => server.count('GET /session/:id') > 0, { interval: 5 });
    server.clearFaults();
    await run.polled();
    expect(run.events('session.stuck')).toEqual([]);
    expect(aborts(server)).toEqual([]);
  });

  it('that is said to be busy, and neither exists nor runs, is no ghost', async () => {
    const { server, run } = await start();
    const properties = { sessionID: 'ses_never', status: { type: 'busy' } };
    server.emit({ type: 'session.status', properties });
    await run.saw('session.health', { sessionID: 'ses_never', health: 'idle' });
    expect(server.count('GET /session/:id')).toBeGreaterThan(0);
    expect(run.events('session.stuck')).toEqual([]);
    expect(run.events('session.aborting')).toEqual([]);
  });

  it('that is well again at the last look before the abort is not aborted', async () => {
    const { server, run } = await start({ config: { watch: { pollInterval: 60_000 } } });
    const { id } = server.addSession();
    server.emit({ type: 'session.status', properties: { sessionID: id, status: retry(5, 500) } });
    expect(await run.saw('session.recovered')).toMatchObject({ sessionID: id, reason: 'attempts' });
    expect(run.healths(id)).toEqual(['stuck', 'idle']);
    expect(aborts(server)).toEqual([]);
    expect(run.events('session.aborted')).toEqual([]);
  });
});

describe('a poll that crosses an event', () => {
  it('does not bring back a run that has ended', async () => {
    const { server, run } = await start();
    const { id } = server.addSession();
    server.setStatus(id, { type: 'busy' });
    await run.saw('session.health', { sessionID: id, health: 'busy' });
    const hold = server.holdStatus();
    await waitFor(() => hold.held > 0, { interval: 5 });
    server.setStatus(id, { type: 'idle' });
    await run.saw('session.health', { sessionID: id, health: 'idle' });
    hold.release();
    await run.polled();
    expect(run.healths(id)).toEqual(['busy', 'idle']);
  });

  it('does not end a run that has just begun', async () => {
    const { server, run } = await start();
    const { id } = server.addSession();
    const hold = server.holdStatus();
    await waitFor(() => hold.held > 0, { interval: 5 });
    server.setStatus(id, { type: 'busy' });
    await run.saw('session.health', { sessionID: id, health: 'busy' });
    hold.release();
    await run.polled();
    expect(run.healths(id)).toEqual(['busy']);
  });
});

describe('a session that is well', () => {
  it('is not judged silent while a tool runs that began before the daemon', async () => {
    const server = await fake();
    const tool = server.addSession({ status: { type: 'busy' } });
    tool.messages.push({
      info: { id: 'msg_1', role: 'assistant', sessionID: tool.id, time: { created: Date.now() } },
      parts: [
        {
          id: 'prt_1',
          type: 'tool',
          callID: 'call_1',
          tool: 'bash',
          state: { status: 'running', time: { start: Date.now() - 60_000 } },
        },
      ],
    });
    const asking = server.addSession({ directory: '/other', status: { type: 'busy' } });
    const { id: requestID } = server.ask('permission', asking.id);
    const silent = server.addSession({ status: { type: 'busy' } });
    const run = watch(server, { config: { stall: { maxSilence: 600 } } });
    await run.saw('session.waiting', { sessionID: asking.id, requestID, on: 'permission' });
    await run.saw('session.aborted', { sessionID: silent.id, reason: 'silence' });
    await run.polled(10);
    expect(aborts(server)).toEqual([{ id: silent.id, directory: OWN }]);
    expect(run.healths(tool.id)).toEqual(['busy']);
    expect(run.healths(asking.id).at(-1)).toBe('waiting');
    expect(run.healths(silent.id)).toEqual(['busy', 'stalled', 'stuck', 'idle']);
  });

  it('is not believed to be idle by an event for another directory', async () => {
    const { server, run } = await start({ config: { watch: { pollInterval: 60_000 } } });
    const { id } = server.addSession();
    server.setStatus(id, { type: 'busy' });
    await run.saw('session.health', { sessionID: id, health: 'busy' });
    const status = { type: 'idle' };
    server.emit({ type: 'session.status', properties: { sessionID: id, status } }, '/wrong');
    server.emit({ type: 'session.idle', properties: { sessionID: id } }, '/wrong');
    server.setStatus(id, retry(1));
    await run.saw('session.health', { sessionID: id, health: 'retrying' });
    expect(run.healths(id)).toEqual(['busy', 'retrying']);
    // It must not hide either that the run is stuck.
    server.emit({ type: 'session.status', properties: { sessionID: id, status } }, '/wrong');
    server.setStatus(id, retry(5));
    await run.saw('session.aborted', { sessionID: id, directory: OWN });
  });

  it('goes on beside one that is aborted', async () => {
    const { server, run } = await start();
    const well = server.addSession();
    const sick = server.addSession();
    server.setStatus(well.id, { type: 'busy' });
    server.setStatus(sick.id, retry(5));
    await run.saw('session.aborted', { sessionID: sick.id });
    await run.polled();
    expect(aborts(server)).toEqual([{ id: sick.id, directory: OWN }]);
    expect(run.healths(well.id)).toEqual(['busy']);
    server.setStatus(well.id, { type: 'idle' });
    await run.saw('session.health', { sessionID: well.id, health: 'idle', previous: 'busy' });
  });

  it('is recovered when a step is finished, and its next episode counts anew', async () => {
    const { server, run } = await start();
    const { id } = server.addSession();
    server.setStatus(id, retry(4));
    server.setStatus(id, { type: 'busy' });
    const part = { id: 'prt_1', sessionID: id, messageID: 'msg_1', type: 'step-finish' };
    server.emit({ type: 'message.part.updated', properties: { sessionID: id, part } });
    expect(await run.saw('session.recovered')).toMatchObject({ sessionID: id, attempts: 4 });
    server.setStatus(id, retry(1));
    await run.polled();
    expect(aborts(server)).toEqual([]);
  });
});

describe('a run that opencode gives up', () => {
  it('has failed, and did not recover', async () => {
    const { server, run } = await start({ config: { retry: { maxAttempts: 9 } } });
    const { id } = server.addSession();
    server.setStatus(id, retry(5));
    const error = {
      name: 'APIError',
      data: { message: 'Rate limit reached', statusCode: 429, isRetryable: true },
    };
    server.emit({ type: 'session.error', properties: { sessionID: id, error } });
    server.setStatus(id, { type: 'idle' });
    expect(await run.saw('session.failed')).toMatchObject({
      sessionID: id,
      error: 'APIError: Rate limit reached',
      statusCode: 429,
      attempts: 5,
    });
    await run.polled();
    expect(run.events('session.recovered')).toEqual([]);
    expect(aborts(server)).toEqual([]);
  });
});
