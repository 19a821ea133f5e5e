/** The MCP server as an agent's client sees it: its tools with a fake opencode, and the command itself on stdio. */
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { InMemoryTransport } from '@modelcontextprotocol/sdk/inMemory.js';
import { afterEach, describe, expect, it } from 'vitest';
import { BackgroundRuns } from '../../src/commands/mcp-runs.js';
import { mcpServer } from '../../src/commands/mcp-tools.js';
import { OpencodeDriver } from '../../src/opencode/driver/driver.js';
import { CLI } from '../support/daemon.js';
import { prompted, reply } from '../support/driver-replies.js';
import { startFakeOpencode } from '../support/fake-opencode.js';
import { routes } from '../support/fake-opencode-routes.js';
import { fastClock as clock } from '../support/fast-clock.js';
import { waitFor } from '../support/wait.js';

routes['GET /config'] ??= () => ({ model: 'fake/m1' });

const ABORT = 'POST /session/:id/abort';

const ends: Array<() => Promise<unknown>> = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

interface Answer {
  ok: boolean;
  [key: string]: unknown;
}

async function connect() {
  const server = await startFakeOpencode();
  const driver = new OpencodeDriver({ url: server.url, clock });
  const runs = new BackgroundRuns(clock);
  const mcp = mcpServer({ driver, clock, runs });
  const client = new Client({ name: 'test', version: '1' });
  const [ours, theirs] = InMemoryTransport.createLinkedPair();
  await mcp.connect(theirs);
  await client.connect(ours);
  ends.push(
    () => server.stop(),
    () => driver.close(),
    () => runs.end(),
    () => client.close(),
  );
  return {
    server,
    client,
    call: caller(client),
    prompted: (count?: number) => prompted(server, count),
  };
}

type CallOptions = Parameters<Client['callTool']>[2];

/** Calls a tool and returns its answer. Text and structured content must be the same. */
const caller =
  (client: Client) =>
  async (name: string, args: Record<string, unknown> = {}, options?: CallOptions) => {
    const result = await client.callTool({ name, arguments: args }, undefined, options);
    const [content] = result.content as { type: string; text: string }[];
    const answer = result.structuredContent as Answer;
    if (answer !== undefined) expect(JSON.parse(content!.text)).toEqual(answer);
    return { answer, text: content!.text, isError: result.isError === true };
  };

describe('the tools', () => {
  it('are listed with what each takes, and none prompts a session that is there', async () => {
    const { client } = await connect();
    const { tools } = await client.listTools();
    expect(tools.map(({ name }) => name).sort()).toEqual(
      ['batch', 'check', 'end', 'models', 'prompt', 'result', 'sessions', 'start'].sort(),
    );
    const prompt = tools.find(({ name }) => name === 'prompt')?.inputSchema;
    expect(prompt?.required).toEqual(['prompt']);
    expect(Object.keys(prompt?.properties ?? {})).not.toContain('session');
    expect(JSON.stringify(prompt?.properties?.timeout)).toContain('5m');
    expect(client.getInstructions()).toContain('Durations have a unit');
  });

  it('check and models tell what the server has', async () => {
    const { server, call } = await connect();
    server.providers = {
      all: [
        {
          id: 'fake',
          name: 'fake',
          models: { m1: { id: 'm1', name: 'm1', variants: { deep: {} } } },
        },
      ],
      connected: ['fake'],
      default: { fake: 'm1' },
    };
    expect((await call('check')).answer).toMatchObject({ ok: true, server: { up: true } });
    const { answer } = await call('models');
    expect(answer).toMatchObject({ ok: true, models: [{ id: 'fake/m1' }] });
  });

  it('sessions lists them, and end brings one to rest', async () => {
    const { server, call } = await connect();
    const { id } = server.addSession({ title: 'a stuck one' });
    server.setStatus(id, { type: 'busy' });
    const { answer } = await call('sessions', { active: true });
    expect(answer).toMatchObject({ sessions: [{ id, status: { type: 'busy' } }] });
    expect((await call('end', { session: id })).answer).toEqual({
      ok: true,
      sessionID: id,
      aborted: true,
    });
    expect(server.get(id).deleted).toBe(false);
    expect((await call('end', { session: id, delete: true })).answer.deleted).toBe(true);
    expect(server.get(id).deleted).toBe(true);
  });
});

