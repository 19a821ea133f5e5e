/** One session, opened (`GET /sessions/:id`), the figures of the last days, and what of it needs the token. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { MAX_POINTS, Series, STEP_MS } from '../../../src/status/series.js';
import type { TelemetryRecord } from '../../../src/telemetry/logger.js';
import { openWorld, type StatusWorld } from '../../support/status-world.js';

let folder: string | undefined;
const worlds: StatusWorld[] = [];
afterEach(async () => {
  await Promise.all(worlds.splice(0).map((world) => world.close()));
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

async function world(secrets: Parameters<typeof openWorld>[0] = {}) {
  folder = mkdtempSync(join(tmpdir(), 'watchdog-session-route-'));
  const opened = await openWorld({ historyIn: folder, ...secrets });
  worlds.push(opened);
  // biome-ignore lint/suspicious/noExplicitAny: parsed JSON of a test
  const get = async (path: string, init: RequestInit = { headers: opened.headers }): Promise<any> =>
    (await fetch(`${opened.url}${path}`, init)).json();
  return { ...opened, get, source: opened.source };
}

const SUMMARY = {
  idle: 1,
  busy: 2,
  waiting: 1,
  delegating: 0,
  retrying: 1,
  looping: 0,
  stalled: 0,
  stuck: 1,
  wedged: 0,
  eventsPerSec: 1,
  watchdogMemoryBytes: 8e7,
  serverMemoryBytes: 5e8,
  restarts: 0,
  costTodayUsd: 1.5,
  tokensToday: 10,
};

it('has its row, its subagents, its events and the end of its transcript', async () => {
  const w = await world();
  w.health('ses_1', 'busy', { title: 'Fix it', directory: '/home/ada/shop', silentMs: 130_000 });
  w.health('ses_2', 'busy', { title: 'Explore', parentID: 'ses_1' });
  w.source.excerpts.set('ses_1', {
    lastWords: 'I run the tests, with the-token-of-this-world.',
    tool: { tool: 'bash', input: 'npm test' },
    messages: [{ role: 'user', text: 'private words', tools: [] }],
  });
  const found = await w.get('/sessions/ses_1');
  expect(found.session).toMatchObject({ id: 'ses_1', title: 'Fix it', toolInput: 'npm test' });
  expect(found.session.quietSince).toBeLessThan(Date.now() - 120_000);
  expect(found.session.lastWords).toContain('I run the tests');
  expect(found.children).toMatchObject([{ id: 'ses_2', title: 'Explore' }]);
  expect(found.messages).toMatchObject([{ role: 'user', text: 'private words' }]);
  // A secret that a model repeats is none the less one.
  expect(JSON.stringify(found)).not.toContain('the-token-of-this-world');

  const bare = await w.get('/sessions/ses_1', {});
  expect(bare.session).toMatchObject({ id: 'ses_1', health: 'busy' });
  expect(bare.withheld).toContain('need the token');
  expect(JSON.stringify(bare)).not.toMatch(/private words|Fix it|shop|npm test|I run/);
});

it('of OpenCode 2 no address is given but that of the server: where its page has a session is not known', async () => {
  const w = await world();
  w.source.facts = { ...w.source.facts, version: '2.0.26', api: 2 };
  w.health('ses_1', 'busy', { title: 'Fix it', directory: '/home/ada/shop' });
  const { server, ...rest } = await w.get('/status');
  expect(server).toMatchObject({ version: '2.0.26', api: 2, url: 'http://opencode.test:4096' });
  expect(rest.sessions).toHaveLength(1);
  const opened = await w.get('/sessions/ses_1');
  expect(JSON.stringify([rest, opened])).not.toMatch(/https?:/);
});

it('an unknown session, and what is no id, is 404', async () => {
  const w = await world();
  for (const id of ['ses_none', '..%2fstatus', 'a%20b']) {
    const answer = await fetch(`${w.url}/sessions/${id}`, { headers: w.headers });
    expect(answer.status, id).toBe(404);
  }
});

it('an idle row says who ended its run, and when', async () => {
  const w = await world();
  const ended = { steps: 1, tools: 0, toolErrors: 0, costUsd: 0, tokens: 0, tookMs: 9 };
  w.health('ses_1', 'busy', {});
  w.telemetry.emit('act.requested', { act: 'abort', by: 'page', sessionID: 'ses_1' });
  w.health('ses_1', 'idle');
  w.telemetry.emit('session.ended', {
    sessionID: 'ses_1',
    outcome: 'aborted',
    reason: 'manual',
    ...ended,
  });
  w.health('ses_2', 'busy', {});
  w.telemetry.emit('session.interrupted', {
    sessionID: 'ses_2',
    by: 'restart',
    restartReason: 'exited',
    health: 'busy',
  });
  w.health('ses_2', 'idle');
  w.telemetry.emit('session.ended', { sessionID: 'ses_2', outcome: 'interrupted', ...ended });
  const { sessions } = await w.get('/status');
  expect(sessions).toEqual(
    expect.arrayContaining([
      expect.objectContaining({ id: 'ses_1', endedBy: 'page', endedAt: expect.any(Number) }),
      expect.objectContaining({ id: 'ses_2', endedBy: 'exited', outcome: 'interrupted' }),
    ]),
  );
});

it('sessions at work are looked at where somebody asks for the status', async () => {
  const w = await world();
  w.health('ses_1', 'busy', {});
  w.health('ses_2', 'stuck', {});
  await w.get('/status');
  expect(w.source.wanted.at(-1)).toEqual(['ses_2', 'ses_1']);
});

it('/history?only=series has the figures of the last days', async () => {
  const w = await world();
  w.telemetry.emit('health.summary', SUMMARY);
  w.telemetry.emit('health.summary', {
    ...SUMMARY,
    busy: 0,
    serverMemoryBytes: 6e8,
    costTodayUsd: 2,
  });
  const { series, stepMs } = await w.get('/history?since=24h&only=series');
  expect(stepMs).toBe(STEP_MS);
  expect(series).toMatchObject([
    { active: 5, retrying: 1, stuck: 1, memoryBytes: 6e8, costTodayUsd: 2 },
  ]);
  expect((await w.get('/history?only=everything')).error).toContain('expected series');
});

it('the figures are bounded to a week', () => {
  const series = new Series();
  for (let i = 0; i < MAX_POINTS + 10; i += 1) {
    series.take({
      event: 'health.summary',
      level: 'info',
      msg: '',
      time: i * STEP_MS,
      fields: SUMMARY,
    } as TelemetryRecord);
  }
  expect(series.since(0)).toHaveLength(MAX_POINTS);
  expect(series.since(0)[0]?.at).toBe(10 * STEP_MS);
});
