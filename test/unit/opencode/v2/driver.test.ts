/** The driver on OpenCode 2, with the promises that it keeps on 1.x: against the fake of it. */
import { afterEach, describe, expect, it } from 'vitest';
import { OpencodeDriver } from '../../../../src/opencode/driver/driver.js';
import { DriverError } from '../../../../src/opencode/driver/error.js';
import { ownerOf } from '../../../../src/opencode/driver/orphans.js';
import { type FakeOpencode2, startFakeOpencode2 } from '../../../support/fake-opencode-2.js';
import { fastClock as clock } from '../../../support/fast-clock.js';
import { waitFor } from '../../../support/wait.js';

const ends: Array<() => Promise<unknown>> = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function start(onPrompt?: FakeOpencode2['onPrompt']) {
  const server = await startFakeOpencode2();
  if (onPrompt) server.onPrompt = onPrompt;
  const notices: string[] = [];
  const driver = new OpencodeDriver({
    url: server.url,
    password: 'pw',
    clock,
    onNotice: (message) => notices.push(message),
  });
  ends.push(
    () => server.stop(),
    () => driver.close(),
  );
  const posts = () =>
    server.requests
      .filter(({ method }) => method !== 'GET')
      .map(({ method, path, body }) => ({
        what: `${method} ${path.replace(/^\/api/, '').replace(/ses_\w+/, ':id')}`,
        body,
      }));
  const asked = (what: string) => waitFor(() => posts().some((each) => each.what === what));
  return { server, driver, notices, posts, asked };
}

const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => expect.unreachable('it did not fail'),
    (error: unknown) => {
      expect(error).toBeInstanceOf(DriverError);
      return error as DriverError;
    },
  );

