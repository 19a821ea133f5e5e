/** The driver with a server that lies, cuts, goes silent and goes away: what the real one cannot be made to do. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { hostname } from 'node:os';
import { afterEach, describe, expect, it } from 'vitest';
import { OpencodeDriver } from '../../src/opencode/driver/driver.js';
import { DriverError } from '../../src/opencode/driver/error.js';
import { ownerOf } from '../../src/opencode/driver/orphans.js';
import { CHECK_AT_END_MS, LAST_WORDS_MS } from '../../src/opencode/driver/run.js';
import type { DriverOptions } from '../../src/opencode/driver/types.js';
import {
  type FakeOpencode,
  type FakeOpencodeOptions,
  startFakeOpencode,
} from '../support/fake-opencode.js';
import { fastClock as clock } from '../support/fast-clock.js';
import { waitFor } from '../support/wait.js';

const ends: Array<() => Promise<unknown>> = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const PROMPT = 'POST /session/:id/prompt_async';
const STATUS = 'GET /session/status';
const ABORT = 'POST /session/:id/abort';
const DELETE = 'DELETE /session/:id';

async function start(options: FakeOpencodeOptions = {}, more: DriverOptions = {}) {
  const server = await startFakeOpencode(options);
  const notices: string[] = [];
  const driver = new OpencodeDriver({
    url: server.url,
    clock,
    onNotice: (message) => notices.push(message),
    ...more,
  });
  ends.push(
    () => server.stop(),
    () => driver.close(),
  );
  /** Waits until `count` prompts were sent, and returns the session that was made last. */
  const prompted = async (count = 1) => {
    await waitFor(() => server.count(PROMPT) === count, { what: `prompt ${count}`, interval: 5 });
    return [...server.sessions.values()].at(-1)!;
  };
  return { server, driver, notices, prompted };
}

/** Writes the model's answer, and sets the session idle. */
function reply(server: FakeOpencode, id: string, text: string, { silently = false } = {}) {
  server.get(id).messages.push({
    info: {
      id: 'msg_a',
      role: 'assistant',
      providerID: 'fake',
      modelID: 'm1',
      finish: 'stop',
      time: { created: 1, completed: 2 },
    },
    parts: [{ type: 'text', text, time: { start: 1, end: 2 } }],
  });
  server.setStatus(id, { type: 'idle' }, { silently });
}

/** An answer that was begun and has not ended. */
const BEGUN = {
  info: {
    id: 'msg_a',
    role: 'assistant',
    providerID: 'fake',
    modelID: 'm1',
    time: { created: 1 },
  },
  parts: [],
};

const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => expect.unreachable('it did not fail'),
    (error: unknown) => {
      expect(error).toBeInstanceOf(DriverError);
      return error as DriverError;
    },
  );

describe('a fault of the driver’s own', () => {
  it('in a callback ends the run as what it is, and is answered with no other model', async () => {
    const { server, driver, prompted } = await start();
    const run = driver
      .prompt({
        prompt: 'x',
        model: 'fake/m1',
        fallback: ['fake/m1'],
        timeoutMs: 60_000,
        onText: () => {
          throw new TypeError('not a function');
        },
      })
      .catch((error: unknown) => error);
    const { id } = await prompted();
    server.setStatus(id, { type: 'busy' });
    server.emit({
      type: 'message.updated',
      properties: { info: { id: 'msg_a', sessionID: id, role: 'assistant' } },
    });
    server.emit({
      type: 'message.part.updated',
      properties: {
        part: { id: 'prt_a', messageID: 'msg_a', sessionID: id, type: 'text', text: 'hello' },
      },
    });
    const error = (await run) as DriverError;
    expect(error).toBeInstanceOf(DriverError);
    expect(error).toMatchObject({ kind: 'internal', cause: { name: 'TypeError' } });
    expect(error.message).toContain('TypeError: not a function');
    expect(server.count(PROMPT)).toBe(1);
    expect(server.count(ABORT)).toBe(1);
  });
});

describe('a prompt that nobody waits for', () => {
  it('is heard for a moment only, and can be waited for all the same', async () => {
    const { server, driver, prompted } = await start();
    const { id } = await driver.createSession();
    const sent = await driver.sendAsync({ id }, 'x');
    await prompted();
    server.setStatus(id, { type: 'busy' });
    await waitFor(() => server.listeners === 0, { what: 'the stream to be let go of' });
    const waiting = sent.wait({ timeoutMs: 60_000 });
    reply(server, id, 'the answer');
    expect(await waiting).toMatchObject({ text: 'the answer' });
  });

  it('is refused for what is no id', async () => {
    const { server, driver } = await start();
    const before = server.requests.length;
    for (const each of [
      driver.sendAsync({ id: '..', directory: '/x' }, 'x'),
      driver.status({ id: '../..' }),
      driver.abort({ id: 'a/b' }),
      driver.delete({ id: '' }),
    ]) {
      await expect(each).rejects.toMatchObject({ kind: 'usage' });
    }
    expect(server.requests.length).toBe(before);
  });
});

