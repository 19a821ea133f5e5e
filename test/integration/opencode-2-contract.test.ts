/**
 * Tests the fake OpenCode 2 against its facts, and the client against the fake, point by point of the sheet's
 * checklist. Points 10 and 11 need a process: opencode-2-program.test.ts.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { SystemClock } from '../../src/lib/clock.js';
import { abortSession } from '../../src/opencode/actions/abort.js';
import { continueSession } from '../../src/opencode/actions/continue.js';
import { RecognisingApi } from '../../src/opencode/recognising-api.js';
import { OpencodeClientV2 } from '../../src/opencode/v2/client.js';
import { startFakeOpencode } from '../support/fake-opencode.js';
import {
  type Fake2Options,
  RETRY_GAPS_MS,
  startFakeOpencode2,
} from '../support/fake-opencode-2.js';
import { behave } from '../support/opencode-2-behaviours.js';
import { waitFor } from '../support/wait.js';

type Data = Record<string, unknown>;

const clock = new SystemClock();
const ends: Array<() => Promise<unknown>> = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function start(options: Fake2Options = {}) {
  const server = await startFakeOpencode2(options);
  const client = new OpencodeClientV2({ url: server.url, password: 'pw', clock });
  ends.push(
    () => server.stop(),
    () => client.close(),
  );
  const get = async (path: string, init: RequestInit = {}) => {
    const answer = await fetch(`${server.url}${path}`, init);
    const type = answer.headers.get('content-type');
    return { status: answer.status, type, body: await answer.text() };
  };
  return { server, client, get };
}
const auth = { headers: { authorization: `Basic ${btoa('opencode:pw')}` } };

describe('point 1: what answers where', () => {
  it('is a web page outside of the API, 401 JSON without a password, and an empty 404 inside', async () => {
    const { get } = await start();
    expect(await get('/global/health')).toMatchObject({ status: 200, type: 'text/html' });
    const refused = await get('/api/session/active');
    expect(refused).toMatchObject({ status: 401, type: 'application/json' });
    expect(JSON.parse(refused.body)).toMatchObject({ _tag: 'UnauthorizedError' });
    expect(await get('/api/nothing', auth)).toMatchObject({ status: 404, body: '' });
  });

  it('is recognised: the right implementation speaks, and a wrong password is said to be one', async () => {
    const { server } = await start();
    const old = await startFakeOpencode();
    ends.push(() => old.stop());
    const of = (url: string, password: string) => {
      const api = new RecognisingApi({ url, password, clock });
      ends.push(() => api.close());
      return api;
    };
    const two = of(server.url, 'pw');
    expect(await two.probe()).toEqual({ kind: 'ok', version: '2.0.26' });
    expect(two.api).toBe(2);
    const one = of(old.url, 'pw');
    expect(await one.probe()).toMatchObject({ kind: 'ok' });
    expect(one.api).toBe(1);
    const locked = of(server.url, 'wrong');
    expect(await locked.probe()).toMatchObject({ kind: 'unauthorized', status: 401 });
    expect(locked.api).toBe(2);
  });
});

it('point 1: is recognised by whoever asks first, and by all who ask at the same time', async () => {
  const { server } = await start();
  const api = new RecognisingApi({ url: server.url, password: 'pw', clock });
  ends.push(() => api.close());
  const probes = await Promise.all([api.probe(), api.probe(), api.probe()]);
  expect(probes).toEqual(Array(3).fill({ kind: 'ok', version: '2.0.26' }));
});

it('point 1: 2.0.5 to 2.0.12, which say 401 in HTML, are recognised by their password', async () => {
  const { server } = await start({ answers401Html: true, version: '2.0.10' });
  const of = (password: string) => {
    const api = new RecognisingApi({ url: server.url, password, clock });
    ends.push(() => api.close());
    return api;
  };
  const api = of('pw');
  expect(await api.probe()).toEqual({ kind: 'ok', version: '2.0.10' });
  expect(api.api).toBe(2);
  expect(await of('wrong').probe()).toMatchObject({ kind: 'unauthorized' });
});

it('point 2: a boot is a boot, and a failed one is alive', async () => {
  const { server, client } = await start();
  server.state = 'starting';
  expect(await client.probe()).toMatchObject({ kind: 'unsupported', starting: true });
  server.state = 'failed';
  expect(await client.probe()).toMatchObject({ kind: 'unsupported', certain: true });
  server.state = 'ready';
  expect(await client.probe()).toEqual({ kind: 'ok', version: '2.0.26' });
});

it.each([
  ['text/html', '<h1>Unavailable</h1>'],
  ['application/json', '{"message":"no upstream"}'],
])('point 2: a proxy that answers in %s is taken for no boot', async (type, body) => {
  let status = 503;
  const proxy = createServer((_, response) => {
    response.writeHead(status, { 'content-type': type }).end(body);
  });
  await once(proxy.listen(0, '127.0.0.1'), 'listening');
  const url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  const client = new OpencodeClientV2({ url, password: 'pw', clock });
  ends.push(
    async () => proxy.close(),
    () => client.close(),
  );
  for (status of [503, 500]) {
    const probe = await client.probe();
    expect(probe).toMatchObject({ kind: 'unsupported', means: expect.stringContaining('proxy') });
    expect(probe).not.toHaveProperty('starting');
    expect(probe).not.toHaveProperty('certain');
  }
});

/** Reads the stream as a plain client does, as text. */
async function listen(url: string, encoding = 'identity') {
  const headers = { ...auth.headers, 'accept-encoding': encoding };
  const { body, headers: answered } = await fetch(`${url}/api/event`, { headers });
  const heard = { text: '', isOver: false, encoding: answered.get('content-encoding') };
  const read = async () => {
    const decoder = new TextDecoder();
    for await (const chunk of body ?? []) heard.text += decoder.decode(chunk as Uint8Array);
  };
  read()
    .catch(() => undefined)
    .finally(() => {
      heard.isOver = true;
    });
  await waitFor(() => heard.text.includes('server.connected'), { interval: 5 });
  const frames = (): Data[] =>
    heard.text
      .split('\n\n')
      .flatMap((frame) => (frame.startsWith('data: ') ? [frame.slice(6)] : []))
      .map((frame) => JSON.parse(frame));
  return { heard, frames };
}