describe('a prompt', () => {
  it('sets model and agent on a new session, tells the reply as it comes, and deletes the session', async () => {
    const { server, driver, posts } = await start((session) => {
      server.tool(session, 'msg_t', 'shell', { command: 'ls' }, 'a.txt');
      server.answer(session, 'Hel', 'lo');
    });
    const told: string[] = [];
    const reply = await driver.prompt({
      prompt: 'say hello',
      model: 'fake/m',
      variant: 'high',
      agent: 'build',
      directory: '/q',
      system: 'Be brief.',
      context: [{ name: 'plan.md', text: 'first this' }],
      files: [
        { type: 'file', mime: 'text/plain', filename: 'a.txt', url: 'data:text/plain;base64,' },
      ],
      permission: [{ permission: 'bash', pattern: '*', action: 'deny' }],
      onText: (text) => told.push(text),
    });
    expect(reply).toMatchObject({
      text: 'Hello',
      model: 'fake/m',
      finish: 'stop',
      directory: '/q',
      steps: 2,
      tools: 1,
      toolCalls: [{ tool: 'shell', status: 'completed' }],
      costUsd: 0.02,
      tokens: { input: 20, output: 10 },
      deleted: true,
    });
    expect(told.join('')).toBe('Hello');
    expect(server.sessions.size).toBe(0);
    const [made, agent, model, sent, deleted, ...more] = posts();
    expect(made).toMatchObject({
      what: 'POST /session',
      body: {
        title: 'say hello',
        location: { directory: '/q' },
        permissions: [{ action: 'shell', resource: '*', effect: 'deny' }],
        metadata: { 'opencode-watchdog': { pid: process.pid } },
      },
    });
    expect(agent).toEqual({ what: 'POST /session/:id/agent', body: { agent: 'build' } });
    expect(model).toEqual({
      what: 'POST /session/:id/model',
      body: { model: { id: 'm', providerID: 'fake', variant: 'high' } },
    });
    expect(sent).toMatchObject({
      what: 'POST /session/:id/prompt',
      body: {
        text: '<system>\nBe brief.\n</system>\n\n<context name="plan.md">\nfirst this\n</context>\n\nsay hello',
        files: [{ uri: 'data:text/plain;base64,', name: 'a.txt' }],
      },
    });
    expect(deleted).toMatchObject({ what: 'DELETE /session/:id' });
    expect(more).toEqual([]);
  });

  it('whose model, variant or agent is not there is refused before it is sent', async () => {
    const { driver, posts } = await start();
    const refused = async (wish: object) =>
      (await failure(driver.prompt({ prompt: 'x', ...wish }))).kind;
    expect(await refused({ model: 'fake/n' })).toBe('model_unknown');
    expect(await refused({ model: 'fake/m', variant: 'low' })).toBe('variant_unknown');
    expect(await refused({ agent: 'nobody' })).toBe('agent_unknown');
    expect(posts().some(({ what }) => what.endsWith('/prompt'))).toBe(false);
  });

  it('gets its model and variant where the directory has just booted, and its list is short', async () => {
    const { server, driver } = await start((session) => server.answer(session, 'ok'));
    const n = { ...server.models[0], id: 'n', variants: [{ id: 'low' }] };
    const lists = () => server.requests.filter(({ path }) => path === '/api/model').length;
    const wish = { prompt: 'x', model: 'fake/n', variant: 'low' };
    for (const early of [[], [{ ...n, variants: [] }]]) {
      const asked = lists();
      server.models = early;
      const result = driver.prompt(wish);
      await waitFor(() => lists() > asked, { what: 'the list to be read' });
      server.models = [n];
      expect(await result).toMatchObject({ text: 'ok' });
    }
  });

  it('is interrupted while a short list is given its time', async () => {
    const { server, driver } = await start();
    const stop = new AbortController();
    const result = failure(driver.prompt({ prompt: 'x', model: 'fake/n', signal: stop.signal }));
    await waitFor(() => server.requests.some(({ path }) => path === '/api/provider'));
    stop.abort();
    expect((await result).kind).toBe('aborted');
  });

  it('without a model has its variant checked on the one that it gets, and is sent with that', async () => {
    const { server, driver, notices, posts } = await start((session) =>
      server.answer(session, 'ok'),
    );
    const n = { ...server.models[0], id: 'n', variants: [{ id: 'low' }] };
    server.models.push(n);
    server.defaultModels.set('/q', n).set('/none', null);
    const chosen = () => posts().findLast(({ what }) => what.endsWith('/model'))?.body;

    const session = await driver.createSession({ directory: '/p' });
    await driver.send(session, 'x', { model: 'fake/n' });
    expect((await failure(driver.send(session, 'x', { variant: 'high' }))).kind).toBe(
      'variant_unknown',
    );
    await driver.send(session, 'x', { variant: 'low' });
    expect(chosen()).toEqual({ model: { id: 'n', providerID: 'fake', variant: 'low' } });

    const inQ = { prompt: 'x', directory: '/q' };
    expect((await failure(driver.prompt({ ...inQ, variant: 'high' }))).kind).toBe(
      'variant_unknown',
    );
    await driver.prompt({ ...inQ, variant: 'low' });
    expect(chosen()).toEqual({ model: { id: 'n', providerID: 'fake', variant: 'low' } });

    expect(notices).toEqual([]);
    await driver.prompt({ prompt: 'x', directory: '/none', variant: 'hgih' });
    expect(notices).toEqual([
      'the variant "hgih" is not checked, and may be ignored: opencode does not say which model the prompt gets',
    ]);
  });

  it('is ended at the attempts that are allowed, and leaves nothing behind', async () => {
    const { server, driver } = await start((session) => {
      server.retry(session, 'msg_a', 4, 600);
    });
    const error = await failure(driver.prompt({ prompt: 'x', maxAttempts: 3 }));
    expect(error).toMatchObject({
      kind: 'provider_failed',
      details: { aborted: true, deleted: true },
    });
    expect(error.message).toContain('Too many requests');
    expect(server.active.size).toBe(0);
    expect(server.sessions.size).toBe(0);
  });

  it('fails with the provider’s own words and status', async () => {
    const { server, driver } = await start((session) => {
      server.fail(session, { type: 'provider.invalid-request', message: 'bad tool', status: 400 });
    });
    const error = await failure(driver.prompt({ prompt: 'x' }));
    expect(error).toMatchObject({ kind: 'provider_failed', details: { statusCode: 400 } });
    expect(error.message).toContain('bad tool');
  });

  it('says it where the run failed before its first answer', async () => {
    const { server, driver } = await start((session) => {
      const error = { type: 'unknown', message: 'Model unavailable: fake/m' };
      server.end(session, 'failed', { error });
    });
    const error = await failure(driver.prompt({ prompt: 'x' }));
    expect(error.kind).toBe('model_unknown');
    expect(error.message).toContain('Model unavailable: fake/m');
  });

  it('that somebody interrupts says so', async () => {
    const { server, driver } = await start((session) => {
      server.end(session, 'interrupted', { reason: 'user' });
    });
    const error = await failure(driver.prompt({ prompt: 'x' }));
    expect(error).toMatchObject({ kind: 'run_failed' });
    expect(error.message).toContain('aborted by someone else');
  });

  it('that nothing answers ends with its time, is aborted and seen to be', async () => {
    const { server, driver } = await start();
    const error = await failure(driver.prompt({ prompt: 'x', timeoutMs: 5_000 }));
    expect(error).toMatchObject({ kind: 'timeout', details: { aborted: true, deleted: true } });
    expect(server.active.size).toBe(0);
  });

  it('finds its reply where the event stream breaks', async () => {
    const { server, driver } = await start((session) => {
      server.breakStreams();
      server.answer(session, 'yes');
    });
    expect(await driver.prompt({ prompt: 'x' })).toMatchObject({ text: 'yes' });
  });
});