describe('a prompt', () => {
  it('gives the reply as --json does, and leaves no session', async () => {
    const { server, call, prompted } = await connect();
    const answer = call('prompt', {
      prompt: 'hello',
      context: [{ name: 'plan', text: 'first this' }],
    });
    const { id } = await prompted();
    expect(JSON.stringify(server.get(id).messages)).toContain('first this');
    reply(server, id, 'yes');
    expect((await answer).answer).toMatchObject({
      ok: true,
      text: 'yes',
      model: 'fake/m1',
      deleted: true,
    });
    expect(server.get(id).deleted).toBe(true);
  });

  it('tells its progress to a client that asks for it', async () => {
    const { server, call, prompted } = await connect();
    const progress: number[] = [];
    const answer = call(
      'prompt',
      { prompt: 'hello', timeout: '10m' },
      { onprogress: (each) => progress.push(each.progress) },
    );
    const { id } = await prompted();
    await waitFor(() => progress.length >= 2, { what: 'two reports', interval: 5 });
    reply(server, id, 'yes');
    await answer;
    expect(progress[1]).toBeGreaterThan(progress[0]!);
  });

  it('that is cancelled is aborted, and its session deleted', async () => {
    const { server, call, prompted } = await connect();
    const cancel = new AbortController();
    const answer = call('prompt', { prompt: 'hello' }, { signal: cancel.signal }).catch(() => {});
    const { id } = await prompted();
    cancel.abort();
    await answer;
    await waitFor(() => server.get(id).deleted, { what: 'the session to be deleted', interval: 5 });
    expect(server.count(ABORT)).toBeGreaterThan(0);
  });

  it('that outlasts its call goes on, and result tells its end', async () => {
    const { server, call, prompted } = await connect();
    const { answer } = await call('prompt', { prompt: 'hello', timeout: '10m', wait: '500ms' });
    expect(answer).toMatchObject({
      ok: true,
      running: true,
      next: expect.stringContaining('result'),
    });
    const { id } = await prompted();
    reply(server, id, 'late');
    const { run } = answer;
    expect((await call('result', { run })).answer).toMatchObject({ ok: true, text: 'late' });
    // The same as often as it is asked for.
    expect((await call('result', { run })).answer).toMatchObject({ ok: true, text: 'late' });
  });

  it('that fails says what to do', async () => {
    const { server, call, prompted } = await connect();
    const running = call('prompt', { prompt: 'hello' });
    reply(server, (await prompted()).id, '  ');
    const { answer, isError } = await running;
    expect(isError).toBe(true);
    expect(answer).toMatchObject({
      ok: false,
      error: {
        kind: 'empty_reply',
        message: expect.stringContaining('Ask again in a new session'),
      },
    });
  });

  it('with a bad argument is refused before anything is made', async () => {
    const { server, call } = await connect();
    const before = server.requests.length;
    const unitless = await call('prompt', { prompt: 'x', timeout: 60 });
    expect(unitless).toMatchObject({ isError: true, text: expect.stringContaining('say 60s') });
    const unknown = await call('prompt', { prompt: 'x', session: 'ses_1' });
    expect(unknown).toMatchObject({ isError: true, text: expect.stringContaining('session') });
    const traversal = await call('end', { session: '../..' });
    expect(traversal).toMatchObject({ isError: true, text: expect.stringContaining('ses_6f0a') });
    expect(server.requests.length).toBe(before);
  });
});

describe('a run that was started', () => {
  it('can be ended, and its session is deleted', async () => {
    const { server, call, prompted } = await connect();
    const { answer } = await call('start', { prompt: 'long work' });
    const { id } = await prompted();
    const ended = await call('end', { run: answer.run });
    expect(ended.answer).toMatchObject({
      ok: true,
      ended: true,
      result: { ok: false, error: { kind: 'aborted', deleted: true } },
    });
    expect(server.get(id).deleted).toBe(true);
  });

  it('and is not known says which are', async () => {
    const { call } = await connect();
    const { answer } = await call('result', { run: 'run_0' });
    expect(answer).toMatchObject({
      ok: false,
      error: { kind: 'usage', message: expect.stringContaining('there are: none') },
    });
  });
});

it('a batch gives a result for each task, good or bad', async () => {
  const { server, call, prompted } = await connect();
  const running = call('batch', {
    tasks: [{ id: 'a', prompt: 'one' }, { prompt: 'two' }],
    concurrency: 1,
  });
  reply(server, (await prompted(1)).id, 'yes');
  reply(server, (await prompted(2)).id, '');
  const { answer, isError } = await running;
  expect(isError).toBe(false);
  expect(answer).toMatchObject({
    ok: false,
    notBegun: 0,
    results: [
      { id: 'a', ok: true, text: 'yes' },
      { id: '2', ok: false, error: { kind: 'empty_reply' } },
    ],
  });
});

it('the command serves a client on stdio, and leaves nothing behind when the client goes away', async () => {
  const server = await startFakeOpencode();
  const client = new Client({ name: 'test', version: '1' });
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [CLI, 'mcp', '--url', server.url],
    env: { PATH: process.env.PATH ?? '', HOME: '/nonexistent' },
    stderr: 'pipe',
  });
  ends.push(
    () => server.stop(),
    () => client.close(),
  );
  await client.connect(transport);
  const call = caller(client);
  expect((await call('check')).answer).toMatchObject({ server: { up: true } });
  await call('start', { prompt: 'long work' });
  const { id } = await prompted(server);
  await client.close();
  await waitFor(() => server.get(id).deleted, { what: 'the session to be deleted', interval: 20 });
});
