/** What was heard of a session of OpenCode 2 does not outlive its run, even if nobody heard how the run ended. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { OpencodeClientV2 } from '../../../../src/opencode/v2/client.js';
import { ManualClock } from '../support.js';

type Data = Record<string, unknown>;

const MESSAGE = { assistantMessageID: 'msg_1' };
const CALL = { ...MESSAGE, id: 'call_1' };
const ERROR = { type: 'provider.rate-limit', message: 'Rate limit' };
const BUSY = { type: 'busy' };

/** Newest first. */
let messages: Data[] = [];
let active: string[] = [];
/** What happens on the server before it answers the list of active sessions. */
let beforeList: () => void = () => {};
/** What happens on the server before it answers a transcript that it has read. */
let beforeTranscript: () => unknown = () => {};
const server = createServer(async (request, response) => {
  const path = (request.url ?? '').split('?')[0] ?? '';
  // A date would be that of another clock than the client's.
  response.sendDate = false;
  response.writeHead(200, { 'content-type': 'application/json' });
  const answer = (data: unknown) => response.end(JSON.stringify({ data }));
  if (path.endsWith('/message')) {
    const read = messages;
    await beforeTranscript();
    answer(read);
  } else if (path === '/api/session/active') {
    const listed = Object.fromEntries(active.map((id) => [id, { type: 'running' }]));
    beforeList();
    answer(listed);
  } else if (path === '/api/session/ses_1') answer({ id: 'ses_1', location: { directory: '/p' } });
  else answer([]);
});
let clock: ManualClock;
let client: OpencodeClientV2;
let hear: (type: string, data?: Data) => void;

beforeEach(async () => {
  messages = [];
  active = ['ses_1'];
  beforeList = () => {};
  beforeTranscript = () => {};
  clock = new ManualClock();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  client = new OpencodeClientV2({ url: `http://127.0.0.1:${port}`, clock });
  const reader = client.eventReader();
  hear = (type, data = {}) => {
    const location = { directory: '/p' };
    reader.read(
      JSON.stringify({ id: 'evt_1', type, location, data: { sessionID: 'ses_1', ...data } }),
      undefined,
    );
  };
});

afterEach(async () => {
  await client.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const assistant = (id: string, more: Data = {}): Data => ({
  id,
  type: 'assistant',
  content: [],
  time: { created: clock.epoch() },
  ...more,
});
const status = async () => (await client.statuses()).get('ses_1');
const inspected = async () => {
  const { result } = await client.inspect('ses_1');
  return result.found ? { tools: result.tools, compacting: result.compacting ?? false } : undefined;
};
/** Two minutes in which nothing was heard. */
const gap = async () => {
  await clock.advance(120_000);
  hear('server.connected');
};

describe('the retry of a run', () => {
  const retries = () =>
    hear('session.retry.scheduled', {
      ...MESSAGE,
      attempt: 2,
      at: clock.epoch() + 900_000,
      error: ERROR,
    });

  it.each(['succeeded', 'failed', 'interrupted'])('is over with its execution.%s', async (how) => {
    retries();
    hear(`session.execution.${how}`, { reason: 'user' });
    await clock.advance(5_000);
    expect(await status()).toEqual(BUSY);
  });

  it('is over when its session is not active any more', async () => {
    const retry = { attempt: 2, at: clock.epoch() + 900_000, error: ERROR };
    messages = [assistant('msg_1', { retry })];
    expect(await status()).toMatchObject({ type: 'retry' });
    active = [];
    await clock.advance(1_000);
    await client.statuses();
    active = ['ses_1'];
    messages = [{ id: 'msg_2', type: 'user' }, assistant('msg_1', { error: ERROR })];
    await clock.advance(5_000);
    expect(await status()).toEqual(BUSY);
  });

  it('is asked about at once if its session was idle a moment ago', async () => {
    active = [];
    hear('session.execution.succeeded');
    await clock.advance(1_000);
    await client.statuses();
    active = ['ses_1'];
    const retry = { attempt: 2, at: clock.epoch() + 900_000, error: ERROR };
    messages = [assistant('msg_1', { retry })];
    expect(await status()).toMatchObject({ type: 'retry' });
  });

  it('stays known if it was heard of after the list was asked for', async () => {
    active = [];
    await clock.advance(1_000);
    beforeList = retries;
    await client.statuses();
    active = ['ses_1'];
    beforeList = () => {};
    expect(await status()).toMatchObject({ type: 'retry' });
  });

  it('is over if that was heard while an older transcript came', async () => {
    const retry = { attempt: 2, at: clock.epoch() + 900_000, error: ERROR };
    messages = [assistant('msg_1', { retry })];
    beforeTranscript = async () => {
      await clock.advance(1_000);
      hear('session.step.started', MESSAGE);
    };
    expect(await status()).toEqual(BUSY);
  });
});

describe('a call that was heard', () => {
  beforeEach(() => {
    hear('session.step.started', MESSAGE);
    hear('session.tool.input.started', { ...CALL, name: 'shell' });
  });

  it('runs, although the transcript does not show it yet', async () => {
    messages = [assistant('msg_1')];
    await gap();
    expect(await inspected()).toMatchObject({ tools: [{ callID: 'call_1', tool: 'shell' }] });
  });

  it('runs, although the transcript does not show its message yet', async () => {
    await clock.advance(1_000);
    const before = { created: clock.epoch() - 60_000, completed: clock.epoch() - 2_000 };
    messages = [assistant('msg_0', { time: before })];
    expect(await inspected()).toMatchObject({ tools: [{ callID: 'call_1' }] });
  });

  it('is over if its end was missed and the session has begun another message', async () => {
    const first = assistant('msg_1', { finish: 'tool-calls' });
    await gap();
    messages = [assistant('msg_2'), first];
    expect(await inspected()).toMatchObject({ tools: [] });
  });

  it('is over if its message is not among the last ones any more', async () => {
    await gap();
    messages = [assistant('msg_9'), assistant('msg_8', { finish: 'tool-calls' })];
    expect(await inspected()).toMatchObject({ tools: [] });
  });

  it('is over if its session runs again, and nobody heard the end in between', async () => {
    await clock.advance(1_000);
    active = [];
    await client.statuses();
    messages = [{ id: 'msg_2', type: 'user' }, assistant('msg_1')];
    expect(await inspected()).toMatchObject({ tools: [] });
  });
});

describe('a compaction that was heard', () => {
  beforeEach(() => hear('session.compaction.started', { reason: 'auto' }));

  it('goes on while the transcript shows nothing newer', async () => {
    const first = assistant('msg_1', { finish: 'tool-calls' });
    await gap();
    messages = [first];
    expect(await inspected()).toMatchObject({ compacting: true });
  });

  it('is over if its end was missed and the session has begun another message', async () => {
    await gap();
    messages = [assistant('msg_9'), { id: 'msg_8', type: 'compaction', status: 'completed' }];
    expect(await inspected()).toMatchObject({ compacting: false });
  });
});