describe('a prompt gets its reply', () => {
  it('by the event that says idle, and deletes its session', async () => {
    const { server, driver, prompted } = await start();
    const result = driver.prompt({ prompt: 'hello' });
    const { id } = await prompted();
    reply(server, id, 'yes');
    expect(await result).toMatchObject({ text: 'yes', model: 'fake/m1', deleted: true });
    expect(server.get(id).deleted).toBe(true);
  });

  it('where the stream is cut, and the idle event with it', async () => {
    const { server, driver, prompted } = await start();
    const result = driver.prompt({ prompt: 'hello' });
    const { id } = await prompted();
    server.endStreams();
    reply(server, id, 'yes', { silently: true });
    expect(await result).toMatchObject({ text: 'yes', deleted: true });
  });

  it('where the status that says idle is older than the answer’s beginning', async () => {
    const { server, driver, prompted } = await start();
    // As on a busy machine: the prompt is accepted, and does not begin for seconds.
    server.fault(PROMPT, { status: 204, body: '' });
    const result = driver.prompt({ prompt: 'hello' });
    const { id } = await prompted();
    const checks = server.count(STATUS) + Math.ceil(LAST_WORDS_MS / CHECK_AT_END_MS) + 5;
    await waitFor(() => server.count(STATUS) >= checks, { what: 'idle for long', interval: 5 });
    const hold = server.holdStatus();
    await waitFor(() => hold.held > 0, { what: 'a check on its way', interval: 5 });
    const sent = server.requests.find(({ route }) => route === PROMPT);
    server.get(id).messages.push({ info: { id: 'msg_u', role: 'user' }, ...sent?.body }, BEGUN);
    server.setStatus(id, { type: 'busy' }, { silently: true });
    hold.release();
    const seen = server.count(STATUS) + 2;
    await waitFor(() => server.count(STATUS) >= seen, {
      what: 'checks that say busy',
      interval: 5,
    });
    server.get(id).messages.pop();
    reply(server, id, 'yes');
    expect(await result).toMatchObject({ text: 'yes', deleted: true });
  });

  it('where there is no event stream at all, and says so', async () => {
    const { server, driver, notices, prompted } = await start({ globalEvent: false });
    const result = driver.prompt({ prompt: 'hello' });
    const { id } = await prompted();
    reply(server, id, 'yes', { silently: true });
    expect(await result).toMatchObject({ text: 'yes' });
    expect(notices).toEqual([expect.stringContaining('no event stream')]);
  });

  it('by an event stream that answered 503 once', async () => {
    const { server, driver, notices, prompted } = await start();
    server.fault('GET /global/event', { status: 503, times: 1 });
    const result = driver.prompt({ prompt: 'hello' });
    const { id } = await prompted();
    expect(server.listeners).toBe(1);
    reply(server, id, 'yes');
    expect(await result).toMatchObject({ text: 'yes' });
    expect(notices).toEqual([]);
  });

  it('where another directory calls it idle while it works', async () => {
    const { server, driver, prompted } = await start();
    const result = driver.prompt({ prompt: 'hello', directory: '/own' });
    const { id } = await prompted();
    const checks = server.count(STATUS);
    const idle = { sessionID: id, status: { type: 'idle' } };
    server.emit({ type: 'session.status', properties: idle }, '/elsewhere');
    server.emit({ type: 'session.idle', properties: { sessionID: id } }, '/elsewhere');
    await waitFor(() => server.count(STATUS) > checks, { what: 'a check of the status' });
    expect(server.requests.filter(({ route }) => route === STATUS).at(-1)?.query).toEqual({
      directory: '/own',
    });
    reply(server, id, 'yes');
    expect(await result).toMatchObject({ text: 'yes', directory: '/own' });
  });

  it('where the status cannot be read for a while', async () => {
    const { server, driver, prompted } = await start();
    const result = driver.prompt({ prompt: 'hello' });
    const { id } = await prompted();
    server.fault(STATUS, { status: 500, times: 3 });
    reply(server, id, 'yes');
    expect(await result).toMatchObject({ text: 'yes' });
  });
});

describe('our own network is away, and the server is not', () => {
  /** A driver whose requests find no way to the server while `isAway`. */
  async function startFarAway() {
    const { server, prompted } = await start();
    const network = { isAway: false, failed: 0 };
    const far = new OpencodeDriver({
      url: server.url,
      // With a password, this is asked before each request and each connection of the stream.
      password: 'secret',
      clock,
      authorise: async () => {
        if (!network.isAway) return { kind: 'granted' };
        network.failed += 1;
        throw Object.assign(new Error('connect EHOSTUNREACH'), { code: 'EHOSTUNREACH' });
      },
    });
    ends.push(() => far.close());
    return { server, far, prompted, network };
  }

  it('for a while, and the run that goes on meanwhile gets its reply', async () => {
    const { server, far, prompted, network } = await startFarAway();
    const result = far.prompt({ prompt: 'hello' });
    const { id } = await prompted();
    network.isAway = true;
    server.endStreams();
    await waitFor(() => network.failed >= 12, { what: 'failed requests', interval: 5 });
    network.isAway = false;
    reply(server, id, 'yes');
    expect(await result).toMatchObject({ text: 'yes', deleted: true });
    expect(server.count(ABORT)).toBe(0);
  });

  it('until the time is over, and the error says that the run may go on', async () => {
    const { server, far, prompted, network } = await startFarAway();
    const result = failure(far.prompt({ prompt: 'hello', timeoutMs: 10_000 }));
    await prompted();
    network.isAway = true;
    server.endStreams();
    const error = await result;
    expect(error).toMatchObject({ kind: 'timeout', details: { aborted: false, deleted: false } });
    expect(error.message).toContain('the run may go on');
  });
});

