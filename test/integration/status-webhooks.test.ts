/** Webhooks with a real HTTP server that accepts, refuses, goes silent and comes back. */
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, describe, expect, it } from 'vitest';
import { Secret } from '../../src/config/secret.js';
import { type Clock, SystemClock } from '../../src/lib/clock.js';
import { createTelemetry } from '../../src/telemetry/logger.js';
import { Webhook, type WebhookLimits } from '../../src/telemetry/notify/webhook.js';
import { FakeClock } from '../support/fake-clock.js';
import { waitFor } from '../support/wait.js';

const ends: Array<() => unknown> = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

interface Taken {
  headers: IncomingHttpHeaders;
  // biome-ignore lint/suspicious/noExplicitAny: parsed JSON of a test
  body: any;
  at: number;
}

/** Answers with each status in turn, and with the last one for ever. `hang` never answers; `quote` refuses the path. */
async function receiver(
  ...answers: Array<number | 'hang' | 'quote' | { status: number; retryAfter: string }>
) {
  const taken: Taken[] = [];
  const server = createServer(async (request, response) => {
    const answer = answers.length > 1 ? answers.shift()! : (answers[0] ?? 200);
    taken.push({
      headers: request.headers,
      body: JSON.parse(await text(request)),
      at: performance.now(),
    });
    if (answer === 'hang') return;
    if (answer === 'quote') {
      const path = request.url ?? '';
      const says = { error: 'not found', path, decoded: decodeURIComponent(path) };
      response.writeHead(404).end(JSON.stringify(says));
      return;
    }
    if (typeof answer === 'number')
      response.writeHead(answer, { location: '/elsewhere' }).end('{}');
    else response.writeHead(answer.status, { 'retry-after': answer.retryAfter }).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  ends.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  const { port } = server.address() as AddressInfo;
  return { taken, url: `http://127.0.0.1:${port}/hooks/T0KEN-in-the-path` };
}

const QUICK: Partial<WebhookLimits> = {
  gatherMs: 30,
  intervalMs: 200,
  backoffMs: 20,
  timeoutMs: 20_000,
};

function hook(
  url: string,
  options: {
    events?: string[];
    format?: 'json' | 'slack';
    limits?: Partial<WebhookLimits>;
    quiet?: string;
    clock?: Clock;
  } = {},
) {
  const { clock = new SystemClock(), quiet } = options;
  const lines: Array<{ event: string; [field: string]: unknown }> = [];
  const telemetry = createTelemetry({
    level: 'debug',
    format: 'json',
    server: 'http://opencode.test:4096',
    secrets: [new Secret(url)],
    clock,
    stream: { write: (line) => lines.push(JSON.parse(line)) },
  });
  const webhook = new Webhook({
    url,
    events: options.events ?? ['session.stuck', 'server'],
    format: options.format ?? 'json',
    server: 'http://opencode.test:4096',
    telemetry,
    clock,
    quiet,
    limits: { ...QUICK, ...options.limits },
  });
  telemetry.subscribe((record) => webhook.take(record));
  const said = (event: string) => lines.filter((line) => line.event === event);
  const stuck = (sessionID: string, message = 'Rate limit') =>
    telemetry.emit('session.stuck', { sessionID, reason: 'attempts', limit: 5, value: 5, message });
  return { webhook, telemetry, lines, said, stuck };
}

describe('a webhook', () => {
  it('is told of the events it asked for, as JSON with their fields', async () => {
    const { taken, url } = await receiver();
    const h = hook(url);
    h.telemetry.emit('session.recovered', { sessionID: 'ses_1', attempts: 2, episodeMs: 9 });
    h.stuck('ses_1');
    await waitFor(() => h.said('notify.sent').length === 1, { interval: 5 });
    expect(taken).toHaveLength(1);
    expect(taken[0]!.headers['content-type']).toBe('application/json');
    expect(taken[0]!.body).toMatchObject({
      source: 'opencode-watchdog',
      server: 'http://opencode.test:4096',
      text: '🟠 Session ses_1 is stuck: 5 requests have failed, limit 5 (Rate limit). (http://opencode.test:4096)',
      events: [{ event: 'session.stuck', sessionID: 'ses_1', reason: 'attempts', level: 'warn' }],
      more: 0,
    });
    expect(h.said('notify.sent')).toMatchObject([{ events: 1, tries: 1 }]);
  });

  it('takes Slack’s form, and nobody is called by what a session says', async () => {
    const { taken, url } = await receiver();
    const h = hook(url, { format: 'slack' });
    h.stuck('ses_1', '<!channel> & <https://evil.example|click>');
    await waitFor(() => taken.length === 1, { interval: 5 });
    expect(Object.keys(taken[0]!.body)).toEqual(['text']);
    expect(taken[0]!.body.text).toContain(
      '&lt;!channel&gt; &amp; &lt;https://evil.example|click&gt;',
    );
  });

  it('makes one message of an outage, and one digest of what follows', async () => {
    const { taken, url } = await receiver();
    const h = hook(url, { limits: { maxEvents: 50 } });
    for (let i = 0; i < 120; i += 1) h.stuck(`ses_${i}`);
    h.telemetry.emit('server.breaker_open', { reason: 'pileup', restarts: 5, cooldownMs: 900_000 });
    await waitFor(() => taken.length === 1, { interval: 5 });
    expect(taken[0]!.body.text).toMatch(
      /^121 events at http:\/\/opencode\.test:4096: 50 × session\.stuck\n/,
    );
    expect(taken[0]!.body.text).toMatch(/… and 111 more$/);
    expect(taken[0]!.body.more).toBe(71);
    for (let i = 0; i < 3; i += 1) h.stuck(`late_${i}`);
    await waitFor(() => taken.length === 2, { interval: 5 });
    expect(taken[1]!.body.events).toHaveLength(3);
    // The rate limit: not before its interval is over.
    expect(taken[1]!.at - taken[0]!.at).toBeGreaterThanOrEqual(QUICK.intervalMs! * 0.9);
    expect(h.said('notify.failed')).toEqual([]);
  });

  describe('with quiet hours', () => {
    const MINUTE = 60_000;
    /** A clock whose wall time goes on in a suspend, when its timers stand still. */
    function clockAt(hour: number, minute: number) {
      const clock = new FakeClock();
      let wall = new Date(2026, 5, 1, hour, minute).getTime();
      clock.epoch = () => wall + clock.now();
      const setBy = (ms: number) => {
        wall += ms;
      };
      return { clock, setBy };
    }
    const healthy = (h: ReturnType<typeof hook>) =>
      h.telemetry.emit('server.healthy', { version: '1.18.33', tookMs: 1 });

    it('sends what waits within a minute of their end, also if that came in a suspend', async () => {
      const { taken, url } = await receiver();
      const { clock, setBy } = clockAt(22, 30);
      const h = hook(url, { quiet: '22:00-07:00', clock });
      healthy(h);
      await clock.advance(30 * MINUTE);
      expect(clock.pending).toBe(1);
      setBy(8.5 * 60 * MINUTE);
      await clock.advance(MINUTE);
      await waitFor(() => taken.length === 1, { interval: 5 });
    });

    it('waits on if the clock is set back into them', async () => {
      const { taken, url } = await receiver();
      const { clock, setBy } = clockAt(6, 59);
      const h = hook(url, { quiet: '22:00-07:00', clock });
      healthy(h);
      setBy(-60 * MINUTE);
      await clock.advance(10 * MINUTE);
      // The timer of the next look: nothing is being sent.
      expect(clock.pending).toBe(1);
      await clock.advance(52 * MINUTE);
      await waitFor(() => taken.length === 1, { interval: 5 });
    });
  });

  it('leaves out an event that is not urgent rather than one that is', async () => {
    const { taken, url } = await receiver();
    const h = hook(url, { events: ['session'], limits: { maxEvents: 3 } });
    const recovered = (sessionID: string) =>
      h.telemetry.emit('session.recovered', { sessionID, attempts: 2, episodeMs: 9 });
    for (let i = 0; i < 5; i += 1) recovered(`ses_${i}`);
    h.stuck('ses_stuck');
    recovered('ses_late');
    await waitFor(() => taken.length === 1, { interval: 5 });
    const { events, more } = taken[0]!.body;
    expect(events.map(({ sessionID }: { sessionID: string }) => sessionID)).toEqual([
      'ses_1',
      'ses_2',
      'ses_stuck',
    ]);
    expect(more).toBe(4);
    for (let i = 0; i < 5; i += 1) h.stuck(`stuck_${i}`);
    await waitFor(() => taken.length === 2, { interval: 5 });
    expect(taken[1]!.body).toMatchObject({ more: 2 });
    expect(taken[1]!.body.events).toHaveLength(3);
  });

  it('tries again after 503, silence and Retry-After, and then it is told', async () => {
    const { taken, url } = await receiver(503, 'hang', { status: 429, retryAfter: '0' }, 200);
    const h = hook(url, { limits: { timeoutMs: 500 } });
    h.stuck('ses_1');
    await waitFor(() => h.said('notify.sent').length === 1, { interval: 5 });
    expect(taken).toHaveLength(4);
    expect(h.said('notify.sent')).toMatchObject([{ tries: 4 }]);
  });

  it('gives up after its tries and says so without the address; a refusal is final', async () => {
    const broken = await receiver(500);
    const h = hook(broken.url, { limits: { tries: 3 } });
    h.stuck('ses_1');
    await waitFor(() => h.said('notify.failed').length === 1, { interval: 5 });
    expect(broken.taken).toHaveLength(3);
    expect(h.said('notify.failed')).toMatchObject([
      { tries: 3, events: 1, error: 'status 500: {}' },
    ]);

    const gone = await receiver(404);
    const other = hook(gone.url);
    other.stuck('ses_1');
    await waitFor(() => other.said('notify.failed').length === 1, { interval: 5 });
    expect(gone.taken).toHaveLength(1);

    const nobody = hook('http://127.0.0.1:1/T0KEN-in-the-path', { limits: { tries: 2 } });
    nobody.stuck('ses_1');
    await waitFor(() => nobody.said('notify.failed').length === 1, { interval: 5 });
    for (const each of [h, other, nobody])
      expect(JSON.stringify(each.lines)).not.toContain('T0KEN');
  });

  it('masks its path in what the receiver says', async () => {
    const { url } = await receiver('quote');
    const h = hook(`${url}/second%20part?room=R00M-in-the-query`);
    h.stuck('ses_1');
    await waitFor(() => h.said('notify.failed').length === 1, { interval: 5 });
    expect(h.said('notify.failed')).toMatchObject([
      { error: expect.stringMatching(/^status 404: {"error":"not found","path":"\[secret\]"/) },
    ]);
    expect(JSON.stringify(h.lines)).not.toMatch(/T0KEN|R00M|second.{1,3}part/);
  });

  it('does not carry its token along where it is sent elsewhere', async () => {
    const { taken, url } = await receiver(307);
    const h = hook(url, { limits: { tries: 1 } });
    h.stuck('ses_1');
    await waitFor(() => h.said('notify.failed').length === 1, { interval: 5 });
    expect(taken).toHaveLength(1);
  });

  it('is never told of notices, nor can it hold up the stop of the daemon', async () => {
    const { taken, url } = await receiver('hang');
    const h = hook(url, {
      events: ['notify', 'session.stuck'],
      // Longer than this test may take. A stop that waited for the receiver would not end in time.
      limits: { farewellMs: 1_000, timeoutMs: 600_000 },
    });
    h.telemetry.emit('notify.failed', { host: 'x', events: 1, tries: 1, error: 'x' });
    h.stuck('ses_1');
    await h.webhook.stop();
    expect(taken).toHaveLength(1);
    expect(h.said('notify.failed')).toHaveLength(2);
  });

  it('says what is pending before the daemon ends', async () => {
    const { taken, url } = await receiver();
    const h = hook(url, { limits: { gatherMs: 60_000 } });
    h.stuck('ses_1');
    await h.webhook.stop();
    expect(taken).toHaveLength(1);
    h.stuck('ses_2');
    expect(taken).toHaveLength(1);
  });
});
