/**
 * What a run returns beyond its text: an answer in a given form, its events as they come, and the truth about a run
 * that never began.
 */
import { afterEach, describe, expect, it } from 'vitest';
import { OpencodeDriver } from '../../src/opencode/driver/driver.js';
import type { StreamEvent } from '../../src/opencode/driver/stream.js';
import { PROMPT, prompted, reply } from '../support/driver-replies.js';
import { type FakeOpencode, startFakeOpencode } from '../support/fake-opencode.js';
import { fastClock } from '../support/fast-clock.js';
import { waitFor } from '../support/wait.js';

const ends: Array<() => Promise<unknown>> = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function start() {
  const server = await startFakeOpencode();
  const driver = new OpencodeDriver({ url: server.url, clock: fastClock });
  ends.push(
    () => server.stop(),
    () => driver.close(),
  );
  return { server, driver };
}

const SCHEMA = { type: 'object', properties: { ok: { type: 'boolean' } } };

describe('a prompt with a schema', () => {
  it('asks for that form, and gives the answer in it', async () => {
    const { server, driver } = await start();
    const running = driver.prompt({ prompt: 'is it?', schema: SCHEMA });
    const { id, messages } = await prompted(server);
    expect(messages[0]).toMatchObject({ format: { type: 'json_schema', schema: SCHEMA } });
    messages.push({
      info: {
        id: 'msg_a',
        role: 'assistant',
        finish: 'tool-calls',
        structured: { ok: true },
        time: { created: 1, completed: 2 },
      },
      parts: [],
    });
    server.setStatus(id, { type: 'idle' });
    expect(await running).toMatchObject({ structured: { ok: true }, deleted: true });
  });

  it('is no success where the server did not know the wish', async () => {
    const { server, driver } = await start();
    const running = driver.prompt({ prompt: 'is it?', schema: SCHEMA });
    reply(server, (await prompted(server)).id, 'yes it is');
    await expect(running).rejects.toMatchObject({
      kind: 'run_failed',
      message: expect.stringContaining('form of the schema'),
      details: { received: 'yes it is', deleted: true },
    });
  });
});

/** The events that the real one emits for a step with one tool (recordings of 1.18.33). */
function emitStep(server: FakeOpencode, sessionID: string) {
  const part = (more: Record<string, unknown>) =>
    server.emit({
      type: 'message.part.updated',
      properties: { part: { messageID: 'msg_s', sessionID, ...more } },
    });
  const info = { id: 'msg_s', sessionID, role: 'assistant', providerID: 'fake', modelID: 'm1' };
  server.emit({ type: 'message.updated', properties: { info } });
  part({ id: 'prt_1', type: 'text', text: 'Let me see.' });
  const tool = { id: 'prt_2', type: 'tool', callID: 'call_1', tool: 'bash' };
  for (const status of ['pending', 'running', 'running', 'completed']) {
    part({ ...tool, state: { status, input: { command: 'ls' }, output: 'a', title: 'ls' } });
  }
  const tokens = { input: 1, output: 2, reasoning: 0, cache: { read: 0, write: 0 } };
  part({ id: 'prt_3', type: 'step-finish', reason: 'tool-calls', cost: 0.5, tokens });
}

describe('a stream', () => {
  it('tells text, tools and steps as they come, and the reply at its end', async () => {
    const { server, driver } = await start();
    const seen: StreamEvent[] = [];
    const reading = (async () => {
      for await (const event of driver.stream({ prompt: 'look' })) seen.push(event);
    })();
    const { id } = await prompted(server);
    emitStep(server, id);
    await waitFor(() => seen.some(({ type }) => type === 'step'), { what: 'a step', interval: 5 });
    reply(server, id, 'There is a.');
    await reading;
    expect(seen).toMatchObject([
      { type: 'text', text: 'Let me see.' },
      { type: 'tool', id: 'call_1', tool: 'bash', status: 'running' },
      { type: 'tool', id: 'call_1', tool: 'bash', status: 'completed', title: 'ls' },
      { type: 'step', number: 1, finish: 'tool-calls', tools: 1, tokens: 3, costUsd: 0.5 },
      { type: 'text', text: expect.stringContaining('There is a.') },
      { type: 'reply', reply: { text: 'There is a.', deleted: true } },
    ]);
  });

  it('that is read no further ends its run, and leaves no session', async () => {
    const { server, driver } = await start();
    const reading = (async () => {
      for await (const { type } of driver.stream({ prompt: 'look' })) if (type === 'tool') return;
    })();
    const { id } = await prompted(server);
    emitStep(server, id);
    await reading;
    expect(server.get(id).status.type).toBe('idle');
    expect(server.get(id).deleted).toBe(true);
  });
});

