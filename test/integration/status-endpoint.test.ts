/**
 * The status endpoint over real HTTP: what it answers, which requests it refuses, and that everything about it is
 * bounded.
 */

import { execFile } from 'node:child_process';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, describe, expect, it } from 'vitest';
import { Secret } from '../../src/config/secret.js';
import { LIMITS } from '../../src/status/limits.js';
import { MAX_LISTENERS } from '../../src/status/stream.js';
import { freePort } from '../support/ports.js';
import { openWorld, type StatusWorld, type WorldOptions } from '../support/status-world.js';
import { waitFor } from '../support/wait.js';

const open: StatusWorld[] = [];
async function world(options: WorldOptions = {}): Promise<StatusWorld> {
  const made = await openWorld(options);
  open.push(made);
  return made;
}
afterEach(async () => {
  for (const each of open.splice(0)) await each.close();
});

interface Got {
  status: number;
  headers: IncomingMessage['headers'];
  body: string;
}

/** Not with fetch, which would not let us forge `Host`. */
async function ask(
  { port, headers: token }: StatusWorld,
  path: string,
  options: {
    method?: string;
    headers?: Record<string, string>;
    body?: string;
    socketPath?: string;
    /** Without the token. */
    bare?: boolean;
  } = {},
): Promise<Got> {
  const { method = 'GET', body, socketPath, bare = false } = options;
  const headers = { ...(bare ? {} : token), ...options.headers };
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const target = socketPath === undefined ? { host: '127.0.0.1', port } : { socketPath };
    const outgoing = httpRequest({ ...target, path, method, headers, agent: false }, resolve);
    outgoing.on('error', reject).end(body);
  });
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    body: await text(response),
  };
}

const json = (got: Got) => JSON.parse(got.body);