describe('point 3: the event stream', () => {
  it('says at once that it is connected, and beats by a comment; no frame has an `event:` line', async () => {
    const { server } = await start({ heartbeatMs: 50 });
    const { heard, frames } = await listen(server.url);
    await waitFor(() => (heard.text.match(/^: heartbeat$/gm) ?? []).length >= 2, { interval: 5 });
    server.addSession();
    await waitFor(() => frames().length === 2, { interval: 5 });
    expect(frames()[0]).toMatchObject({ type: 'server.connected', data: {} });
    expect(frames()[0]).not.toHaveProperty('created');
    expect(heard.text).not.toMatch(/^(event|id):/m);
  });

  it('ends cleanly, breaks in the middle of a frame, or falls silent where it is frozen', async () => {
    const { server } = await start({ heartbeatMs: null });
    const ending = await listen(server.url);
    expect(ending.heard.text).not.toContain('heartbeat');
    server.endStreams();
    await waitFor(() => ending.heard.isOver, { interval: 5 });
    const breaking = await listen(server.url);
    server.breakStreams();
    await waitFor(() => breaking.heard.isOver, { interval: 5 });
    expect(breaking.heard.text).toMatch(/data: \{"id":"evt_$/);
  });
});

it('point 3: the stream is compressed for whoever says that it may be, and each frame comes at once', async () => {
  const { server } = await start();
  expect((await listen(server.url)).heard.encoding).toBeNull();
  const { heard, frames } = await listen(server.url, 'gzip');
  expect(heard.encoding).toBe('gzip');
  await waitFor(() => heard.text.includes(': heartbeat'), { interval: 5 });
  server.addSession();
  await waitFor(() => frames().some(({ type }) => type === 'session.created'), { interval: 5 });
  server.breakStreams();
  await waitFor(() => heard.isOver, { interval: 5 });
});

it('point 4: what an execution tells names no place, and its numbers have gaps', async () => {
  const { server } = await start();
  const { frames } = await listen(server.url);
  const session = server.addSession();
  server.begin(session);
  server.answer(session, 'All done.');
  server.send({ id: 'evt_x', created: 1, type: 'never.heard.of', data: { x: 1 } });
  await waitFor(() => frames().some(({ type }) => type === 'never.heard.of'), { interval: 5 });
  const all = frames();
  const bare = /^(session\.(execution\.|usage\.updated|viewed)|server\.|never)/;
  for (const each of all) {
    const isBare = bare.test(String(each.type));
    expect('location' in each, String(each.type)).toBe(!isBare);
  }
  const seqs = all.flatMap(({ durable }) => (durable as { seq: number } | undefined)?.seq ?? []);
  expect(seqs).toEqual(seqs.toSorted((a, b) => a - b));
  expect((seqs.at(-1) ?? 0) - (seqs[0] ?? 0)).toBeGreaterThan(seqs.length - 1);
  const types = all.map(({ type }) => type);
  expect(types.indexOf('session.viewed')).toBeGreaterThan(
    types.indexOf('session.execution.succeeded'),
  );
});

it('point 5: a tool is named once, its step is told late, and other events come in between', async () => {
  const { server } = await start();
  const { frames } = await listen(server.url);
  const session = server.addSession();
  server.begin(session);
  server.tool(session, 'msg_a', 'shell', { command: 'ls' }, 'a.txt');
  await waitFor(() => frames().some(({ type }) => type === 'session.usage.updated'), {
    interval: 5,
  });
  const types = frames().map(({ type }) => String(type));
  expect(types.filter((type) => /inbox|execution|step|tool|renamed|usage/.test(type))).toEqual([
    'session.inbox.enqueued',
    'session.execution.started',
    'session.inbox.delivered',
    'session.step.started',
    'session.tool.input.started',
    'session.tool.input.ended',
    'session.tool.called',
    'session.step.streamed',
    'session.renamed',
    'session.tool.success',
    'session.step.ended',
    'session.usage.updated',
  ]);
  const named = frames().filter(({ data }) => (data as { name?: string }).name === 'shell');
  expect(named.map(({ type }) => type)).toEqual(['session.tool.input.started']);
});

describe('point 6: a retry', () => {
  it('is scheduled ten times in one step, with attempts 2 to 11, and then step and execution fail', async () => {
    const { server } = await start();
    const { frames } = await listen(server.url);
    const pace = 200;
    behave(server, { retryPace: pace });
    server.begin(server.addSession(), { text: '[[retries-spent 10]]' });
    const ended = () => frames().find(({ type }) => type === 'session.execution.failed');
    await waitFor(() => ended() !== undefined, { interval: 5 });
    const of = (wanted: string) => frames().filter(({ type }) => type === wanted);
    const scheduled = of('session.retry.scheduled').map((frame) => {
      const { attempt, at, assistantMessageID } = frame.data as Record<string, number>;
      return { attempt, assistantMessageID, gapMs: Number(at) - Number(frame.created) };
    });
    expect(scheduled.map(({ attempt }) => attempt)).toEqual([2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    for (const [nth, { gapMs }] of scheduled.entries()) {
      const expected = (RETRY_GAPS_MS[nth] ?? 0) / pace;
      expect(Math.abs(gapMs - expected), `gap ${nth}`).toBeLessThanOrEqual(expected * 0.2 + 2);
    }
    const total = RETRY_GAPS_MS.reduce((sum, gap) => sum + gap, 0);
    expect(total).toBeGreaterThanOrEqual(67_000);
    expect(total).toBeLessThanOrEqual(101_000);
    // One message for all attempts, each with a start of its own.
    const steps = of('session.step.started').map(({ data }) => (data as Data).assistantMessageID);
    expect(steps).toHaveLength(11);
    expect(new Set([...steps, ...scheduled.map((each) => each.assistantMessageID)]).size).toBe(1);
    const error = { type: 'provider.rate-limit', status: 429 };
    expect(of('session.step.failed')).toMatchObject([{ data: { error } }]);
    expect(ended()).toMatchObject({ data: { error } });
  });

  it('is polled from the newest message where its event was missed', async () => {
    const { server, client } = await start();
    const session = server.addSession();
    server.begin(session);
    server.retry(session, 'msg_a', 4, 60_000);
    const seen = (await client.statuses()).get(session.id);
    expect(seen).toMatchObject({ type: 'retry', attempt: 3, message: 'Too many requests' });
  });

  it('is ended at once by an interrupt, proven by its absence from the active ones', async () => {
    const { server, client } = await start();
    const session = server.addSession();
    server.begin(session);
    server.retry(session, 'msg_a', 4, 60_000);
    const request = { sessionID: session.id, directory: undefined, verifyTimeoutMs: 2_000 };
    const end = await abortSession(client, clock, { ...request, expect: 'retry' });
    expect(end).toMatchObject({ outcome: 'done' });
    expect((await client.statuses()).size).toBe(0);
  });
});

describe('point 7: an interrupt', () => {
  it('answers true once, and is not believed: a session that stays active was not aborted', async () => {
    const { server, client } = await start();
    const session = server.addSession();
    server.begin(session);
    session.stopsAfterMs = null;
    const request = { sessionID: session.id, directory: '/p', verifyTimeoutMs: 300 };
    expect(await abortSession(client, clock, request)).toMatchObject({ outcome: 'failed' });
  });

  it('has worked where the session stays for its git snapshot, within the time', async () => {
    const { server, client } = await start();
    const session = server.addSession();
    server.begin(session);
    session.stopsAfterMs = 150;
    const request = { sessionID: session.id, directory: '/p', verifyTimeoutMs: 3_000 };
    const end = await abortSession(client, clock, request);
    expect(end).toMatchObject({ outcome: 'done' });
  });
});

it('point 8: a prompt of the same id is the same, and of another body refused; a delete ends the run first', async () => {
  const { server, get } = await start();
  const session = server.addSession();
  const { frames } = await listen(server.url);
  const post = (body: unknown) =>
    get(`/api/session/${session.id}/prompt`, {
      ...auth,
      method: 'POST',
      body: JSON.stringify(body),
    });
  const first = await post({ id: 'msg_own', text: 'hi' });
  expect(await post({ id: 'msg_own', text: 'hi' })).toEqual(first);
  expect((await post({ id: 'msg_own', text: 'ho' })).status).toBe(409);
  const deleted = await get(`/api/session/${session.id}`, { ...auth, method: 'DELETE' });
  expect(deleted.status).toBe(204);
  await waitFor(() => frames().some(({ type }) => type === 'session.deleted'), { interval: 5 });
  const ends = frames().map(({ type }) => String(type));
  expect(ends.indexOf('session.execution.interrupted')).toBeLessThan(
    ends.indexOf('session.deleted'),
  );
  server.deleteHangs = true;
  const { id } = server.addSession();
  const init = { ...auth, method: 'DELETE', signal: AbortSignal.timeout(200) };
  await expect(get(`/api/session/${id}`, init)).rejects.toThrow(/abort|timeout/i);
});

it('point 8: a prompt sets model and agent on the session first, and its run is seen to begin', async () => {
  const { server, client } = await start();
  const { id } = server.addSession();
  const { signal } = new AbortController();
  const how = { prompt: 'continue', model: 'a/b/c', agent: 'build', timeoutMs: 2_000, signal };
  const end = await continueSession(client, clock, { sessionID: id, directory: '/p', ...how });
  expect(end).toEqual({ outcome: 'started' });
  const posts = server.requests.filter(({ method }) => method === 'POST');
  expect(posts.map(({ path, body }) => [path.split('/').at(-1), body])).toEqual([
    ['agent', { agent: 'build' }],
    ['model', { model: { id: 'b/c', providerID: 'a' } }],
    ['prompt', { text: 'continue' }],
  ]);
});

it.each([
  ['anthropic/claude', []],
  ['anthropic/claude#high', []],
  ['anthropic/claude#low', [{ id: 'claude', providerID: 'anthropic', variant: 'low' }]],
  ['other/claude', [{ id: 'claude', providerID: 'other' }]],
])(
  'point 8: a session of anthropic/claude#high that is continued with %s keeps its variant, or gets another model',
  async (model, set) => {
    const { server, client } = await start();
    const session = server.addSession();
    session.model = { id: 'claude', providerID: 'anthropic', variant: 'high' };
    await client.prompt(session.id, '/p', { text: 'continue', model });
    const posts = server.requests.filter(({ path }) => path.endsWith('/model'));
    expect(posts.map(({ body }) => body)).toEqual(set.map((each) => ({ model: each })));
  },
);

describe('point 9: what a run waits for', () => {
  it.each(['permission', 'form'] as const)(
    'a %s is listed, and answered no with words',
    async (on) => {
      const { server, client } = await start();
      const session = server.addSession();
      server.begin(session);
      const requestID = server.ask(session, on);
      await client.statuses();
      const kind = on === 'form' ? 'question' : 'permission';
      const lists = await client.openRequests(undefined);
      expect(
        lists.flatMap(({ permissions = [], questions = [] }) => [...permissions, ...questions]),
      ).toMatchObject([{ requestID, sessionID: session.id, on: kind }]);
      const seen = await client.inspect(session.id);
      expect(seen.result).toMatchObject({ found: true, requests: [{ requestID, on: kind }] });
      const request = { requestID, on: kind, sessionID: session.id } as const;
      await client.rejectRequest(request, '/p', 'Nobody is there');
      expect(session.asks.size).toBe(0);
      // Without a message the turn would have ended.
      expect(server.active.has(session.id)).toBe(true);
    },
  );
});

it('point 9: a reject without words ends the turn by the name of a shutdown', async () => {
  const { server, get } = await start();
  const session = server.addSession();
  server.begin(session);
  const { frames } = await listen(server.url);
  const path = `/api/session/${session.id}/permission/${server.ask(session, 'permission')}/reply`;
  const body = JSON.stringify({ decision: 'reject' });
  expect((await get(path, { ...auth, method: 'POST', body })).status).toBe(204);
  await waitFor(() => frames().some(({ type }) => type === 'session.execution.interrupted'));
  expect(frames().at(-2)).toMatchObject({ data: { reason: 'shutdown' } });
});

it('a compaction whose end was not heard is over where the transcript says so', async () => {
  const { server, client } = await start();
  const session = server.addSession();
  server.begin(session);
  const compaction = server.compact(session);
  client.eventReader().read(
    JSON.stringify({
      id: 'evt_1',
      created: 1,
      type: 'session.compaction.started',
      location: { directory: '/p' },
      data: { sessionID: session.id, reason: 'auto' },
    }),
    undefined,
  );
  const seen = async () => (await client.inspect(session.id)).result;
  expect(await seen()).toMatchObject({ compacting: true });
  compaction.done();
  expect(await seen()).toMatchObject({ compacting: false });
  session.messages.shift();
  // Not in the transcript yet, so the event counts.
  expect(await seen()).toMatchObject({ compacting: true });
});

it('a session that is gone is not found, and none of its ids leads elsewhere', async () => {
  const { client } = await start();
  expect(await client.inspect('ses_none')).toEqual({ result: { found: false } });
  await expect(client.inspect('../session')).resolves.toEqual({ result: { found: false } });
});
