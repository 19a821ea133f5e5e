/**
 * Each format with a local receiver that accepts only what the service's documentation allows, and refuses as the
 * service does.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, describe, expect, it } from 'vitest';
import * as z from 'zod';
import { SystemClock } from '../../src/lib/clock.js';
import { createTelemetry, type Telemetry } from '../../src/telemetry/logger.js';
import type { WebhookFormat } from '../../src/telemetry/notify/message.js';
import { Webhook, type WebhookOptions } from '../../src/telemetry/notify/webhook.js';
import { waitFor } from '../support/wait.js';

const ends: Array<() => unknown> = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** The path and body that each service documents. Strict, because some services refuse fields that they do not know. */
const SHAPES: Record<WebhookFormat, { send: string; at: RegExp; body: z.ZodType }> = {
  json: {
    send: '/in',
    at: /^\/in$/,
    body: z.looseObject({
      source: z.literal('opencode-watchdog'),
      text: z.string(),
      events: z.array(z.looseObject({ event: z.string() })),
    }),
  },
  // https://api.slack.com/messaging/webhooks
  slack: {
    send: '/services/T0/B0/x',
    at: /^\/services/,
    body: z.strictObject({ text: z.string().min(1).max(40_000) }),
  },
  // https://discord.com/developers/docs/resources/webhook#execute-webhook
  discord: {
    send: '/api/webhooks/1/x',
    at: /^\/api\/webhooks/,
    body: z.strictObject({
      allowed_mentions: z.strictObject({ parse: z.array(z.string()).max(0) }),
      embeds: z
        .array(
          z.strictObject({
            description: z.string().max(4_096),
            color: z.number().int().max(0xffffff),
          }),
        )
        .min(1)
        .max(10),
    }),
  },
  // https://docs.ntfy.sh/publish/#publish-as-json
  ntfy: {
    send: '/base/my-topic',
    at: /^\/base\/$/,
    body: z.strictObject({
      topic: z.literal('my-topic'),
      title: z.string(),
      message: z.string().max(4_096),
      priority: z.number().int().min(1).max(5),
      click: z.url(),
    }),
  },
  // https://core.telegram.org/bots/api#sendmessage
  telegram: {
    send: '/bot1:x/sendMessage?chat_id=-42',
    at: /^\/bot1:x\/sendMessage/,
    body: z.strictObject({
      chat_id: z.literal('-42'),
      text: z.string().min(1).max(4_096),
      link_preview_options: z.strictObject({ is_disabled: z.boolean() }),
    }),
  },
};

