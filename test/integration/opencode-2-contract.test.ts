/** The fake OpenCode 2 held to its facts, and the client to the fake: point by point of the sheet's checklist. */
import { afterEach, describe, expect, it } from 'vitest';
import { SystemClock } from '../../src/lib/clock.js';
import { abortSession } from '../../src/opencode/actions/abort.js';
import { continueSession } from '../../src/opencode/actions/continue.js';
import { RecognisingApi } from '../../src/opencode/recognising-api.js';
import { OpencodeClientV2 } from '../../src/opencode/v2/client.js';
import { startFakeOpencode } from '../support/fake-opencode.js';
import { type Fake2Options, startFakeOpencode2 } from '../support/fake-opencode-2.js';

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

describe('point 6: a retry', () => {
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
      // Without words the turn would have ended.
      expect(server.active.has(session.id)).toBe(true);
    },
  );
});

it('a session that is gone is not found, and none of its ids leads elsewhere', async () => {
  const { client } = await start();
  expect(await client.inspect('ses_none')).toEqual({ result: { found: false } });
  await expect(client.inspect('../session')).resolves.toEqual({ result: { found: false } });
});
