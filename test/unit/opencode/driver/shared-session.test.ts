/** A session that somebody else prompts as well: the run of the other is heard, counted and ended by nobody here. */
import { afterEach, describe, expect, it } from 'vitest';
import { OpencodeDriver } from '../../../../src/opencode/driver/driver.js';
import type { DriverError } from '../../../../src/opencode/driver/error.js';
import type { Reply } from '../../../../src/opencode/driver/types.js';
import { PROMPT, prompted } from '../../../support/driver-replies.js';
import { type FakeOpencode, startFakeOpencode } from '../../../support/fake-opencode.js';
import { fastClock as clock } from '../../../support/fast-clock.js';
import { waitFor } from '../../../support/wait.js';

const ends: Array<() => Promise<unknown>> = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const ABORT = 'POST /session/:id/abort';
const STATUS = 'GET /session/status';
const TRANSCRIPT = 'GET /session/:id/message';
const REPLY = 'POST /permission/:id/reply';

interface Stored {
  info: { id: string; role: string };
  parts: object[];
}

/** A server with two drivers, as two processes have them, and one session. */
async function start() {
  const server = await startFakeOpencode();
  ends.push(() => server.stop());
  const make = () => {
    const driver = new OpencodeDriver({ url: server.url, clock });
    ends.push(() => driver.close());
    return driver;
  };
  const other = make();
  const session = await other.createSession({ directory: '/p' });
  return { server, other, mine: make(), session, talk: talkOf(server, session.id) };
}

/** What the real server writes and sends while it works on a session. */
function talkOf(server: FakeOpencode, sessionID: string) {
  const emit = (type: string, properties: object) =>
    server.emit({ type, properties: { ...properties } }, '/p');
  const { messages } = server.get(sessionID) as { messages: Stored[] };
  const part = (messageID: string, more: object) =>
    emit('message.part.updated', {
      part: { id: `prt_${messageID}`, messageID, sessionID, ...more },
    });
  const promptID = (index: number) =>
    messages.filter(({ info }) => info.role === 'user')[index]!.info.id;
  return {
    /** Sends the stored prompt with its mark. */
    prompt(index: number) {
      const stored = messages.filter(({ info }) => info.role === 'user')[index]!;
      for (const each of stored.parts) part(stored.info.id, each);
    },
    /** Somebody prompts in the terminal interface, without a mark. */
    personPrompts(id: string) {
      messages.push({ info: { id, role: 'user' }, parts: [{ type: 'text', text: 'a person' }] });
      emit('message.updated', { info: { id, sessionID, role: 'user' } });
    },
    /** opencode itself prompts the model after a compaction. */
    compacts(id: string) {
      messages.push({ info: { id, role: 'user' }, parts: [{ type: 'compaction', auto: true }] });
      emit('message.updated', { info: { id, sessionID, role: 'user' } });
    },
    begins(id: string, prompt: number | string) {
      const parentID = typeof prompt === 'number' ? promptID(prompt) : prompt;
      const info = { id, sessionID, role: 'assistant', parentID, time: { created: 1 } };
      messages.push({ info, parts: [] });
      emit('message.updated', { info });
    },
    says: (id: string, text: string) => part(id, { type: 'text', text }),
    step: (id: string) =>
      part(id, {
        id: `prt_step_${id}`,
        type: 'step-finish',
        reason: 'tool-calls',
        cost: 0,
        tokens: { input: 1, output: 1, reasoning: 0, cache: { read: 0, write: 0 } },
      }),
    ends(id: string, text: string) {
      const stored = messages.find(({ info }) => info.id === id)!;
      Object.assign(stored.info, { finish: 'stop', time: { created: 1, completed: 2 } });
      stored.parts = [{ type: 'text', text, time: { start: 1, end: 2 } }];
    },
    /** As the real server writes and sends it when the provider refuses the request. */
    fails(id: string | undefined, message: string) {
      const error = { name: 'APIError', data: { message, statusCode: 400, isRetryable: false } };
      // Before the first answer, no message holds the error.
      const stored = messages.find(({ info }) => info.id === id);
      if (stored) Object.assign(stored.info, { error, time: { created: 1, completed: 2 } });
      emit('session.error', { sessionID, error });
    },
    /** Ended from outside in a retry: no error is written. */
    isAborted(id: string) {
      const stored = messages.find(({ info }) => info.id === id)!;
      Object.assign(stored.info, { time: { created: 1, completed: 2 } });
    },
  };
}