describe('a prompt fails, and says how', () => {
  it('by the event alone, where no status ever changed', async () => {
    const { server, driver, prompted } = await start();
    const result = failure(driver.prompt({ prompt: 'hello' }));
    const { id } = await prompted();
    const error = { name: 'UnknownError', data: { message: 'something is missing\n    at x' } };
    server.setStatus(id, { type: 'idle' }, { silently: true });
    server.emit({ type: 'session.error', properties: { sessionID: id, error } });
    const { kind, message } = await result;
    expect({ kind, message }).toEqual({
      kind: 'run_failed',
      message: 'opencode ended the run: something is missing.',
    });
  });

  it('when it was taken and nothing follows', async () => {
    const { server, driver, prompted } = await start();
    const result = failure(driver.prompt({ prompt: 'hello' }));
    const { id } = await prompted();
    server.setStatus(id, { type: 'idle' }, { silently: true });
    expect((await result).message).toContain('nothing followed');
  });

  it('when the server goes away during the run', async () => {
    const { server, driver, prompted } = await start();
    const result = failure(driver.prompt({ prompt: 'hello' }));
    await prompted();
    await server.stop();
    ends.shift();
    const error = await result;
    expect(error.kind).toBe('unreachable');
    expect(error.message).toMatch(/the server went away during the run/);
    expect(error.details).toMatchObject({ deleted: false, sessionID: expect.any(String) });
  });

  it('when the password is refused during the run', async () => {
    const { server, driver, prompted } = await start();
    const result = failure(driver.prompt({ prompt: 'hello' }));
    await prompted();
    server.fault(STATUS, { status: 401 });
    expect((await result).kind).toBe('unauthorized');
  });

  it('when nobody answers the probe in time, before anything is made', async () => {
    const { server, driver } = await start();
    server.fault('GET /global/health', { hang: true });
    const error = await failure(driver.prompt({ prompt: 'hello' }));
    expect(error.kind).toBe('unreachable');
    expect(server.sessions.size).toBe(0);
  });
});

describe('a session that is used again', () => {
  const answer = (server: FakeOpencode, id: string, prompt: number, text: string) => {
    const { messages } = server.get(id);
    const prompts = messages.filter((each) => (each as typeof BEGUN).info.role === 'user');
    const { info } = prompts[prompt] as typeof BEGUN;
    const message = { ...BEGUN.info, id: `msg_a${prompt}`, parentID: info.id, finish: 'stop' };
    messages.push({
      info: { ...message, time: { created: 1, completed: 2 } },
      parts: [{ type: 'text', text, time: { start: 1, end: 2 } }],
    });
  };

  /** Emits the prompts that it has accepted, as the real one does. */
  const tellPrompts = (server: FakeOpencode, sessionID: string) => {
    for (const { info, parts } of server.get(sessionID).messages as (typeof BEGUN)[]) {
      for (const part of parts as object[]) {
        const properties = { part: { id: 'prt_p', sessionID, messageID: info.id, ...part } };
        server.emit({ type: 'message.part.updated', properties });
      }
    }
  };

  it('takes no second prompt while it is at work', async () => {
    const { server, driver, prompted } = await start();
    const session = await driver.createSession();
    const first = driver.send(session, 'first');
    await prompted();
    const error = await failure(driver.send(session, 'second'));
    expect(error.kind).toBe('session_busy');
    expect(error.message).toContain('--queue');
    expect([server.count(PROMPT), server.count(ABORT)]).toEqual([1, 0]);
    reply(server, session.id, 'yes');
    expect(await first).toMatchObject({ text: 'yes' });
  });

  it('takes no prompt while it is in a state that this program does not know', async () => {
    const { server, driver } = await start();
    const session = await driver.createSession();
    server.setStatus(session.id, { type: 'sleeping' } as never);
    expect((await failure(driver.send(session, 'hello'))).kind).toBe('session_busy');
    expect(server.count(PROMPT)).toBe(0);
  });

  it('answers each of two prompts with its own reply, the same words or not', async () => {
    const { server, driver, prompted } = await start();
    const other = new OpencodeDriver({ url: server.url, clock });
    ends.push(() => other.close());
    const session = await driver.createSession();
    const first = driver.send(session, 'the same');
    const { id } = await prompted();
    const second = other.send(session, 'the same', { queue: true });
    await prompted(2);
    tellPrompts(server, id);
    answer(server, id, 0, 'one');
    expect(await first).toMatchObject({ text: 'one' });
    answer(server, id, 1, 'two');
    server.setStatus(id, { type: 'idle' });
    expect(await second).toMatchObject({ text: 'two' });
  });

  it('says of a prompt that a later one was answered in its place', async () => {
    const { server, driver, prompted } = await start();
    const session = await driver.createSession();
    const first = failure(driver.send(session, 'first'));
    const { id } = await prompted();
    const second = driver.send(session, 'second', { queue: true });
    await prompted(2);
    answer(server, id, 1, 'two');
    server.setStatus(id, { type: 'idle' });
    expect((await first).message).toContain('another prompt was sent into the run');
    expect(await second).toMatchObject({ text: 'two' });
  });

  it('is checked in its own directory, whatever the caller says', async () => {
    const { server, driver } = await start();
    const { id } = server.addSession({
      directory: '/own',
      status: { type: 'retry', attempt: 2, message: 'busy', next: 0 },
    });
    const error = await failure(driver.send({ id, directory: '/wrong' }, 'more'));
    expect(error.kind).toBe('session_in_retry');
    expect(server.count(PROMPT)).toBe(0);
    expect(server.get(id)).toMatchObject({ aborts: 1, status: { type: 'idle' } });
  });

  const traces: [what: string, info: object][] = [
    ['was aborted in retry', {}],
    ['was given up', { error: { name: 'APIError', data: { message: 'no', isRetryable: true } } }],
  ];
  it.each(traces)('is not taken where its last run %s, by another process', async (_what, more) => {
    const { server, driver } = await start();
    const { id } = server.addSession();
    const time = { created: 1, completed: 2 };
    server.get(id).messages.push({ info: { ...BEGUN.info, ...more, time }, parts: [] });
    const error = await failure(driver.send({ id }, 'more'));
    expect(error.kind).toBe('session_in_retry');
    expect(error.message).toContain('failed in retry the last time');
    expect(server.count(PROMPT)).toBe(0);
  });

  it('and never ran is no fault of the driver’s own where the wait for it is interrupted', async () => {
    const { server, driver } = await start();
    const session = await driver.createSession();
    const stop = new AbortController();
    const result = failure(driver.wait(session, { signal: stop.signal }));
    await waitFor(() => server.count(STATUS) > 0, { what: 'the first check', interval: 1 });
    stop.abort();
    expect((await result).kind).toBe('aborted');
    expect((await failure(driver.wait(session, { timeoutMs: 400 }))).kind).toBe('timeout');
  });

  it('and never ran is not waited for', async () => {
    const { driver } = await start();
    const session = await driver.createSession();
    const error = await failure(driver.wait(session));
    expect(error.kind).toBe('usage');
    expect(error.message).toContain('has never run');
  });
});

