/** What happened before the daemon started: on the page and at `GET /history`. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { openWorld, type StatusWorld } from '../../support/status-world.js';

const folder = mkdtempSync(join(tmpdir(), 'watchdog-history-route-'));
const worlds: StatusWorld[] = [];
afterEach(async () => {
  await Promise.all(worlds.splice(0).map((world) => world.close()));
  rmSync(folder, { recursive: true, force: true });
});

async function world(directory: string) {
  const opened = await openWorld({ historyIn: directory });
  worlds.push(opened);
  return opened;
}
const ses = { sessionID: 'ses_1', title: 'Fix it', directory: '/home/ada/shop' };

it('incidents, restarts and the last hour are those of the daemon before, and end with it', async () => {
  const before = await world(folder);
  before.health('ses_1', 'busy', ses);
  before.telemetry.emit('session.stuck', { ...ses, reason: 'attempts', limit: 5, value: 5 });
  const reason = 'manual' as const;
  const restart = { reason, interrupted: ['ses_1'], restarts: 1, detail: '' };
  before.telemetry.emit('server.restarting', restart);
  before.telemetry.emit('server.restarted', { reason: 'manual', tookMs: 40 });
  before.telemetry.emit('server.restarting', restart);
  await before.close();

  const { url, headers } = await world(folder);
  // biome-ignore lint/suspicious/noExplicitAny: parsed JSON of a test
  const status: any = await (await fetch(`${url}/status`, { headers })).json();
  expect(status.incidents).toMatchObject([
    { kind: 'stuck', title: 'Fix it', outcome: 'unwatched' },
  ]);
  expect(status.openIncidents).toBe(0);
  const { at } = status.restarts[0];
  expect(status.restarts).toEqual([
    { reason: 'manual', interrupted: 1, at, endUnseen: true },
    { reason: 'manual', interrupted: 1, at: status.restarts[1].at, tookMs: 40 },
  ]);
  expect(status.sessions).toMatchObject([{ id: 'ses_1', health: 'idle', title: 'Fix it' }]);
  // Counters are this daemon's own.
  expect(status.counters).toMatchObject({ stuck: 0, restarts: 0 });
});

it('the time in which no daemon watched is shown as unknown, and nothing lasts into it', async () => {
  const MINUTE_MS = 60_000;
  const start = Date.now() - 50 * MINUTE_MS;
  const at = (minute: number) => new Date(start + minute * MINUTE_MS).toISOString();
  const line = (minute: number, event: string, fields: object) =>
    `${JSON.stringify({ level: 'warn', time: at(minute), event, msg: '', ...fields })}\n`;
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  writeFileSync(
    join(folder, 'history.ndjson'),
    [
      line(0, 'server.healthy', { version: '1.18.33' }),
      line(1, 'session.stuck', { ...ses, reason: 'attempts', limit: 5, value: 5 }),
      line(2, 'provider.outage', { provider: 'p', model: 'm', sessions: 1, message: '' }),
      // The next daemon's first words are not of the watch before it.
      line(31, 'server.notice', { notice: 'dry_run' }),
      line(32, 'daemon.started', { version: '0.2.0', pid: 1, config: {} }),
      line(33, 'server.healthy', { version: '1.18.33' }),
    ].join(''),
    { mode: 0o600 },
  );
  const { url, headers } = await world(folder);
  // biome-ignore lint/suspicious/noExplicitAny: parsed JSON of a test
  const status: any = await (await fetch(`${url}/status`, { headers })).json();
  expect(status.history.states).toEqual([
    [Date.parse(at(0)), 'healthy'],
    [Date.parse(at(2)), 'unknown'],
    [Date.parse(at(33)), 'healthy'],
    [Date.parse(at(33)), 'unknown'],
  ]);
  expect(status.incidents).toMatchObject([
    { kind: 'outage', outcome: 'unwatched', endedAt: at(2) },
    { kind: 'stuck', outcome: 'unwatched', endedAt: at(2) },
  ]);
});

it('/history gives the events since a moment, with content only to whoever shows the token', async () => {
  const { telemetry, url, headers } = await world(folder);
  telemetry.emit('session.stuck', {
    ...ses,
    reason: 'attempts',
    limit: 5,
    value: 5,
    message: 'private words',
  });
  const ask = async (query: string, init: RequestInit = { headers }) => {
    const response = await fetch(`${url}/history${query}`, init);
    // biome-ignore lint/suspicious/noExplicitAny: parsed JSON of a test
    return { status: response.status, body: (await response.json()) as any };
  };
  const { body } = await ask('?since=1h');
  expect(body).toMatchObject({
    complete: true,
    events: [{ event: 'session.stuck', title: 'Fix it', level: 'warn', reason: 'attempts' }],
  });
  expect(Date.parse(body.until) - Date.parse(body.since)).toBe(3_600_000);
  const later = new Date(Date.now() + 60_000).toISOString();
  expect((await ask(`?since=${later}`)).body.events).toEqual([]);
  expect((await ask('')).body.events).toHaveLength(1);

  const bare = (await ask('', {})).body;
  expect(bare.events).toMatchObject([{ event: 'session.stuck', sessionID: 'ses_1', value: 5 }]);
  expect(bare.withheld).toContain('need the token');
  expect(JSON.stringify(bare)).not.toMatch(/private words|Fix it|shop/);
  for (const bad of ['yesterday', '1h&since=2h', '', '999999999999d', `${'9'.repeat(400)}d`]) {
    expect((await ask(`?since=${bad}`)).status, bad).toBe(400);
  }
});

it('the model of an outage, which is its reason, is given only to whoever shows the token', async () => {
  const { telemetry, url, headers } = await world(folder);
  const model = { provider: 'openai', model: 'gpt-5' };
  telemetry.emit('provider.outage', { ...model, sessions: 1, message: '' });
  telemetry.emit('session.stuck', { ...ses, reason: 'tool_time', limit: 5, value: 5 });
  const ask = async (path: string, init: RequestInit) =>
    (await fetch(`${url}${path}`, init)).text();
  expect(await ask('/status', { headers })).toContain('openai/gpt-5');
  const bare = await ask('/status', {});
  expect(JSON.parse(bare).incidents).toMatchObject([
    { kind: 'stuck', reason: 'tool_time' },
    { kind: 'outage' },
  ]);
  expect(`${bare} ${await ask('/history', {})}`).not.toMatch(/openai|gpt-5/);
});