it('a callback for notices that throws is told, and its run ended', async () => {
  const { server, driver } = await start();
  const running = driver.prompt({
    prompt: 'x',
    onNotice: () => {
      throw new TypeError('no such logger');
    },
  });
  const retry = { type: 'retry', attempt: 1, message: 'busy', next: Date.now() + 1_000 };
  const failing = expect(running).rejects.toMatchObject({
    kind: 'internal',
    message: expect.stringContaining('no such logger'),
  });
  const { id } = await prompted(server);
  server.setStatus(id, retry);
  await failing;
  expect(server.get(id).status.type).toBe('idle');
});

describe('a prompt that was taken and never began', () => {
  it('is not said to be aborted when its time is over', async () => {
    const { server, driver } = await start();
    // Like a plugin's hook that hangs: the prompt is accepted, and no message, status or event follows.
    server.fault(PROMPT, { status: 204, body: '' });
    const error = await driver.prompt({ prompt: 'x', timeoutMs: 5_000 }).catch((e: unknown) => e);
    expect(error).toMatchObject({ kind: 'timeout', details: { deleted: true } });
    expect((error as Error).message).toContain('It had not begun');
    expect((error as Error).message).toContain("A plugin's hook may hang");
    expect((error as Error).message).not.toContain('was aborted');
  });

  it.each([
    ['is there still', true],
    ['was lost with the server', false],
  ])('because of a restart is run again by a batch, where its session %s', async (_, isKept) => {
    const { server, driver } = await start();
    server.fault(PROMPT, { status: 204, body: '' });
    const { port } = server;
    const results: unknown[] = [];
    const reading = (async () => {
      for await (const result of driver.batch([{ prompt: 'once more' }])) results.push(result);
    })();
    const { id } = await prompted(server);
    await server.stop();
    ends.shift();
    const born = await startFakeOpencode({ port });
    ends.unshift(() => born.stop());
    for (let n = 0; n < 20; n += 1) born.newId('ses');
    if (isKept) born.addSession({ id });
    reply(born, (await prompted(born)).id, 'yes');
    await reading;
    expect(results).toMatchObject([{ ok: true, reply: { text: 'yes' } }]);
    expect([...born.sessions.values()].every(({ deleted }) => deleted)).toBe(true);
  });
});

it('a quick success asks the server seven times, and its events come on the stream that is there', async () => {
  const { server, driver } = await start();
  for (const count of [1, 2]) {
    server.requests.length = 0;
    const running = driver.prompt({ prompt: 'quick' });
    const { id } = await prompted(server);
    reply(server, id, `yes ${count}`);
    await running;
  }
  // On a slow machine there may be time for another health check, and for another stream.
  const asked = server.requests.filter(({ route }) => !route?.startsWith('GET /global/'));
  expect(asked.map(({ route }) => route).sort()).toEqual(
    [
      'POST /session',
      PROMPT,
      'GET /session/status',
      'GET /session/:id/message',
      'DELETE /session/:id',
      'GET /session/:id',
      'GET /session/status',
    ].sort(),
  );
});

it('check says of a frozen server what starts it anew, and not that it has to be started', async () => {
  const { server, driver } = await start();
  server.fault('*', { hang: true });
  const { ok, server: state } = await driver.check();
  expect(ok).toBe(false);
  expect(state).toMatchObject({ error: expect.stringContaining('"opencode-watchdog restart"') });
  expect(state).toMatchObject({ error: expect.not.stringContaining('check --start') });
});