/** What 1.x writes for `!git status` in the TUI. */
function personsCommand() {
  const text = 'The following tool was executed by the user';
  return [
    {
      info: { id: 'msg_z1', role: 'user' },
      parts: [{ type: 'text', text, synthetic: true }],
    },
    {
      info: {
        id: 'msg_z2',
        role: 'assistant',
        parentID: 'msg_z1',
        time: { created: 1, completed: 2 },
      },
      parts: [{ type: 'tool', tool: 'bash', callID: 'c', state: { status: 'completed' } }],
    },
  ];
}

describe('a follow-up', () => {
  it('is a child of a session, and takes the last answer of another along', async () => {
    const { server, driver, prompted } = await start();
    const parent = server.addSession();
    const seed = server.addSession();
    reply(server, seed.id, 'first the plan');
    const result = driver.prompt({ prompt: 'do it', parentID: parent.id, fromSession: seed.id });
    const { id, parentID } = await prompted();
    expect(parentID).toBe(parent.id);
    const sent = JSON.stringify(server.requests.find(({ route }) => route === PROMPT)?.body);
    expect(sent).toContain('first the plan');
    reply(server, id, 'done');
    expect(await result).toMatchObject({ text: 'done', deleted: true });
    expect([server.get(seed.id).deleted, server.get(parent.id).deleted]).toEqual([false, false]);
  });

  const done = { created: 1, completed: 2 };
  const half: [what: string, info: object, says: string][] = [
    ['was cut', { finish: 'length', time: done }, 'its last answer was cut (length)'],
    [
      'failed',
      { error: { name: 'APIError', data: { message: 'no credit' } }, time: done },
      'its last run failed (no credit)',
    ],
    ['was aborted', { time: done }, 'its last run was aborted'],
    ['is being written', {}, 'its last run goes on'],
  ];
  it.each(half)('takes no answer along that %s', async (_what, info, says) => {
    const { server, driver } = await start();
    const { id, messages } = server.addSession();
    reply(server, id, 'an older answer');
    messages.push(
      { info: { id: 'msg_u', role: 'user' }, parts: [{ type: 'text', text: 'more' }] },
      { info: { ...BEGUN.info, ...info }, parts: [{ type: 'text', text: 'half an an' }] },
    );
    const error = await failure(driver.prompt({ prompt: 'x', fromSession: id }));
    expect(error.kind).toBe('usage');
    expect(error.message).toContain(`has no answer to take along: ${says}`);
    expect(server.sessions.size).toBe(1);
  });

  it('takes the answer along that stands before a command that a person ran', async () => {
    const { server, driver, prompted } = await start();
    const seed = server.addSession();
    reply(server, seed.id, 'the plan');
    seed.messages.push(...personsCommand());
    const result = driver.prompt({ prompt: 'do it', fromSession: seed.id });
    const { id } = await prompted();
    const sent = JSON.stringify(server.requests.find(({ route }) => route === PROMPT)?.body);
    expect(sent).toContain('the plan');
    reply(server, id, 'done');
    expect(await result).toMatchObject({ text: 'done' });
    expect(await driver.wait({ id: seed.id })).toMatchObject({ text: 'the plan' });
  });

  it('of a session without an answer, or that is not there, is refused before one is made', async () => {
    const { server, driver } = await start();
    const { id } = server.addSession();
    const none = await failure(driver.prompt({ prompt: 'x', fromSession: id }));
    expect(none.message).toContain(
      'has no answer to take along: its last prompt, if there was one, has no answer.',
    );
    const gone = await failure(driver.prompt({ prompt: 'x', parentID: 'ses_gone' }));
    expect(gone.kind).toBe('session_not_found');
    expect(server.sessions.size).toBe(1);
  });
});

describe('a sweep', () => {
  it('ends what a killed driver of this machine left, and nothing else', async () => {
    const { server, driver } = await start();
    const child = spawn(process.execPath, ['-e', '']);
    const { pid = 0 } = child;
    await once(child, 'exit');
    const { madeAt: _, ...here } = ownerOf(clock);
    const owned = (host: string, owner: number, more = {}) =>
      server.addSession({
        status: { type: 'busy' },
        metadata: { 'opencode-watchdog': { ...here, host, pid: owner, madeAt: 1, ...more } },
      }).id;
    const orphan = owned(hostname(), pid);
    const others = [
      owned(hostname(), process.pid),
      owned('elsewhere', pid),
      // A container may have the same name as its host, and process ids of its own.
      owned(hostname(), pid, { pidNamespace: 'pid:[1]' }),
      server.addSession().id,
    ];
    expect(await driver.sweep({ dryRun: true })).toMatchObject({ ended: [{ id: orphan, pid }] });
    expect(server.get(orphan).deleted).toBe(false);
    const swept = await driver.sweep();
    expect(swept).toMatchObject({ ended: [{ id: orphan }], failed: [], elsewhere: 2 });
    expect(server.get(orphan)).toMatchObject({ deleted: true, aborts: 1 });
    for (const id of others) expect(server.get(id)).toMatchObject({ deleted: false, aborts: 0 });
  });

  it('finds a prompt’s session by its owner, and never one that is kept', async () => {
    const { server, driver, prompted } = await start();
    for (const keep of [false, true]) {
      const result = driver.prompt({ prompt: 'x', keep });
      const { id, metadata } = await prompted(keep ? 2 : 1);
      const owner = { ...ownerOf(clock), madeAt: expect.any(Number) };
      expect(metadata).toEqual(keep ? undefined : { 'opencode-watchdog': owner });
      reply(server, id, 'yes');
      await result;
    }
  });
});