type Settled = { reply?: Reply; error?: DriverError };
const settled = (run: Promise<Reply>): Promise<Settled> =>
  run.then(
    (reply) => ({ reply }),
    (error: DriverError) => ({ error }),
  );

describe('a prompt that is queued behind the run of somebody else', () => {
  async function queued(options: object) {
    const world = await start();
    const { server, other, mine, session, talk } = world;
    const first = settled(other.send(session, 'the long work', { timeoutMs: 600_000 }));
    await prompted(server, 1);
    const told: string[] = [];
    const second = settled(
      mine.send(session, 'mine', {
        queue: true,
        timeoutMs: 600_000,
        onText: (text) => told.push(text),
        ...options,
      }),
    );
    await prompted(server, 2);
    talk.prompt(0);
    talk.prompt(1);
    return { ...world, first, second, told };
  }

  /** The run before is healthy, was not aborted, and is answered. */
  async function expectUntouched({
    server,
    session,
    talk,
    first,
  }: Awaited<ReturnType<typeof queued>>) {
    expect(server.count(ABORT)).toBe(0);
    expect(server.get(session.id).status.type).toBe('busy');
    talk.ends('msg_a1', 'long words');
    server.setStatus(session.id, { type: 'idle' });
    expect((await first).reply?.text).toBe('long words');
  }

  it('ends nothing when its time is over, and tells none of that run’s words', async () => {
    const world = await queued({ timeoutMs: 6_000 });
    world.talk.begins('msg_a1', 0);
    world.talk.says('msg_a1', 'words of the first');
    const { error } = await world.second;
    expect(error).toMatchObject({ kind: 'timeout' });
    expect(error?.details.aborted).toBeUndefined();
    expect(error?.message).toContain('The run before it goes on');
    expect(world.told).toEqual([]);
    await expectUntouched(world);
  });

  it('ends nothing when it is interrupted', async () => {
    const stop = new AbortController();
    const world = await queued({ signal: stop.signal });
    world.talk.begins('msg_a1', 0);
    stop.abort();
    expect((await world.second).error).toMatchObject({ kind: 'aborted' });
    await expectUntouched(world);
  });

  it('says what becomes of it where that run fails and nothing begins it', async () => {
    const world = await queued({});
    world.talk.begins('msg_a1', 0);
    world.talk.fails('msg_a1', 'no such parameter');
    world.server.setStatus(world.session.id, { type: 'idle' });
    const { error } = await world.second;
    expect(error?.message).toContain('no such parameter');
    expect(error?.message).toContain('The prompt may be queued all the same.');
    expect(world.server.count(ABORT)).toBe(0);
    await world.first;
  });

  it('counts neither steps nor failed attempts of that run', async () => {
    const world = await queued({ maxSteps: 2, maxAttempts: 2, timeoutMs: 20_000 });
    const { server, session, talk } = world;
    for (const id of ['msg_s1', 'msg_s2', 'msg_s3']) {
      talk.begins(id, 0);
      talk.step(id);
    }
    server.setStatus(session.id, { type: 'retry', attempt: 4, message: 'Too many', next: 0 });
    server.setStatus(session.id, { type: 'busy' });
    talk.begins('msg_a1', 0);
    talk.ends('msg_a1', 'long words');
    talk.begins('msg_a2', 1);
    talk.ends('msg_a2', 'my answer');
    server.setStatus(session.id, { type: 'idle' });
    expect((await world.second).reply).toMatchObject({ text: 'my answer', steps: 1, retries: 0 });
    expect(server.count(ABORT)).toBe(0);
    await world.first;
  });

  it('leaves that run’s questions to its own caller, and answers its own', async () => {
    const world = await start();
    const { server, mine, session, talk } = world;
    server.setStatus(session.id, { type: 'busy' });
    const run = settled(mine.send(session, 'mine', { queue: true, timeoutMs: 600_000 }));
    await prompted(server, 1);
    const theirs = server.ask('permission', session.id);
    const checks = server.count(STATUS);
    await waitFor(() => server.count(STATUS) >= checks + 2, { what: 'two checks' });
    expect(server.count(REPLY)).toBe(0);
    server.answer(theirs.id, 'replied', {});
    talk.prompt(0);
    talk.begins('msg_a1', 0);
    server.ask('permission', session.id);
    await waitFor(() => server.count(REPLY) === 1, { what: 'the answer' });
    talk.ends('msg_a1', 'mine');
    server.setStatus(session.id, { type: 'idle' });
    expect((await run).reply?.text).toBe('mine');
  });

  it('is ended as its own when it has begun', async () => {
    const { server, mine, session, talk } = await start();
    const run = settled(mine.send(session, 'mine', { queue: true, timeoutMs: 6_000 }));
    await prompted(server, 1);
    talk.prompt(0);
    talk.begins('msg_a1', 0);
    expect((await run).error).toMatchObject({ kind: 'timeout', details: { aborted: true } });
    expect(server.count(ABORT)).toBe(1);
  });

  it('is ended as its own where the events of its beginning were missed', async () => {
    const { server, mine, session, talk } = await start();
    const run = settled(mine.send(session, 'mine', { queue: true, timeoutMs: 6_000 }));
    await prompted(server, 1);
    server.silenceStreams({ future: true });
    talk.begins('msg_a1', 0);
    expect((await run).error).toMatchObject({ kind: 'timeout', details: { aborted: true } });
  });
});