describe('what a person is asked', () => {
  it.each(['permission', 'form'] as const)(
    'as a %s is answered no with words, and the run goes on',
    async (on) => {
      const { server, driver, notices } = await start((session) => {
        server.ask(session, on);
      });
      const result = driver.prompt({ prompt: 'x' });
      await waitFor(() => server.requests.some(({ path }) => /\/(permission|form)\//.test(path)));
      const [session] = server.sessions.values();
      await waitFor(() => session!.asks.size === 0);
      server.answer(session!, 'without it');
      expect(await result).toMatchObject({ text: 'without it' });
      expect(notices.join()).toContain('was told that nobody is there');
    },
  );
});

describe('a session of one’s own', () => {
  it('answers a second prompt, follows another’s run, and is aborted and deleted', async () => {
    const { server, driver } = await start();
    const session = await driver.createSession({ directory: '/p' });
    const sent = await driver.sendAsync(session, 'one');
    const fake = server.sessions.get(session.id)!;
    server.answer(fake, 'first');
    expect(await sent.wait()).toMatchObject({ text: 'first' });
    server.begin(fake);
    server.answer(fake, 'another’s');
    expect(await driver.wait(session)).toMatchObject({ text: 'another’s' });
    expect((await driver.messages(session)).map(({ role, text }) => [role, text])).toEqual([
      ['user', 'one'],
      ['assistant', 'first'],
      ['user', 'hi'],
      ['assistant', 'another’s'],
    ]);
    expect(await driver.abort(session)).toBe(false);
    server.begin(fake);
    expect(await driver.status(session)).toMatchObject({ status: { type: 'busy' } });
    expect(await driver.abort(session)).toBe(true);
    await driver.delete(session);
    expect(server.sessions.size).toBe(0);
  });

  it('takes no second prompt while it is at work, and queues one that may wait', async () => {
    const { server, driver, posts } = await start();
    const session = await driver.createSession();
    const fake = server.sessions.get(session.id)!;
    server.begin(fake);
    expect((await failure(driver.send(session, 'two'))).kind).toBe('session_busy');
    const reply = driver.send(session, 'two', { queue: true });
    await waitFor(() => fake.inbox.length === 1);
    expect(posts().at(-1)?.body).toMatchObject({ delivery: 'queue' });
    server.onPrompt = (each, { text }) => server.answer(each, `to ${text}`);
    server.answer(fake, 'to hi');
    expect(await reply).toMatchObject({ text: 'to two' });
  });

  it('waits with a queued prompt where the session has other prompts and answers already', async () => {
    const { server, driver } = await start();
    const session = await driver.createSession();
    const fake = server.sessions.get(session.id)!;
    server.begin(fake);
    server.answer(fake, 'first');
    server.begin(fake);
    const reply = driver.send(session, 'two', { queue: true, timeoutMs: 600_000 });
    await waitFor(() => fake.inbox.length === 1);
    const asked = () => server.requests.filter(({ path }) => path.endsWith('/active')).length;
    const before = asked();
    await waitFor(() => asked() >= before + 3, { what: 'three checks' });
    server.onPrompt = (each, { text }) => server.answer(each, `to ${text}`);
    server.answer(fake, 'to hi');
    expect(await reply).toMatchObject({ text: 'to two' });
  });

  it('keeps no prompt in its inbox that was given up: it would run with the next one', async () => {
    const { server, driver } = await start();
    const session = await driver.createSession();
    const fake = server.sessions.get(session.id)!;
    server.begin(fake);
    const given = failure(driver.send(session, 'two', { queue: true, timeoutMs: 5_000 }));
    const error = await given;
    expect(error.kind).toBe('timeout');
    expect(error.message).toContain('The run before it goes on. The prompt was taken back.');
    expect(fake.inbox).toEqual([]);
    // That run is somebody else's.
    expect(server.active.has(session.id)).toBe(true);
  });

  it('ends the run of a queued prompt that was delivered and shows nothing', async () => {
    const { server, driver } = await start();
    const session = await driver.createSession();
    const fake = server.sessions.get(session.id)!;
    server.begin(fake);
    const given = failure(driver.send(session, 'two', { queue: true, timeoutMs: 8_000 }));
    await waitFor(() => fake.inbox.length === 1);
    server.answer(fake, 'to hi');
    expect(await given).toMatchObject({ kind: 'timeout', details: { aborted: true } });
    expect(server.active.size).toBe(0);
  });
});

it('lists sessions of all directories with their status, by one poll', async () => {
  const { server, driver } = await start();
  const idle = server.addSession({ directory: '/p' });
  const busy = server.addSession({ directory: '/q' });
  server.begin(busy);
  const listed = await driver.sessions();
  expect(listed.map(({ id, directory, status }) => [id, directory, status])).toEqual([
    [idle.id, '/p', { type: 'ready' }],
    [busy.id, '/q', { type: 'busy' }],
  ]);
  expect(server.requests.filter(({ path }) => path.endsWith('/active'))).toHaveLength(1);
});

it('lists the models that can be asked, with the one that a prompt gets by default', async () => {
  const { driver } = await start();
  expect(await driver.models()).toMatchObject({
    connected: ['fake'],
    configured: 'fake/m',
    models: [{ id: 'fake/m', name: 'Model', connected: true, variants: { high: {} } }],
  });
  expect(await driver.check()).toMatchObject({ ok: true, server: { up: true, version: '2.0.26' } });
});

it('sweeps what a killed driver of this machine left', async () => {
  const { server, driver } = await start();
  const owner = { ...ownerOf(clock), pid: 2 ** 22 + 1 };
  const left = server.addSession({ metadata: { 'opencode-watchdog': owner } });
  server.addSession();
  server.begin(left);
  expect((await driver.sweep()).ended).toMatchObject([{ id: left.id }]);
  expect(server.sessions.has(left.id)).toBe(false);
  expect(server.sessions.size).toBe(1);
});

it('runs a batch, each task in a session of its own', async () => {
  const { server, driver } = await start((session, { text }) =>
    server.answer(session, `to ${text}`),
  );
  const texts: string[] = [];
  for await (const result of driver.batch([{ prompt: 'a' }, { prompt: 'b' }, { prompt: 'c' }])) {
    texts.push(result.ok ? result.reply.text : result.error.message);
  }
  expect(texts.sort()).toEqual(['to a', 'to b', 'to c']);
  expect(server.sessions.size).toBe(0);
});

it('says that the password is wrong, where it is', async () => {
  const { server } = await start();
  const driver = new OpencodeDriver({ url: server.url, password: 'wrong', clock });
  ends.push(() => driver.close());
  expect((await failure(driver.prompt({ prompt: 'x' }))).kind).toBe('unauthorized');
});