describe('a limit', () => {
  it('that is none is refused before anything is made', async () => {
    const { server, driver } = await start();
    for (const limit of [
      { timeoutMs: Number.NaN },
      { timeoutMs: Number.POSITIVE_INFINITY },
      { timeoutMs: -1 },
      { timeoutMs: 0 },
      { timeoutMs: 2 ** 31 },
      { timeoutMs: '60' as unknown as number },
      { deadlineMs: Number.NaN },
      { maxAttempts: 1.5 },
      { maxSteps: 0 },
      { thinking: { budget_tokens: Number.NaN } },
    ]) {
      const error = await failure(driver.prompt({ prompt: 'x', ...limit }));
      expect(error, JSON.stringify(limit)).toMatchObject({ kind: 'usage' });
      expect(error.message).toContain('; expected ');
      await expect(driver.send({ id: 'ses_1' }, 'x', limit as object)).rejects.toThrow();
    }
    await expect(driver.wait({ id: 'ses_1' }, { maxSteps: Number.NaN })).rejects.toMatchObject({
      kind: 'usage',
    });
    for (const concurrency of [Number.NaN, Number.POSITIVE_INFINITY, 0, -3]) {
      expect(() => driver.batch([{ prompt: 'x' }], { concurrency })).toThrow('concurrency');
    }
    expect(() => driver.sessions({ limit: Number.NaN })).toThrow('limit');
    expect(server.requests).toEqual([]);
  });

  const frozen: [what: string, route: string][] = [
    ['before anything is made', 'GET /global/health'],
    ['while the session is made', 'POST /session'],
    ['while the prompt is taken', PROMPT],
    ['while the session is checked', STATUS],
  ];
  it.each(frozen)('of time holds where the server freezes %s', async (_what, route) => {
    const { server, driver } = await start();
    server.fault(route, { hang: true });
    const began = clock.now();
    const result = failure(driver.prompt({ prompt: 'x', timeoutMs: 10_000 }));
    if (route !== 'GET /global/health') {
      await waitFor(() => server.count(route) > 0, { what: 'the request', interval: 5 });
      server.fault('*', { hang: true });
    }
    const { kind, message } = await result;
    expect(kind).toBe('timeout');
    // The run of a session that there is may go on, and `sweep` leaves it alone while this process lives.
    for (const { id } of server.sessions.values()) {
      expect(message).toContain(`"opencode-watchdog abort ${id}" ends it when`);
    }
    // The timeout itself, and the one check whether the server answers.
    expect(clock.now() - began).toBeLessThan(20_000);
  });

  it.each(['send', 'sendAsync'] as const)(
    'that may have been taken although its answer was lost does not go on unseen (%s)',
    async (how) => {
      const { server, driver } = await start();
      const session = await driver.createSession({ directory: '/p' });
      server.fault(PROMPT, { answerLost: true });
      const error = await failure(driver[how](session, 'hello'));
      expect(error).toMatchObject({ kind: 'unreachable', details: { aborted: true } });
      expect(error.message).toContain('The run was aborted, and is at rest.');
      expect(server.get(session.id).status.type).toBe('idle');
      expect(server.count(ABORT)).toBe(1);
    },
  );

  it('that was queued behind another run, and whose answer was lost, leaves that run alone', async () => {
    const { server, driver, prompted } = await start();
    const session = await driver.createSession({ directory: '/p' });
    const first = failure(driver.send(session, 'first'));
    await prompted();
    server.fault(PROMPT, { answerLost: true });
    const error = await failure(driver.send(session, 'second', { queue: true }));
    expect(error.kind).toBe('unreachable');
    expect(error.message).toContain('The prompt may be queued all the same.');
    expect(server.count(ABORT)).toBe(0);
    expect(server.get(session.id).status.type).toBe('busy');
    await driver.abort(session);
    await first;
  });

  it('over all tries ends the chain of models', async () => {
    const { server, driver } = await start();
    const error = await failure(
      driver.prompt({
        prompt: 'x',
        model: 'fake/m1',
        fallback: ['fake/m1', 'fake/m1', 'fake/m1'],
        timeoutMs: 20_000,
        deadlineMs: 30_000,
      }),
    );
    expect(error.kind).toBe('timeout');
    expect(error.message).toContain('no reply within 30 s, the time for all tries together');
    expect(server.count(PROMPT)).toBe(2);
    expect([...server.sessions.values()].every(({ deleted }) => deleted)).toBe(true);
  });

  const step = (server: FakeOpencode, sessionID: string, n: number, command: string) => {
    const messageID = `msg_s${n}`;
    const info = { id: messageID, sessionID, role: 'assistant' };
    const time = { start: 1e12, end: 1e12 + 10 };
    const state = { status: 'completed', input: { command }, output: 'same', time };
    const tool = { id: `p${n}`, type: 'tool', callID: `c${n}`, tool: 'bash', state };
    server.emit({ type: 'message.updated', properties: { info } });
    for (const part of [tool, { id: `f${n}`, type: 'step-finish', reason: 'tool-calls' }]) {
      const properties = { part: { ...part, messageID, sessionID } };
      server.emit({ type: 'message.part.updated', properties });
    }
  };

  it('of steps ends a run that goes on after them', async () => {
    const { server, driver, prompted } = await start();
    const result = failure(driver.prompt({ prompt: 'x', maxSteps: 3 }));
    const { id } = await prompted();
    for (let n = 0; n < 3; n += 1) step(server, id, n, `ls ${n}`);
    const error = await result;
    expect(error).toMatchObject({ kind: 'step_limit', details: { aborted: true, deleted: true } });
    expect(error.message).toContain('3 steps');
  });

  it('for loops ends a run that makes the same step again and again', async () => {
    const { server, driver, prompted } = await start();
    const result = failure(driver.prompt({ prompt: 'x' }));
    const { id } = await prompted();
    for (let n = 0; n < 12; n += 1) step(server, id, n, 'ls');
    const error = await result;
    expect(error).toMatchObject({ kind: 'loop', details: { aborted: true, deleted: true } });
    expect(error.message).toContain('12 times the same step (bash)');
  });

  it.each([
    [
      'only reports it',
      { action: 'report' },
      ['the run goes in circles: 12 times the same step (bash)'],
    ],
    ['is off', { action: 'off' }, []],
    ['has no limit for that', { maxRepeats: 0 }, []],
  ] as const)('for loops ends no run where the configuration %s', async (_what, loop, says) => {
    const { server, driver, notices, prompted } = await start({}, { loop });
    const result = driver.prompt({ prompt: 'x' });
    const { id } = await prompted();
    for (let n = 0; n < 12; n += 1) step(server, id, n, 'ls');
    await waitFor(() => server.count(STATUS) > 0, { what: 'a check' });
    reply(server, id, 'yes');
    expect(await result).toMatchObject({ text: 'yes' });
    expect(notices).toEqual(says);
  });

  it('for loops begins to count again where steps may have been missed', async () => {
    const { server, driver, prompted } = await start();
    const result = driver.prompt({ prompt: 'x' });
    const { id } = await prompted();
    for (let n = 0; n < 11; n += 1) step(server, id, n, 'ls');
    server.endStreams();
    await waitFor(() => server.count('GET /global/event') > 1, { what: 'the next stream' });
    for (let n = 11; n < 14; n += 1) step(server, id, n, 'ls');
    const checks = server.count(STATUS);
    await waitFor(() => server.count(STATUS) > checks + 1, { what: 'checks' });
    reply(server, id, 'yes');
    expect(await result).toMatchObject({ text: 'yes' });
    expect(server.count(ABORT)).toBe(0);
  });
});