it('a run is heard on while the same driver sends another prompt behind it', async () => {
  const { server, mine, session, talk } = await start();
  const told: string[] = [];
  const onText = (text: string) => told.push(text);
  const first = settled(mine.send(session, 'first', { timeoutMs: 600_000, onText }));
  await prompted(server, 1);
  const second = settled(mine.send(session, 'second', { timeoutMs: 600_000, queue: true }));
  await prompted(server, 2);
  talk.prompt(0);
  talk.prompt(1);
  talk.begins('msg_a1', 0);
  talk.says('msg_a1', 'one');
  server.ask('permission', session.id);
  await waitFor(() => server.count(REPLY) === 1, { what: 'the answer' });
  expect(told).toEqual(['one']);
  talk.ends('msg_a1', 'one');
  expect((await first).reply?.text).toBe('one');
  talk.begins('msg_a2', 1);
  server.ask('permission', session.id);
  await waitFor(() => server.count(REPLY) === 2, { what: 'the second answer' });
  talk.ends('msg_a2', 'two');
  server.setStatus(session.id, { type: 'idle' });
  expect((await second).reply?.text).toBe('two');
});

describe('a prompt of somebody who was quicker', () => {
  it('is found while our stream opens, and ours is not sent', async () => {
    const { server, mine, session, talk } = await start();
    server.fault('GET /global/event', { delayMs: 300 });
    const run = settled(mine.send(session, 'mine', { timeoutMs: 60_000 }));
    await waitFor(() => server.count('GET /global/event') === 1, { what: 'the stream' });
    talk.personPrompts('msg_u0');
    talk.begins('msg_a0', 'msg_u0');
    server.setStatus(session.id, { type: 'busy' });
    expect((await run).error).toMatchObject({ kind: 'session_busy' });
    expect(server.count(PROMPT)).toBe(0);
  });

  it('at the last moment is answered, and our time-out does not end that', async () => {
    const { server, mine, session, talk } = await start();
    server.fault(PROMPT, { delayMs: 300 });
    const run = settled(mine.send(session, 'mine', { timeoutMs: 6_000 }));
    await prompted(server, 1);
    talk.personPrompts('msg_u0');
    talk.begins('msg_a0', 'msg_u0');
    server.setStatus(session.id, { type: 'busy' });
    const { error } = await run;
    expect(error).toMatchObject({ kind: 'timeout' });
    expect(error?.message).toContain('The run before it goes on');
    expect(server.count(ABORT)).toBe(0);
  });
});