async function receiver(format: WebhookFormat) {
  const { send, at, body } = SHAPES[format];
  const taken: string[] = [];
  const server = createServer(async (request, response) => {
    const received = await text(request);
    const read = body.safeParse(JSON.parse(received));
    if (!read.success || !at.test(request.url ?? '')) {
      response.writeHead(400).end(`no such message: ${read.error?.message ?? request.url}`);
      return;
    }
    taken.push(received);
    response.end('{}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  ends.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  const { port } = server.address() as AddressInfo;
  return { taken, url: `http://127.0.0.1:${port}${send}`, port };
}

function hook(options: Pick<WebhookOptions, 'url' | 'format'> & Partial<WebhookOptions>) {
  const clock = options.clock ?? new SystemClock();
  const lines: Array<{ event: string; error?: string }> = [];
  const telemetry = createTelemetry({
    level: 'debug',
    format: 'json',
    server: 'x',
    secrets: [],
    clock,
    stream: { write: (line) => lines.push(JSON.parse(line)) },
  });
  const webhook = new Webhook({
    events: ['session.stuck', 'server'],
    server: 'http://opencode.test:4096',
    page: 'http://127.0.0.1:4097/',
    telemetry,
    clock,
    limits: { gatherMs: 10, intervalMs: 20, backoffMs: 10 },
    ...options,
  });
  telemetry.subscribe((record) => webhook.take(record));
  ends.push(() => webhook.stop());
  const said = (event: string) => lines.filter((line) => line.event === event);
  const stuck = (title = 'Fix the build') =>
    telemetry.emit('session.stuck', { ...ses, title, reason: 'attempts', limit: 5, value: 5 });
  return { telemetry, said, stuck };
}
const ses = { sessionID: 'ses_1', directory: '/home/ada/shop' };

describe.each(Object.keys(SHAPES) as WebhookFormat[])('the format %s', (format) => {
  it('is taken by a receiver of the documented shape: one event, a digest, a long and a hostile one', async () => {
    const { taken, url } = await receiver(format);
    const { said, stuck } = hook({ url, format });
    stuck('@everyone <!channel> [x](http://evil) *b*');
    await waitFor(() => said('notify.sent').length === 1, { interval: 5 });
    for (let i = 0; i < 150; i++) stuck('é'.repeat(500));
    await waitFor(() => said('notify.sent').length === 2, { interval: 5, timeout: 20_000 });
    expect(said('notify.failed')).toEqual([]);
    expect(taken[0]).toContain('shop');
    expect(taken[0]).toContain('http://127.0.0.1:4097/');
    expect(taken[0]).not.toContain(format === 'slack' ? '<!channel>' : '\u0000');
  });
});

describe('what is told', () => {
  it('a refused message quotes what the service answered', async () => {
    const { port } = await receiver('slack');
    const { said, stuck } = hook({ url: `http://127.0.0.1:${port}/services/x`, format: 'discord' });
    stuck();
    await waitFor(() => said('notify.failed').length === 1, { interval: 5 });
    expect(said('notify.failed')[0]?.error).toMatch(/^status 400: no such message: /);
  });

  it('who was told of a beginning is told of its end, and only then', async () => {
    const { taken, url } = await receiver('json');
    const { said, stuck, telemetry } = hook({
      url,
      format: 'json',
      events: ['session.stuck'],
      minLevel: 'warn',
    });
    const recovered = () =>
      telemetry.emit('session.recovered', { ...ses, attempts: 2, episodeMs: 9 });
    recovered();
    stuck();
    await waitFor(() => said('notify.sent').length === 1, { interval: 5 });
    recovered();
    recovered();
    await waitFor(() => taken.length === 2, { interval: 5 });
    expect(taken.map((body) => JSON.parse(body).events.length)).toEqual([1, 1]);
    expect(taken[1]).toContain('✅');
  });

  describe('the end of what a session was in', () => {
    const ended = {
      ...ses,
      outcome: 'interrupted',
      steps: 3,
      tools: 2,
      toolErrors: 0,
      costUsd: 0,
      tokens: 0,
      tookMs: 9,
    } as const;
    const waiting = { ...ses, on: 'question', requestID: 'que_1' } as const;
    /** Emits the events, which lead to two messages. Returns the events of the second, and its text. */
    async function second(
      events: string[],
      first: (telemetry: Telemetry) => void,
      then: (telemetry: Telemetry) => void,
    ) {
      const { taken, url } = await receiver('json');
      const { said, telemetry } = hook({ url, format: 'json', events });
      first(telemetry);
      await waitFor(() => said('notify.sent').length === 1, { interval: 5 });
      then(telemetry);
      telemetry.emit('server.breaker_closed', { restarts: 0 });
      await waitFor(() => taken.length === 2, { interval: 5 });
      const { events: told, text } = JSON.parse(taken[1] ?? '');
      return { told: told.map(({ event }: { event: string }) => event), text: String(text) };
    }
    const LAST = 'server.breaker_closed';

    it('is the run’s end where no abort ended it, and nothing after it', async () => {
      const { told, text } = await second(
        ['session.wedged', LAST],
        ({ emit }) =>
          emit('session.wedged', { ...ses, reason: 'attempts', tries: 3, next: 'dispose' }),
        ({ emit }) => {
          emit('session.ended', ended);
          emit('session.recovered', { ...ses, attempts: 2, episodeMs: 9 });
        },
      );
      expect(told).toEqual(['session.ended', LAST]);
      expect(text).toContain('✅');
    });

    it('is the run’s end where nobody has answered', async () => {
      const { told } = await second(
        ['session.waiting', LAST],
        ({ emit }) => {
          emit('session.waiting', waiting);
          emit('session.waiting', { ...waiting, requestID: 'que_2' });
        },
        ({ emit }) => {
          emit('session.ended', { ...ended, sessionID: 'ses_10' });
          emit('session.ended', ended);
          emit('session.answered', { ...waiting, by: 'person', forMs: 9 });
        },
      );
      expect(told).toEqual(['session.ended', LAST]);
    });

    it('is the answer where it was stuck because it waited', async () => {
      const { told } = await second(
        ['session.stuck', LAST],
        ({ emit }) => emit('session.stuck', { ...ses, reason: 'waiting', limit: 5, value: 5 }),
        ({ emit }) => {
          emit('session.answered', { ...waiting, by: 'person', forMs: 9 });
          emit('session.ended', ended);
        },
      );
      expect(told).toEqual(['session.answered', LAST]);
    });

    it('is the last answer where it waited too long for several', async () => {
      const { told, text } = await second(
        ['session.stuck', LAST],
        ({ emit }) => emit('session.stuck', { ...ses, reason: 'waiting', limit: 5, value: 5 }),
        ({ emit }) => {
          const answer = { ...waiting, by: 'person', forMs: 9 } as const;
          emit('session.answered', { ...answer, overdue: 1 });
          emit('session.answered', { ...answer, requestID: 'que_2' });
        },
      );
      expect(told).toEqual(['session.answered', LAST]);
      expect(text).toContain('✅');
    });

    it('has no sign of one where there was no beginning', async () => {
      const { told, text } = await second(
        ['session', LAST],
        ({ emit }) => emit('session.recovered', { ...ses, attempts: 2, episodeMs: 9 }),
        ({ emit }) => emit('session.aborted', { ...ses, reason: 'manual', try: 1, tookMs: 9 }),
      );
      expect(told).toEqual(['session.aborted', LAST]);
      expect(text).not.toContain('✅');
    });
  });

  it('minLevel leaves the rest out', async () => {
    const { taken, url } = await receiver('json');
    const { said, telemetry } = hook({
      url,
      format: 'json',
      events: ['server'],
      minLevel: 'error',
    });
    telemetry.emit('server.restarting', {
      reason: 'manual',
      interrupted: [],
      restarts: 1,
      detail: '',
    });
    telemetry.emit('server.unresponsive', { failures: 3, lastError: 'timeout' });
    await waitFor(() => said('notify.sent').length === 1, { interval: 5 });
    expect(JSON.parse(taken[0] ?? '').events).toMatchObject([{ event: 'server.unresponsive' }]);
  });

  it('quiet hours hold all but what is urgent, which takes the rest with it', async () => {
    const { taken, url } = await receiver('json');
    const { said, stuck, telemetry } = hook({ url, format: 'json', quiet: '00:00-23:59' });
    telemetry.emit('server.restarting', {
      reason: 'manual',
      interrupted: [],
      restarts: 1,
      detail: '',
    });
    stuck();
    await waitFor(() => said('notify.sent').length === 1, { interval: 5 });
    expect(JSON.parse(taken[0] ?? '').events).toHaveLength(2);
  });
});
