/** Tests of the fakes themselves: a fake that misbehaves by mistake proves nothing. */
import { afterEach, describe, expect, it } from 'vitest';
import { type FakeOpencode, startFakeOpencode } from '../support/fake-opencode.js';
import { type FakeProvider, startFakeProvider } from '../support/fake-provider.js';
import { api } from '../support/opencode-api.js';
import { parseMarkers } from '../support/provider-behaviours.js';
import { waitFor } from '../support/wait.js';

const stops: Array<() => Promise<void>> = [];
afterEach(async () => {
  await Promise.all(stops.splice(0).map((stop) => stop()));
});

/** Starts reading a stream, which stays open until the test's end. */
async function listen(url: string) {
  const over = new AbortController();
  const res = await fetch(url, { signal: over.signal });
  stops.push(async () => over.abort());
  const heard = { text: '', ended: false, type: res.headers.get('content-type') };
  void (async () => {
    const decoder = new TextDecoder();
    for await (const bytes of res.body!) heard.text += decoder.decode(bytes, { stream: true });
  })()
    .catch(() => {})
    .finally(() => {
      heard.ended = true;
    });
  return heard;
}

describe('the fake provider', () => {
  async function start(): Promise<FakeProvider> {
    const provider = await startFakeProvider();
    stops.push(() => provider.stop());
    return provider;
  }

  const ask = (provider: FakeProvider, prompt: string, more: object[] = [], signal?: AbortSignal) =>
    fetch(`${provider.url}/chat/completions`, {
      method: 'POST',
      signal,
      body: JSON.stringify({
        model: 'm1',
        tools: [{}],
        messages: [{ role: 'user', content: prompt }, ...more],
      }),
    });

  it('takes a marker apart, with options and nested text', () => {
    const [flaky, task] = parseMarkers('do [[flaky 2 id=a]] then [[task {{hang}} on]]');
    expect(flaky).toMatchObject({ name: 'flaky', args: ['2'], options: { id: 'a' } });
    expect(task).toMatchObject({ name: 'task', rest: '{{hang}} on' });
  });

  it('follows the markers step by step, then answers ok', async () => {
    const provider = await start();
    const prompt = '[[bash echo hi]] [[task {{hang}} x]]';
    const result = { role: 'tool', content: 'hi' };
    const text = async (more: object[]) => (await ask(provider, prompt, more)).text();
    expect(await text([])).toContain('"name":"bash"');
    expect(await text([result])).toContain('[[hang]] x');
    const last = await text([result, result]);
    expect(last).toContain('"finish_reason":"stop"');
    expect(last).toContain('[DONE]');
  });

  it('fails a flaky session as often as told, each session for itself', async () => {
    const provider = await start();
    const codes = [];
    for (const prompt of [
      '[[flaky 2]] one',
      '[[flaky 2]] one',
      '[[flaky 2]] two',
      '[[flaky 2]] one',
    ]) {
      codes.push((await ask(provider, prompt)).status);
    }
    expect(codes).toEqual([503, 503, 503, 200]);
    expect(provider.count('one')).toBe(3);
  });

  it('sends the headers a marker asks for', async () => {
    const res = await ask(await start(), '[[429 retry-after=3600]]');
    expect([res.status, res.headers.get('retry-after')]).toEqual([429, '3600']);
  });

  it('knows which requests are open, and which the client gave up', async () => {
    const provider = await start();
    const over = new AbortController();
    const asked = ask(provider, '[[hang]] alpha', [], over.signal).catch(() => 'cut');
    await waitFor(() => provider.open('alpha') === 1, { what: 'the request' });
    over.abort();
    expect(await asked).toBe('cut');
    await waitFor(() => provider.about('alpha')[0]?.aborted, { what: 'the abort to be noticed' });
    expect(provider.open()).toBe(0);
  });

  it('is down for everybody when told so', async () => {
    const provider = await start();
    provider.override = 'down';
    expect((await ask(provider, '[[ok]]')).status).toBe(503);
    provider.override = null;
    expect((await ask(provider, '[[ok]]')).status).toBe(200);
  });
});