describe('what cannot be ended', () => {
  it('is not deleted, and the error names it', async () => {
    const { server, driver } = await start();
    server.abortBehaviour = 'lies';
    const error = await failure(driver.prompt({ prompt: 'hello', timeoutMs: 10_000 }));
    expect(error.kind).toBe('timeout');
    expect(error.details).toMatchObject({ aborted: false, deleted: false });
    expect(error.message).toMatch(/could not be aborted \(3 tries: still busy/);
    expect(server.count(ABORT)).toBe(3);
    expect(server.count(DELETE)).toBe(0);
  });

  it('is told where the deadline of all tries ended it, and what it waits for', async () => {
    const { server, driver, prompted } = await start();
    server.abortBehaviour = 'lies';
    const options = { prompt: 'hello', deadlineMs: 10_000, onRequest: 'wait' as const };
    const result = failure(driver.prompt(options));
    const { id } = await prompted();
    server.ask('permission', id);
    const error = await result;
    expect(error.details).toMatchObject({ aborted: false, deleted: false });
    expect(error.message).toMatch(
      /^no reply within 10 s, .*\. It waits for a permission \(bash\)\. /,
    );
    expect(error.message).toMatch(/could not be aborted \(3 tries: .* it goes on/);
  });

  it('is told where the time was over while the prompt was sent', async () => {
    const { server, driver } = await start();
    server.abortBehaviour = 'lies';
    server.fault(PROMPT, { delayMs: 20_000 });
    const { id } = await driver.createSession();
    const result = failure(driver.send({ id }, 'hello', { timeoutMs: 5_000 }));
    await waitFor(() => server.count(PROMPT) === 1, { what: 'the prompt' });
    server.setStatus(id, { type: 'busy' });
    const error = await result;
    expect(error.message).toMatch(/^no reply within 5 s: .* could not be aborted/);
  });

  it('at the first try is aborted again', async () => {
    const { server, driver } = await start();
    server.abortBehaviour = 'lost-once';
    const error = await failure(driver.prompt({ prompt: 'hello', timeoutMs: 10_000 }));
    expect(error.details).toMatchObject({ aborted: true, deleted: true });
    expect(server.count(ABORT)).toBe(2);
  });

  it('because it begins again after an early abort is ended, too', async () => {
    const { server, driver, prompted } = await start();
    const stop = new AbortController();
    const result = failure(driver.prompt({ prompt: 'hello', signal: stop.signal }));
    const { id } = await prompted();
    stop.abort();
    await waitFor(() => server.get(id).aborts === 1, { what: 'the first abort', interval: 2 });
    server.setStatus(id, { type: 'retry', attempt: 1, message: 'x', next: 0 });
    expect((await result).details).toMatchObject({ aborted: true, deleted: true });
    expect(server.get(id).aborts).toBe(2);
  });

  it('because a plugin prompts it at its end is ended, too', async () => {
    const { server, driver, prompted } = await start();
    const result = driver.prompt({ prompt: 'hello' });
    const { id } = await prompted();
    server.setStatus(id, { type: 'busy' });
    const read = 'GET /session/:id/message';
    const before = server.count(read);
    server.fault(read, { delayMs: 30, times: 1 });
    reply(server, id, 'yes');
    // The driver has seen it idle, and reads its transcript.
    await waitFor(() => server.count(read) > before, { interval: 1 });
    server.setStatus(id, { type: 'busy' });
    expect(await result).toMatchObject({ text: 'yes', deleted: true });
    expect(server.count(ABORT)).toBe(1);
  });

  it.each([
    ['its creation was interrupted', 1_000, true],
    ['its creation takes longer than anybody waits', 60_000, false],
  ])('before the driver is closed: %s', async (_, delayMs, isRemoved) => {
    const { server, driver, notices } = await start();
    // The delay passes before the session is made.
    server.fault('POST /session', { delayMs: delayMs / 10 });
    const stop = new AbortController();
    const result = failure(driver.prompt({ prompt: 'hello', signal: stop.signal }));
    await waitFor(() => server.count('POST /session') === 1, { what: 'the creation' });
    stop.abort();
    expect((await result).kind).toBe('aborted');
    await driver.close();
    expect([...server.sessions.values()].map(({ deleted }) => deleted)).toEqual(
      isRemoved ? [true] : [],
    );
    expect(notices).toEqual(
      isRemoved ? [] : ['a session that was being created may be left on the server'],
    );
  });

  it.each([true, false])(
    'because nobody heard its id is told (interrupted: %s)',
    async (isInterrupted) => {
      const { server, driver, notices } = await start();
      server.fault('POST /session', { answerLost: true, delayMs: 100 });
      const stop = new AbortController();
      const result = failure(driver.prompt({ prompt: 'hello', signal: stop.signal }));
      await waitFor(() => server.count('POST /session') === 1, { what: 'the creation' });
      if (isInterrupted) stop.abort();
      expect((await result).kind).toBe(isInterrupted ? 'aborted' : 'unreachable');
      await driver.close();
      expect(notices).toEqual(['a session that was being created may be left on the server']);
    },
  );

  it('because the delete fails is told, and does not cost the reply', async () => {
    const { server, driver, notices, prompted } = await start();
    server.fault(DELETE, { status: 500 });
    const result = driver.prompt({ prompt: 'hello' });
    const { id } = await prompted();
    reply(server, id, 'yes');
    expect(await result).toMatchObject({ text: 'yes', deleted: false });
    expect(notices).toEqual([expect.stringMatching(`session ${id} is left behind: .*500`)]);
  });
});

describe('a person is asked', () => {
  it('and with onRequest wait, the time-out says for what', async () => {
    const { server, driver, notices, prompted } = await start();
    const options = { prompt: 'hello', timeoutMs: 15_000, onRequest: 'wait' as const };
    const result = failure(driver.prompt(options));
    const { id } = await prompted();
    server.ask('permission', id);
    expect((await result).message).toContain('It waits for a permission (bash).');
    expect(notices).toEqual([expect.stringContaining('answer it in opencode')]);
  });

  it('by a subagent, and is answered no in its place', async () => {
    const { server, driver, prompted } = await start();
    const result = driver.prompt({ prompt: 'hello' });
    const parent = await prompted();
    const child = server.addSession({ parentID: parent.id });
    const info = { id: child.id, parentID: parent.id, directory: child.directory };
    server.emit({ type: 'session.created', properties: { sessionID: child.id, info } });
    server.ask('permission', child.id);
    await waitFor(() => server.count('POST /permission/:id/reply') === 1, { what: 'the answer' });
    reply(server, parent.id, 'yes');
    expect(await result).toMatchObject({ text: 'yes' });
  });
});

describe('a person is asked while nobody hears it, and the run is answered no', () => {
  const ANSWER = 'POST /permission/:id/reply';

  /** Waits for the answer, and lets the run end as it does then. */
  async function goesOn(server: FakeOpencode, id: string) {
    await waitFor(() => server.count(ANSWER) === 1, { what: 'the answer' });
    reply(server, id, 'yes', { silently: true });
  }

  it('before the prompt is waited for', async () => {
    const { server, driver, prompted } = await start();
    const { id } = await driver.createSession();
    const sent = await driver.sendAsync({ id }, 'x');
    await prompted();
    server.setStatus(id, { type: 'busy' });
    await waitFor(() => server.listeners === 0, { what: 'the stream to be let go of' });
    server.ask('permission', id);
    const waiting = sent.wait({ timeoutMs: 60_000 });
    await goesOn(server, id);
    expect(await waiting).toMatchObject({ text: 'yes' });
  });

  it('before another process waits for it', async () => {
    const { server, driver } = await start();
    const { id } = server.addSession();
    const info = { id: 'msg_0', role: 'user', time: { created: 1 } };
    server.get(id).messages.push({ info, parts: [{ type: 'text', text: 'x' }] });
    server.setStatus(id, { type: 'busy' });
    server.ask('permission', id);
    const waiting = driver.wait({ id }, { timeoutMs: 60_000 });
    await goesOn(server, id);
    expect(await waiting).toMatchObject({ text: 'yes' });
  });

  it('by a subagent that was there before the wait began', async () => {
    const { server, driver } = await start();
    const { id } = server.addSession({ status: { type: 'busy' } });
    const info = { id: 'msg_0', role: 'user', time: { created: 1 } };
    server.get(id).messages.push({ info, parts: [{ type: 'text', text: 'x' }] });
    const child = server.addSession({ parentID: id, status: { type: 'busy' } });
    const waiting = driver.wait({ id }, { timeoutMs: 60_000 });
    await waitFor(() => server.count('GET /permission') > 0 && server.listeners > 0, {
      what: 'the list to be read',
    });
    server.ask('permission', child.id);
    await goesOn(server, id);
    expect(await waiting).toMatchObject({ text: 'yes' });
  });

  it('by a subagent, while the stream is lost', async () => {
    const { server, driver, prompted } = await start();
    const result = driver.prompt({ prompt: 'hello' });
    const { id } = await prompted();
    server.setStatus(id, { type: 'busy' });
    server.endStreams();
    const child = server.addSession({ parentID: id });
    const stranger = server.addSession();
    for (const sessionID of [stranger.id, child.id]) {
      // No event says so.
      const id = server.newId('per');
      server.pending.set(id, { kind: 'permission', id, sessionID });
    }
    await goesOn(server, id);
    expect(await result).toMatchObject({ text: 'yes' });
    expect([...server.pending.values()].map(({ sessionID }) => sessionID)).toEqual([stranger.id]);
  });

  it('because a stream without heartbeats died, and its connection does not say so', async () => {
    const { server, driver, prompted } = await start({ heartbeatMs: null });
    const result = driver.prompt({ prompt: 'hello', timeoutMs: 600_000 });
    const { id } = await prompted();
    server.setStatus(id, { type: 'busy' });
    await waitFor(() => server.count('GET /permission') > 0, { what: 'the list to be read' });
    server.silenceStreams();
    server.ask('permission', id);
    await goesOn(server, id);
    expect(await result).toMatchObject({ text: 'yes' });
  });

  it('where there is no event stream at all', async () => {
    const { server, driver, notices, prompted } = await start({ globalEvent: false });
    const result = driver.prompt({ prompt: 'hello' });
    const { id } = await prompted();
    server.setStatus(id, { type: 'busy' });
    await waitFor(() => server.count(STATUS) > 1, { what: 'a check' });
    server.fault('GET /permission', { status: 500, times: 1 });
    server.ask('permission', id);
    await goesOn(server, id);
    expect(await result).toMatchObject({ text: 'yes' });
    expect(notices.filter((notice) => notice.includes('permission'))).toEqual([
      'the run asked for a permission, and was told that nobody is there',
    ]);
  });
});

describe('a batch', () => {
  it('rides over a restart: waits, begins nothing, and runs again what was cut', async () => {
    const { server, driver } = await start();
    const { port } = server;
    const results: boolean[] = [];
    const reading = (async () => {
      const tasks = Array.from({ length: 4 }, (_, index) => ({ prompt: `task ${index}` }));
      for await (const { ok } of driver.batch(tasks, { concurrency: 2 })) results.push(ok);
    })();
    await waitFor(() => server.count(PROMPT) === 2, { what: 'two prompts' });
    const cut = [...server.sessions.keys()];
    await server.stop();
    ends.shift();
    const born = await startFakeOpencode({ port });
    ends.unshift(() => born.stop());
    // Its sessions survive, its runs do not (facts, section 1).
    for (const id of cut) {
      born.addSession({ id, messages: [...server.get(id).messages, BEGUN] });
    }
    // New ids must come after the old ones.
    for (let n = 0; n < 20; n += 1) born.newId('ses');
    const done = new Set<string>(cut);
    while (results.length < 4) {
      await waitFor(
        () =>
          [...born.sessions.values()].some(
            ({ id, messages }) => !done.has(id) && messages.length > 0,
          ) || results.length === 4,
        { what: 'a prompt', interval: 5 },
      );
      for (const { id, messages } of born.sessions.values()) {
        if (done.has(id) || messages.length === 0) continue;
        done.add(id);
        reply(born, id, 'yes');
      }
    }
    await reading;
    expect(results).toEqual([true, true, true, true]);
    expect(born.count(PROMPT)).toBe(4);
    expect([...born.sessions.values()].every(({ deleted }) => deleted)).toBe(true);
  });

  it('gives a server up that does not come back in time', async () => {
    const { server, driver } = await start();
    const results: unknown[] = [];
    const reading = (async () => {
      const options = { concurrency: 1, serverWaitMs: 3_000 };
      for await (const result of driver.batch([{ prompt: 'a' }], options)) results.push(result);
    })();
    await waitFor(() => server.count(PROMPT) === 1, { what: 'the prompt' });
    await server.stop();
    ends.shift();
    await reading;
    expect(results).toMatchObject([{ ok: false, error: { kind: 'unreachable' } }]);
  });

  it('keeps to its concurrency, and begins nothing after it was stopped', async () => {
    const { server, driver } = await start();
    const stop = new AbortController();
    const results: boolean[] = [];
    const reading = (async () => {
      const tasks = Array.from({ length: 6 }, (_, index) => ({ prompt: `task ${index}` }));
      const options = { concurrency: 2, signal: stop.signal };
      for await (const { ok } of driver.batch(tasks, options)) results.push(ok);
    })();
    await waitFor(() => server.count(PROMPT) === 2, { what: 'two prompts' });
    const [first] = server.sessions.keys();
    reply(server, first!, 'yes');
    await waitFor(() => server.count(PROMPT) === 3, { what: 'the third prompt' });
    stop.abort();
    await reading;
    expect(results).toEqual([true, false, false]);
    expect(server.sessions.size).toBe(3);
    expect([...server.sessions.values()].every(({ deleted }) => deleted)).toBe(true);
  });
});
