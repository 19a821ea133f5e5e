/** Metrics, alert rules and dashboard: Prometheus's own tool accepts them, and they use the same names. */
import { execFile, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openWorld, type StatusWorld } from '../support/status-world.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const read = (path: string) => readFileSync(root + path, 'utf8');
const found = spawnSync('promtool', ['--version']).status === 0;
const NO_PROMTOOL = found
  ? ''
  : ' (skipped: promtool is not installed; Debian has it in "prometheus")';

let world: StatusWorld;
let metrics: string;

beforeAll(async () => {
  world = await openWorld();
  const { telemetry, source } = world;
  const session = { sessionID: 'ses_1' };
  world.health('ses_1', 'busy');
  world.health('ses_1', 'retrying', { attempt: 2 });
  telemetry.emit('session.stuck', { ...session, reason: 'attempts', limit: 5, value: 5 });
  telemetry.emit('session.abort_failed', { ...session, reason: 'attempts', try: 1, error: 'x' });
  telemetry.emit('session.aborted', { ...session, reason: 'attempts', try: 2, tookMs: 40 });
  telemetry.emit('session.stuck', { ...session, reason: 'silence', limit: 5, value: 5 });
  telemetry.emit('session.wedged', { ...session, reason: 'silence', tries: 3, next: 'restart' });
  telemetry.emit('session.failed', { ...session, error: 'x', attempts: 1 });
  telemetry.emit('server.exited', { code: 1, signal: null });
  telemetry.emit('server.restarting', {
    reason: 'exited',
    interrupted: ['ses_1'],
    restarts: 1,
    detail: '',
  });
  telemetry.emit('session.interrupted', {
    ...session,
    by: 'restart',
    restartReason: 'exited',
    health: 'wedged',
  });
  telemetry.emit('server.restart_failed', { reason: 'exited', error: 'x' });
  telemetry.emit('server.breaker_open', { reason: 'exited', restarts: 5, cooldownMs: 1 });
  telemetry.emit('server.healthy', {});
  for (let i = 0; i < 3; i += 1) telemetry.emit('stream.connected', { path: '/global/event' });
  for (let i = 0; i < 80; i += 1) {
    const outage = { provider: `p${i}`, model: 'm', sessions: 3, message: 'x' };
    telemetry.emit('provider.outage', outage);
  }
  telemetry.emit('log.dropped', { lines: 4 });
  telemetry.emit('notify.sent', { host: 'x', events: 1, tries: 1 });
  telemetry.emit('session.aborted', { sessionID: 'ses_2', reason: 'manual', try: 1, tookMs: 40 });
  source.observations.set('probe.ok', 12);
  source.probe(3);
  metrics = await (await fetch(`${world.url}/metrics`)).text();
});
afterAll(() => world.close());

/** The value of a metric's first sample with these labels. */
function value(name: string, labels = ''): number {
  const lines = metrics.split('\n').filter((line) => line.startsWith(`opencode_watchdog_${name}`));
  const line = lines.find((each) => each.includes(labels));
  if (line === undefined) throw new Error(`no ${name}{${labels}}`);
  return Number(line.slice(line.lastIndexOf(' ') + 1));
}

describe('metrics', () => {
  it('count what happened', () => {
    expect(value('retry_episodes_total')).toBe(1);
    expect(value('stuck_sessions_total', 'reason="attempts"')).toBe(1);
    expect(value('aborts_total', 'reason="attempts",result="done"')).toBe(1);
    expect(value('aborts_total', 'reason="attempts",result="failed"')).toBe(1);
    expect(value('aborts_total', 'reason="manual",result="done"')).toBe(1);
    expect(value('abort_duration_seconds_count')).toBe(1);
    expect(value('server_restarts_total', 'reason="exited"')).toBe(1);
    expect(value('server_restarts_total', 'reason="memory"')).toBe(0);
    expect(value('server_restart_failures_total', 'reason="exited"')).toBe(1);
    expect(value('server_recovery_duration_seconds_count')).toBe(1);
    expect(value('interrupted_runs_total', 'reason="exited"')).toBe(1);
    expect(value('breaker_opened_total')).toBe(1);
    expect(value('stream_reconnects_total')).toBe(2);
    expect(value('log_dropped_lines_total')).toBe(4);
    expect(value('observations_total', 'kind="probe.ok"')).toBe(12);
    expect(value('probe_duration_seconds_sum')).toBeCloseTo(0.003);
    expect(value('sessions', 'health="retrying"')).toBe(1);
    expect(value('server_up')).toBe(1);
    expect(value('server_health', 'health="healthy"')).toBe(1);
    expect(value('server_resident_memory_bytes')).toBe(440_401_920);
    expect(value('build_info', 'version="0.1.0"')).toBe(1);
  });

  it('have few series, whatever providers and sessions there are', () => {
    const series = metrics.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    expect(series.length).toBeLessThan(400);
    expect(series.filter((line) => line.includes('provider_outage{'))).toHaveLength(51);
    expect(metrics).not.toContain('ses_');
  });

  it.skipIf(!found)(`pass promtool check metrics${NO_PROMTOOL}`, () => {
    const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], {
      input: metrics,
    });
    expect(`${stdout}${stderr}`).toBe('');
    expect(status).toBe(0);
  });
});

describe('alert rules and dashboard', () => {
  it.skipIf(!found)(`pass their unit tests${NO_PROMTOOL}`, async () => {
    const out = await new Promise<string>((resolve) => {
      execFile(
        'promtool',
        ['test', 'rules', 'deploy/prometheus/rules.test.yaml'],
        { cwd: root },
        (_error, stdout, stderr) => resolve(stdout + stderr),
      );
    });
    expect(out).toContain('SUCCESS');
    expect(out).not.toContain('FAILED');
  });

  it.each(['deploy/prometheus/rules.yaml', 'deploy/grafana/dashboard.json', 'docs/status.md'])(
    '%s names only metrics that there are',
    (path) => {
      const known = new Set([...metrics.matchAll(/^# TYPE (\w+)/gm)].map(([, name]) => name));
      const named = [...read(path).matchAll(/opencode_watchdog_\w+/g)].map(([name]) => name);
      expect(named.length).toBeGreaterThan(9);
      const unknown = named.filter(
        (name) => !known.has(name) && !known.has(name.replace(/_(bucket|count|sum)$/, '')),
      );
      expect(unknown).toEqual([]);
    },
  );

  it('docs/status.md explains every metric', () => {
    const page = read('docs/status.md');
    const known = [...metrics.matchAll(/^# TYPE (\w+)/gm)].map(([, name]) => name!);
    expect(known.filter((name) => !new RegExp(`${name}\\b`).test(page))).toEqual([]);
  });

  it('each alert of the rules has a test', () => {
    const names = [...read('deploy/prometheus/rules.yaml').matchAll(/alert: (\w+)/g)];
    const tests = read('deploy/prometheus/rules.test.yaml');
    for (const [, name] of names)
      expect(tests.split(`alertname: ${name}`).length, name).toBeGreaterThan(2);
  });

  it('the dashboard lays its panels side by side, each with a question to Prometheus', () => {
    const { panels } = JSON.parse(read('deploy/grafana/dashboard.json'));
    const taken = new Set<string>();
    for (const { type, title, gridPos, targets } of panels) {
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
          expect(taken.has(`${x},${y}`), `${title} overlaps`).toBe(false);
          taken.add(`${x},${y}`);
        }
      }
      if (type !== 'row') expect(targets.length, title).toBeGreaterThan(0);
    }
  });
});