describe('the fake opencode', () => {
  async function start(options: Parameters<typeof startFakeOpencode>[0] = {}) {
    const server: FakeOpencode = await startFakeOpencode(options);
    stops.push(() => server.stop());
    return { server, client: api(server.url, options) };
  }

  it('streams events in both shapes, with heartbeats, to the directory concerned', async () => {
    const { server } = await start({ heartbeatMs: 10 });
    const all = await listen(`${server.url}/global/event`);
    const mine = await listen(`${server.url}/event?directory=/a`);
    const other = await listen(`${server.url}/event?directory=/b`);
    await waitFor(() => server.listeners === 3, { what: 'three listeners' });
    server.addSession({ id: 'ses_1', directory: '/a' });
    server.setStatus('ses_1', { type: 'busy' });
    await waitFor(() => all.text.includes('session.status') && mine.text.includes('busy'));
    expect(all.text).toContain('{"directory":"/a","project":"global","payload":{"id"');
    await waitFor(() => other.text.includes('server.heartbeat'), { what: 'a heartbeat' });
    expect(other.text).not.toContain('session.status');
    server.endStreams();
    await waitFor(() => all.ended && mine.ended && other.ended, { what: 'the streams to end' });
  });

  it('falls silent on open streams and talks on new ones', async () => {
    const { server } = await start({ heartbeatMs: null });
    const old = await listen(`${server.url}/global/event`);
    await waitFor(() => old.text.includes('server.connected'));
    server.silenceStreams();
    const fresh = await listen(`${server.url}/global/event`);
    server.emit({ type: 'test.event' });
    await waitFor(() => fresh.text.includes('test.event'));
    expect([old.ended, old.text.includes('test.event')]).toEqual([false, false]);
  });

  it('answers unknown routes with the web app, and can be a version without /global/event', async () => {
    const { server } = await start({ globalEvent: false, eventEndsAtOnce: true });
    const heard = await listen(`${server.url}/global/event`);
    expect(heard.type).toBe('text/html');
    const brief = await listen(`${server.url}/event`);
    await waitFor(() => brief.ended && brief.text.includes('server.connected'));
  });

  it('ends a run only by an abort with the right directory, as each abort behaviour says', async () => {
    const { server, client } = await start();
    const busy = (id: string) => {
      server.addSession({ id, directory: '/a', status: { type: 'busy' } });
      return client.status('/a').then((all) => expect(all[id]).toEqual({ type: 'busy' }));
    };
    const left = async () => Object.keys(await client.status('/a'));
    await busy('ses_1');
    expect(await client.abort('ses_1', '/b')).toBe(true);
    expect(await left()).toEqual(['ses_1']);
    server.abortBehaviour = 'lost-once';
    await client.abort('ses_1', '/a');
    expect(await left()).toEqual(['ses_1']);
    await client.abort('ses_1', '/a');
    expect(await left()).toEqual([]);
    await busy('ses_2');
    server.abortBehaviour = 'lies';
    expect(await client.abort('ses_2', '/a')).toBe(true);
    expect(await left()).toEqual(['ses_2']);
  });

  it('makes a ghost of a running session that is deleted', async () => {
    const { server, client } = await start();
    server.addSession({ id: 'ses_1', status: { type: 'busy' } });
    await client.remove('ses_1');
    await expect(client.session('ses_1')).rejects.toThrow('404');
    expect(await client.status()).toEqual({ ses_1: { type: 'busy' } });
    expect(await client.sessions()).toEqual([]);
  });

  it('delivers a held status answer as it was when asked', async () => {
    const { server, client } = await start();
    server.addSession({ id: 'ses_1', status: { type: 'busy' } });
    const hold = server.holdStatus();
    const asked = client.status();
    await waitFor(() => hold.held === 1, { what: 'the poll to be held' });
    server.setStatus('ses_1', { type: 'idle' });
    hold.release();
    expect(await asked).toEqual({ ses_1: { type: 'busy' } });
    expect(await client.status()).toEqual({});
  });

  it('spoils a route as often as told', async () => {
    const { server, client } = await start();
    server.fault('GET /global/health', { status: 500, times: 1 });
    await expect(client.health()).rejects.toThrow('500');
    expect(await client.health()).toMatchObject({ healthy: true });
    const mend = server.fault('*', { body: '<html>', contentType: 'text/html' });
    await expect(client.health()).rejects.toThrow('200 <html>');
    mend();
    expect(await client.health()).toMatchObject({ healthy: true });
    expect(server.count('GET /global/health')).toBe(4);
  });

  it('wants the password when it has one, and records no secret', async () => {
    const { server, client } = await start({ password: 'secret' });
    expect(await client.health()).toMatchObject({ healthy: true });
    await expect(api(server.url).health()).rejects.toThrow('401');
    expect(JSON.stringify(server.requests)).not.toContain('asic');
  });

  it('asks a person, and a bare rejection ends the run', async () => {
    const { server, client } = await start();
    server.addSession({ id: 'ses_1', status: { type: 'busy' } });
    const { id } = server.ask('permission', 'ses_1');
    expect(await client.permissions(server.directory)).toMatchObject([{ id, sessionID: 'ses_1' }]);
    await client.replyPermission(id, server.directory, 'reject');
    expect([await client.permissions(server.directory), await client.status()]).toEqual([[], {}]);
  });
});