it('an answer before a compaction is not the reply while opencode goes on with the prompt', async () => {
  const { server, mine, session, talk } = await start();
  const told: string[] = [];
  const onText = (text: string) => told.push(text);
  const run = settled(mine.send(session, 'mine', { timeoutMs: 600_000, onText }));
  await prompted(server, 1);
  talk.prompt(0);
  talk.begins('msg_a1', 0);
  talk.says('msg_a1', 'so far');
  talk.ends('msg_a1', 'so far');
  talk.compacts('msg_c1');
  talk.begins('msg_a2', 'msg_c1');
  await waitFor(() => server.count(TRANSCRIPT) > 0, { what: 'the transcript to be read' });
  const reads = server.count(TRANSCRIPT);
  const checks = server.count(STATUS);
  await waitFor(() => server.count(STATUS) >= checks + 3, { what: 'three checks' });
  // Once is enough to know that the prompt is opencode's own.
  expect(server.count(TRANSCRIPT)).toBeLessThanOrEqual(reads + 1);
  talk.ends('msg_a2', 'at last');
  server.setStatus(session.id, { type: 'idle' });
  expect((await run).reply?.text).toBe('at last');
  expect(told.join('')).toBe('so far\n\nat last');
});

it('a reply is given although a person’s prompt keeps the session at work behind it', async () => {
  const { server, mine, session, talk } = await start();
  const told: string[] = [];
  const onText = (text: string) => told.push(text);
  const run = settled(mine.send(session, 'mine', { timeoutMs: 600_000, onText }));
  await prompted(server, 1);
  talk.prompt(0);
  talk.begins('msg_a1', 0);
  talk.ends('msg_a1', 'MY ANSWER');
  talk.personPrompts('msg_u2');
  talk.begins('msg_a2', 'msg_u2');
  expect((await run).reply?.text).toBe('MY ANSWER');
  // Its events were missed.
  expect(told).toEqual(['MY ANSWER']);
  expect(server.count(ABORT)).toBe(0);
  expect(server.get(session.id).status.type).toBe('busy');
  expect(server.count(PROMPT)).toBe(1);
});

describe('a run of somebody else that begins when ours has ended without a reply', () => {
  it.each([
    ['failed', 'no such parameter', 'fails'],
    ['was aborted', 'aborted by someone else', 'isAborted'],
  ] as const)('goes on, and the error says at once that ours %s', async (_, says, ended) => {
    const { server, mine, session, talk } = await start();
    const run = settled(mine.send(session, 'mine', { timeoutMs: 6_000 }));
    await prompted(server, 1);
    talk.prompt(0);
    talk.begins('msg_a1', 0);
    talk[ended]('msg_a1', says);
    talk.personPrompts('msg_u2');
    talk.begins('msg_a2', 'msg_u2');
    const { error } = await run;
    expect(error?.message).toContain(says);
    expect(error?.details.aborted).toBeUndefined();
    expect(server.count(ABORT)).toBe(0);
    expect(server.get(session.id).status.type).toBe('busy');
  });

  it('goes on, and ours has its own error where no message holds it', async () => {
    const { server, mine, session, talk } = await start();
    const run = settled(mine.send(session, 'mine', { timeoutMs: 6_000 }));
    await prompted(server, 1);
    talk.prompt(0);
    talk.fails(undefined, 'no such parameter');
    talk.personPrompts('msg_u2');
    talk.begins('msg_a2', 'msg_u2');
    expect((await run).error?.message).toContain('no such parameter');
    expect(server.count(ABORT)).toBe(0);
  });

  it('goes on where its beginning was not heard', async () => {
    const { server, mine, session, talk } = await start();
    const run = settled(mine.send(session, 'mine', { timeoutMs: 6_000 }));
    await prompted(server, 1);
    talk.prompt(0);
    server.silenceStreams({ future: true });
    talk.begins('msg_a1', 0);
    talk.fails('msg_a1', 'no such parameter');
    talk.personPrompts('msg_u2');
    talk.begins('msg_a2', 'msg_u2');
    expect((await run).error?.message).toContain('no such parameter');
    expect(server.count(ABORT)).toBe(0);
  });
});