describe('what it answers', () => {
  it('healthz while the loop turns, and 503 where the monitor has died', async () => {
    const w = await world();
    expect(await ask(w, '/healthz')).toMatchObject({ status: 200, body: '{"ok":true}' });
    w.source.deafMs = 90_000;
    const got = await ask(w, '/healthz');
    expect(got.status).toBe(503);
    expect(json(got).reason).toBe('the monitor has been silent for 90 s');
  });

  it('readyz while the server is healthy, else 503 with the reason', async () => {
    const w = await world();
    expect((await ask(w, '/readyz')).status).toBe(200);
    w.source.facts = { ...w.source.facts, health: 'restarting' };
    const got = await ask(w, '/readyz');
    expect([got.status, json(got)]).toEqual([503, { ready: false, reason: 'restarting' }]);
  });

  it('status: server, sessions, incidents, restarts and counters', async () => {
    const w = await world();
    w.source.idleSessions = 4;
    const facts = { title: 'Fix the build', directory: '/home/me/shop' };
    w.health('ses_1', 'busy', facts);
    w.health('ses_1', 'retrying', { ...facts, attempt: 3, message: 'Rate limit', nextInMs: 4_000 });
    w.health('ses_2', 'waiting', { waitingFor: 'permission' });
    w.telemetry.emit('session.stuck', {
      sessionID: 'ses_1',
      reason: 'attempts',
      limit: 3,
      value: 3,
    });
    w.telemetry.emit('server.restarting', {
      reason: 'wedged',
      interrupted: ['a', 'b'],
      restarts: 1,
      detail: 'aborts do not end ses_9',
    });
    w.telemetry.emit('server.restarted', { reason: 'wedged', tookMs: 1_500 });
    const status = json(await ask(w, '/status'));
    expect(status).toMatchObject({
      watchdog: { version: '0.1.0', paused: false, dryRun: false, pid: process.pid },
      server: {
        url: 'http://opencode.test:4096',
        health: 'healthy',
        version: '1.18.33',
        pid: 4242,
        memoryBytes: 440_401_920,
        breaker: { state: 'closed' },
        stream: { connected: true },
      },
      counts: { idle: 4, retrying: 1, waiting: 1, busy: 0 },
      sessionsTotal: 2,
      openIncidents: 1,
      incidents: [{ kind: 'stuck', reason: 'attempts', sessionID: 'ses_1' }],
      restarts: [{ reason: 'wedged', interrupted: 2, tookMs: 1_500 }],
      counters: { stuck: 1, restarts: 1 },
    });
    expect(status.sessions[0]).toMatchObject({
      id: 'ses_1',
      health: 'retrying',
      title: 'Fix the build',
      attempt: 3,
      message: 'Rate limit',
    });
    expect(status.sessions[0].timeline).toMatch(/^\.{118,119}[br]*r$/);
    expect(status.sessions[1]).toMatchObject({ id: 'ses_2', waitingFor: 'permission' });
    expect(Math.abs(status.sessions[0].nextAt - Date.now() - 4_000)).toBeLessThan(5_000);
  });

  it('the page and its files, with headers that let nothing else in', async () => {
    const w = await world();
    const page = await ask(w, '/');
    expect(page.headers['content-type']).toBe('text/html; charset=utf-8');
    expect(page.headers['content-security-policy']).toContain("default-src 'none'");
    expect(page.headers['x-content-type-options']).toBe('nosniff');
    expect(page.headers['cache-control']).toBe('no-store');
    const named = [...page.body.matchAll(/(?:src|href)="([\w.-]+\.(?:js|css|svg))"/g)];
    expect(named.length).toBeGreaterThan(2);
    for (const [, name] of named) expect((await ask(w, `/${name}`)).status, name).toBe(200);
    // Nothing in it is foreign or inline: the policy above would block it.
    expect(page.body).not.toMatch(/https?:\/\/|<script>|style="|onclick=/);
  });

  it('a stream that begins with everything and goes on with what changed', async () => {
    const w = await world();
    w.health('ses_1', 'busy');
    const events = await listen(w);
    const first = await events.next('status');
    expect(first.sessions).toHaveLength(1);
    w.health('ses_1', 'retrying', { attempt: 2 });
    const change = await events.next('change', ({ sessions }) => sessions.length > 0);
    expect(change.sessions).toMatchObject([{ id: 'ses_1', health: 'retrying', attempt: 2 }]);
    w.telemetry.emit('session.stuck', {
      sessionID: 'ses_1',
      reason: 'attempts',
      limit: 3,
      value: 3,
    });
    const more = await events.next('change', ({ incidents }) => incidents.length > 0);
    expect(more.incidents).toMatchObject([{ kind: 'stuck' }]);
    expect(more.sessions).toEqual([]);
    events.end();
  });

  it('the acts, and says what came of them', async () => {
    const w = await world();
    w.health('ses_1', 'busy');
    const post = (path: string) => ask(w, path, { method: 'POST' });
    expect(json(await post('/sessions/ses_1/abort'))).toEqual({
      ok: true,
      says: 'session ses_1 is aborted',
      outcome: 'done',
      tookMs: 42,
    });
    expect((await post('/sessions/ses_9/abort')).status).toBe(404);
    expect((await post('/restart')).status).toBe(200);
    expect((await post('/pause')).status).toBe(200);
    expect(json(await ask(w, '/status')).watchdog.paused).toBe(true);
    expect((await post('/resume')).status).toBe(200);
    expect(w.source.acts).toEqual(['abort ses_1', 'abort ses_9', 'restart', 'pause', 'resume']);
    // A GET never acts.
    for (const path of ['/restart', '/pause', '/sessions/ses_1/abort']) {
      expect((await ask(w, path)).status).toBe(404);
    }
    expect((await post('/sessions/%2e%2e%2f/abort')).status).toBe(404);
    expect(w.source.acts).toHaveLength(5);
  });
});

describe('a HEAD request', () => {
  it.each(['/', '/healthz', '/status', '/metrics', '/stream'])(
    'of %s is answered like a GET, without the body',
    async (path) => {
      const w = await world();
      const got = await ask(w, path, { method: 'HEAD' });
      expect([got.status, got.body]).toEqual([200, '']);
    },
  );
});

describe('a metric that counted before anybody asked', () => {
  it('is in the first answer, and grows in the next', async () => {
    const w = await world();
    w.source.probe(7);
    w.source.probe(3_000);
    const line = async (name: string) =>
      (await ask(w, '/metrics')).body.split('\n').filter((each) => each.startsWith(name));
    const probes = 'opencode_watchdog_probe_duration_seconds';
    expect(await line(`${probes}_bucket{le="0.005"}`)).toEqual([`${probes}_bucket{le="0.005"} 0`]);
    expect(await line(`${probes}_bucket{le="0.01"}`)).toEqual([`${probes}_bucket{le="0.01"} 1`]);
    expect(await line(`${probes}_bucket{le="+Inf"}`)).toEqual([`${probes}_bucket{le="+Inf"} 2`]);
    expect(await line(`${probes}_sum`)).toEqual([`${probes}_sum 3.007`]);
    const retries = 'opencode_watchdog_retry_episodes_total';
    expect(await line(retries)).toEqual([`${retries} 0`]);
    w.health('ses_1', 'busy');
    w.health('ses_1', 'retrying', { attempt: 1 });
    // An answer is cached for a moment.
    await waitFor(async () => (await line(retries))[0] === `${retries} 1`);
    await waitFor(async () => (await line(retries))[0] === `${retries} 1`);
  });
});

describe('whom it refuses', () => {
  it('a foreign Host: a page elsewhere that made its name point here', async () => {
    const w = await world();
    for (const host of [
      'evil.example',
      'evil.example:4097',
      '127.0.0.1.evil.example',
      '10.0.0.9',
      'a b',
      'localhost@evil.example',
    ]) {
      const got = await ask(w, '/status', { headers: { host }, bare: true });
      expect(got.status, host).toBeGreaterThanOrEqual(400);
    }
    for (const host of ['localhost', 'localhost:8080', '127.0.0.1', '[::1]:4097', 'LOCALHOST']) {
      const got = await ask(w, '/status', { headers: { host }, bare: true });
      expect(got.status, host).toBe(200);
    }
    // A client with the token is allowed, whatever name it used.
    expect((await ask(w, '/status', { headers: { host: 'evil.example' } })).status).toBe(200);
  });

  it('two Host headers, of which a proxy may have judged the other', async () => {
    const w = await world();
    const socket = connect(w.port, '127.0.0.1');
    socket.write(
      'GET /healthz HTTP/1.1\r\nHost: localhost\r\nhost: evil.example\r\nConnection: close\r\n\r\n',
    );
    const answer = await text(socket);
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(answer).toContain('more than one Host header');
  });

  it.each(['..', '%2e%2e', '.', 'a.b', 'a%2Fb', '-a', 'a%00', 'x'.repeat(257)])(
    'an abort of %s, which is no id',
    async (id) => {
      const w = await world();
      const socket = connect(w.port, '127.0.0.1');
      // Sent unchanged: an HTTP client would resolve the dots.
      socket.write(
        `POST /sessions/${id}/abort HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`,
      );
      expect(await text(socket)).toMatch(/^HTTP\/1\.1 4\d\d /);
    },
  );

  it('a foreign Origin, for looks and acts alike', async () => {
    const w = await world();
    const host = `127.0.0.1:${w.port}`;
    const foreign = ['https://evil.example', 'null', 'http://127.0.0.1:1', 'http://localhost'];
    for (const origin of foreign) {
      const forged = { headers: { host, origin }, bare: true };
      expect((await ask(w, '/restart', { method: 'POST', ...forged })).status, origin).toBe(403);
      expect((await ask(w, '/status', forged)).status, origin).toBe(403);
    }
    const crossSite = { host, 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' };
    expect((await ask(w, '/stream', { headers: crossSite, bare: true })).status).toBe(403);
    // A browser adds Basic credentials on its own, so they do not prove that a page is ours.
    const password = Buffer.from(`:${w.headers.authorization.slice(7)}`).toString('base64');
    const kept = { host, origin: 'https://evil.example', authorization: `Basic ${password}` };
    expect((await ask(w, '/restart', { method: 'POST', headers: kept })).status).toBe(403);
    expect(w.source.acts).toEqual([]);
    const own = { host, origin: `http://${host}`, 'sec-fetch-site': 'same-origin' };
    expect((await ask(w, '/restart', { method: 'POST', headers: own })).status).toBe(200);
    // A link from elsewhere may lead to the page.
    const link = { host, 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' };
    expect((await ask(w, '/', { headers: link, bare: true })).status).toBe(200);
  });

  it('every act without the token, also on loopback, and with status.acts: false every act', async () => {
    const w = await world();
    w.health('ses_1', 'busy');
    const acts = ['/restart', '/pause', '/resume', '/sessions/ses_1/abort'];
    for (const path of acts) {
      const got = await ask(w, path, { method: 'POST', bare: true });
      expect([got.status, json(got).tokenFile], path).toEqual([401, '/run/watchdog/token']);
      const wrong = { authorization: 'Bearer wrong', cookie: 'token=the-token-of-this-world' };
      expect((await ask(w, path, { method: 'POST', headers: wrong })).status, path).toBe(401);
      const query = `${path}?token=the-token-of-this-world`;
      expect((await ask(w, query, { method: 'POST', bare: true })).status, path).toBe(401);
    }
    const none = await world({ acts: false });
    for (const path of acts) {
      const got = await ask(none, path, { method: 'POST' });
      expect([got.status, json(got).error]).toEqual([
        403,
        'status.acts is false: nobody acts over HTTP',
      ]);
    }
    expect([...w.source.acts, ...none.source.acts]).toEqual([]);
  });

  it('content without the token, on loopback too: there ids, health and numbers remain', async () => {
    const w = await world();
    const about = { title: 'Buy the rival', directory: '/home/ada/rival' };
    w.health('ses_1', 'retrying', {
      ...about,
      attempt: 3,
      tool: 'bash',
      model: 'acme/large',
      message: 'Rate limit of Buy the rival',
    });
    w.telemetry.emit('session.stuck', {
      ...about,
      sessionID: 'ses_1',
      reason: 'attempts',
      limit: 3,
      value: 3,
    });
    const got = await ask(w, '/status', { bare: true });
    expect(json(got)).toMatchObject({
      server: { health: 'healthy', pid: 4242, version: '1.18.33' },
      counts: { retrying: 1 },
      sessions: [{ id: 'ses_1', health: 'retrying', attempt: 3 }],
      incidents: [{ kind: 'stuck', sessionID: 'ses_1', reason: 'attempts' }],
      withheld: expect.stringContaining('opencode-watchdog page'),
      tokenFile: '/run/watchdog/token',
    });
    const events = await listen(w, true);
    const first = await events.next('status');
    w.health('ses_1', 'busy', { ...about, tool: 'bash' });
    const change = await events.next('change', ({ sessions }) => sessions.length > 0);
    events.end();
    for (const text of [got.body, JSON.stringify(first), JSON.stringify(change)]) {
      expect(text).not.toMatch(/rival|acme|bash|Rate limit/);
    }
    expect(json(await ask(w, '/status')).sessions[0]).toMatchObject(about);
  });

  it('everyone without the token on any other address; but for health and the empty page', async () => {
    const token = new Secret('correct horse battery');
    const address = { kind: 'tcp', host: '0.0.0.0', port: 0, loopback: false } as const;
    const w = await world({ token, address: { ...address, port: await freePort() } });
    const status = async (authorization?: string, host = '127.0.0.1', path = '/status') =>
      (
        await ask(w, path, {
          headers: { host, ...(authorization && { authorization }) },
          bare: true,
        })
      ).status;
    const basic = (value: string) => `Basic ${Buffer.from(value).toString('base64')}`;
    expect(await status()).toBe(401);
    expect(await status('Bearer wrong')).toBe(401);
    expect(await status('Bearer ')).toBe(401);
    expect(await status(basic('me:wrong'))).toBe(401);
    expect(await status('Digest x')).toBe(401);
    expect(await status('Bearer correct horse battery')).toBe(401);
    expect(await status('correct horse battery')).toBe(401);
    const w401 = await ask(w, '/status', { headers: { host: '127.0.0.1' }, bare: true });
    expect(w401.headers['www-authenticate']).toMatch(/^Bearer /);
    // Clients from elsewhere must not learn where the file is.
    expect(w401.body).not.toContain('/run/watchdog');
    expect(await status(basic('me:correct horse battery'))).toBe(200);
    for (const path of ['/healthz', '/readyz'])
      expect(await status(undefined, '10.1.2.3', path)).toBe(200);
    for (const path of ['/metrics', '/stream'])
      expect(await status(undefined, '127.0.0.1', path), path).toBe(401);
    // The page's own files contain nothing secret. A browser loads them before the page can send its token.
    for (const path of ['/', '/page.js'])
      expect(await status(undefined, '127.0.0.1', path), path).toBe(200);
    expect((await ask(w, '/restart', { method: 'POST', bare: true })).status).toBe(401);
    // A client with the token is allowed, whatever name it used.
    expect(await status(basic(':correct horse battery'), 'watchdog.internal')).toBe(200);
    expect(await status(undefined, 'watchdog.internal', '/healthz')).toBe(403);
    expect(await status(undefined, hostname(), '/healthz')).toBe(200);
    expect(w.source.acts).toEqual([]);
  });

  it('says no secret, wherever it came in', async () => {
    const secret = new Secret('s3cr3t-pa55word');
    const w = await world({ secrets: [secret] });
    w.health('ses_1', 'retrying', {
      title: 'log in with s3cr3t-pa55word',
      directory: '/home/s3cr3t-pa55word',
      message: 'bad key s3cr3t-pa55word',
      attempt: 1,
    });
    w.telemetry.emit('session.stuck', {
      sessionID: 'ses_1',
      title: 's3cr3t-pa55word',
      reason: 'attempts',
      limit: 1,
      value: 1,
      message: 's3cr3t-pa55word',
    });
    w.telemetry.emit('server.restart_failed', { reason: 'exited', error: 's3cr3t-pa55word' });
    for (const path of ['/status', '/metrics', '/readyz']) {
      expect((await ask(w, path)).body).not.toContain('s3cr3t');
    }
    expect((await ask(w, '/status')).body).toContain('[secret]');
  });
});

describe('its bounds', () => {
  it('refuses huge bodies, headers and paths', async () => {
    const w = await world();
    const body = 'x'.repeat(5_000_000);
    const huge = ask(w, '/pause', {
      method: 'POST',
      body,
      headers: { 'content-type': 'text/plain' },
    });
    // The connection may be cut before everything is sent.
    expect(
      await huge.then(
        ({ status }) => status,
        () => 413,
      ),
    ).toBe(413);
    expect(w.source.acts).toEqual([]);
    const headers = { 'x-padding': 'x'.repeat(LIMITS.headerBytes + 1) };
    expect((await ask(w, '/status', { headers })).status).toBe(431);
    expect((await ask(w, `/${'x'.repeat(4_000)}`)).status).toBe(404);
    expect((await ask(w, '/status')).status).toBe(200);
  });

  it('takes a body with an act, and ignores it', async () => {
    const w = await world();
    const headers = { 'content-type': 'application/json' };
    expect((await ask(w, '/pause', { method: 'POST', headers, body: '{' })).status).toBe(200);
  });

  it('holds no more connections than it allows, and serves again when they are gone', async () => {
    const w = await world();
    const sockets: Socket[] = [];
    let closed = 0;
    for (let i = 0; i < 1_000; i += 1) {
      const socket = connect(w.port, '127.0.0.1');
      socket
        .on('error', () => {})
        .on('close', () => {
          closed += 1;
        });
      sockets.push(socket);
    }
    await waitFor(() => closed >= 1_000 - LIMITS.connections, { interval: 10 });
    expect(sockets.length - closed).toBeLessThanOrEqual(LIMITS.connections);
    for (const socket of sockets) socket.destroy();
    await waitFor(async () => (await ask(w, '/healthz')).status === 200, { interval: 10 });
  });

  it('lets go of clients that send their request drop by drop, or nothing at all', async () => {
    const w = await world();
    const ended: string[] = [];
    const slow = (name: string, begin: string) => {
      const socket = connect(w.port, '127.0.0.1', () => socket.write(begin));
      socket
        .on('error', () => {})
        .on('close', () => ended.push(name))
        .resume();
    };
    slow('silent', '');
    slow('headers', 'GET /status HTTP/1.1\r\nHost: localhost\r\nX-A: ');
    slow('body', 'POST /pause HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nx');
    await waitFor(() => ended.length === 3, { timeout: LIMITS.requestMs + 10_000, interval: 20 });
    expect(w.source.acts).toEqual([]);
  });

  it('lets a bounded number of pages listen', async () => {
    const w = await world();
    const agent = new Agent({ maxSockets: 100 });
    const heard: IncomingMessage[] = [];
    const one = () =>
      new Promise<number>((resolve, reject) => {
        httpRequest({ port: w.port, host: '127.0.0.1', path: '/stream', agent }, (response) => {
          heard.push(response.resume());
          resolve(response.statusCode ?? 0);
        })
          .on('error', reject)
          .end();
      });
    for (let i = 0; i < MAX_LISTENERS; i += 1) expect(await one()).toBe(200);
    expect(await one()).toBe(503);
    heard[0]!.destroy();
    await waitFor(async () => (await one()) === 200, { interval: 20 });
    agent.destroy();
  });

  it('keeps 200 incidents and 1,000 rows', async () => {
    const w = await world();
    for (let i = 0; i < 1_200; i += 1) {
      w.health(`ses_${i}`, 'busy');
      w.telemetry.emit('session.stuck', {
        sessionID: `ses_${i}`,
        reason: 'silence',
        limit: 1,
        value: 2,
      });
    }
    const status = json(await ask(w, '/status'));
    expect(status.incidents).toHaveLength(200);
    expect(status.incidents[0].sessionID).toBe('ses_1199');
    expect(status.sessions).toHaveLength(1_000);
    expect(status.sessionsTotal).toBe(1_200);
  });
});

describe('where it listens', () => {
  it('says that the port is taken, and stays out of the way', async () => {
    const first = await world();
    const address = { kind: 'tcp', host: '127.0.0.1', port: first.port, loopback: true } as const;
    const second = await world({ address });
    expect(second.lines.filter(({ event }) => event === 'status.failed')).toMatchObject([
      {
        level: 'warn',
        address: `127.0.0.1:${first.port}`,
        error: 'the address is taken by another process',
      },
    ]);
    expect(second.lines.filter(({ event }) => event === 'error')).toEqual([]);
    expect((await ask(first, '/healthz')).status).toBe(200);
  });

  it('on a unix socket that only its user may open, also where a dead one is left', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'watchdog-status-'));
    const path = join(folder, 'run', 'status.sock');
    try {
      // A daemon that was killed leaves its socket behind.
      await new Promise<void>((resolve) => {
        const code = `require('fs').mkdirSync(${JSON.stringify(join(folder, 'run'))});require('net').createServer().listen(${JSON.stringify(path)},()=>process.kill(process.pid,'SIGKILL'))`;
        execFile(process.execPath, ['-e', code], () => resolve());
      });
      const healthSocket = join(folder, 'run', 'opencode-watchdog-x.health');
      const w = await openWorld({ address: { kind: 'unix', path }, healthSocket });
      expect(w.lines.map(({ event }) => event)).toEqual(['status.listening']);
      // The probe finds it without the configuration, which names the other one.
      expect((await ask(w, '/healthz', { socketPath: healthSocket })).status).toBe(200);
      expect((await stat(path)).mode & 0o777).toBe(0o600);
      const got = await ask(w, '/status', { socketPath: path, headers: { host: 'anything' } });
      expect(got.status).toBe(200);
      // A second daemon does not take the socket of a living one.
      const second = await openWorld({ address: { kind: 'unix', path } });
      expect(second.lines.map(({ event }) => event)).toEqual(['status.failed']);
      await second.close();
      await w.close();
      await expect(stat(path)).rejects.toThrow('ENOENT');
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

/** Reads `/stream` as a page does. */
async function listen(w: StatusWorld, bare = false) {
  const stop = new AbortController();
  const headers = bare ? {} : w.headers;
  const response = await fetch(`${w.url}/stream`, { signal: stop.signal, headers });
  expect(response.headers.get('content-type')).toContain('text/event-stream');
  // biome-ignore lint/suspicious/noExplicitAny: parsed JSON of a test
  const heard: Array<{ event: string; data: any }> = [];
  let rest = '';
  const reading = (async () => {
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      const frames = (rest + chunk).split('\n\n');
      rest = frames.pop() ?? '';
      for (const frame of frames) {
        const event = /^event: (.*)$/m.exec(frame)?.[1];
        const data = /^data: (.*)$/m.exec(frame)?.[1];
        if (event && data) heard.push({ event, data: JSON.parse(data) });
      }
    }
  })().catch(() => {});
  let read = 0;
  return {
    // biome-ignore lint/suspicious/noExplicitAny: parsed JSON of a test
    async next(event: string, fits: (data: any) => boolean = () => true): Promise<any> {
      const at = await waitFor(
        () => {
          const found = heard.findIndex(
            (each, i) => i >= read && each.event === event && fits(each.data),
          );
          return found < 0 ? undefined : { found };
        },
        { what: `a ${event}`, interval: 5 },
      );
      read = at.found + 1;
      return heard[at.found]!.data;
    },
    end() {
      stop.abort();
      return reading;
    },
  };
}
