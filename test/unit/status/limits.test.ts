/** What the status endpoint remembers and says is bounded, whatever the log brings. */
import { describe, expect, it } from 'vitest';
import { Secret } from '../../../src/config/secret.js';
import { SystemClock } from '../../../src/lib/clock.js';
import { createRedactor, lengthOf } from '../../../src/lib/redaction.js';
import { EventCounters, MAX_PENDING, MAX_PROVIDERS } from '../../../src/status/counters.js';
import { KEPT, LoopLag } from '../../../src/status/event-loop-lag.js';
import { MAX_RESTARTS, MAX_STATES, ServerHistory } from '../../../src/status/history.js';
import { Incidents, MAX_INCIDENTS, MAX_SAYS, MAX_STEPS } from '../../../src/status/incidents.js';
import { Instruments } from '../../../src/status/instruments.js';
import type { StatusJson } from '../../../src/status/json.js';
import { MAX_EARLY, openStatus } from '../../../src/status/open.js';
import { MAX_TEXT } from '../../../src/status/view.js';
import { createTelemetry, type TelemetryRecord } from '../../../src/telemetry/logger.js';
import { FakeClock } from '../../support/fake-clock.js';
import { freePort } from '../../support/ports.js';
import { TestSource } from '../../support/status-world.js';
import { waitFor } from '../../support/wait.js';

const LONG = 'x'.repeat(8_192);
const record = (event: string, fields: object, time = 0) =>
  ({ event, level: 'warn', time, msg: LONG, fields }) as unknown as TelemetryRecord;

describe('incidents', () => {
  it('are bounded in number, steps and words', () => {
    const incidents = new Incidents();
    const stuck = (n: number) =>
      record('session.stuck', { sessionID: `s${n}`, reason: 'silence', limit: 1, value: 2 });
    for (let n = 0; n < 2 * MAX_INCIDENTS; n += 1) {
      incidents.take(stuck(n));
      for (let step = 0; step < 2 * MAX_STEPS; step += 1) {
        incidents.take(record('session.aborting', { sessionID: `s${n}`, reason: 'silence' }));
      }
    }
    expect(incidents.list).toHaveLength(MAX_INCIDENTS);
    expect(incidents.openCount).toBe(MAX_INCIDENTS);
    for (const { says, steps } of incidents.list) {
      expect(says).toHaveLength(MAX_SAYS);
      expect(steps).toHaveLength(MAX_STEPS);
      expect(steps.at(-1)?.says).toHaveLength(MAX_SAYS);
    }
    // The daemon's own command reads at most 16 MiB.
    expect(JSON.stringify(incidents.list).length).toBeLessThan(4_000_000);
  });
});

describe('the server’s history', () => {
  it('is bounded in states, restarts and points of the memory curve', () => {
    const history = new ServerHistory();
    for (let n = 0; n < 3 * MAX_STATES; n += 1) {
      history.take(record(n % 2 ? 'server.healthy' : 'server.exited', {}, n));
    }
    expect(history.states).toHaveLength(MAX_STATES);
    const fields = { reason: 'exited', interrupted: [], detail: '', restarts: 1 };
    for (let n = 0; n < 3 * MAX_RESTARTS; n += 1) history.take(record('server.restarting', fields));
    expect(history.restarts).toHaveLength(MAX_RESTARTS);
    for (let n = 0; n < 10_000; n += 1) history.remember(n * 1_000, 1);
    expect(history.memory.length).toBeLessThanOrEqual(361);
  });

  it('counts the sessions of a restart that are too many to be listed', () => {
    const history = new ServerHistory();
    const ids = Array.from({ length: 250 }, (_, n) => `s${n}`);
    const interrupted = createRedactor([]).value(ids) as string[];
    expect([interrupted.length, lengthOf(interrupted), lengthOf(ids)]).toEqual([101, 250, 250]);
    history.take(record('server.restarting', { reason: 'wedged', interrupted, detail: '' }));
    expect(history.restarts[0]?.interrupted).toBe(250);
  });
});

it('the metrics name a bounded number of providers, the rest as one', async () => {
  const make = new Instruments();
  const counters = new EventCounters(make, { onProbe: () => {} });
  for (let n = 0; n < 3 * MAX_PROVIDERS; n += 1) {
    const outage = { provider: `p${n}`, model: 'm', sessions: 3, message: '' };
    counters.take(record('provider.outage', outage));
  }
  const text = await make.registry.getSingleMetricAsString('opencode_watchdog_provider_outage');
  const providers = [...text.matchAll(/provider="(\w+)"/g)].map(([, name]) => name);
  expect(providers).toHaveLength(MAX_PROVIDERS + 1);
  expect(providers).toContain('other');
});

it('the beginnings of trouble are remembered of a bounded number of sessions', async () => {
  const make = new Instruments();
  const counters = new EventCounters(make, { onProbe: () => {} });
  const about = (n: number) => ({ sessionID: `s${n}`, reason: 'silence', limit: 1, value: 2 });
  for (let n = 0; n < 3 * MAX_PENDING; n += 1) counters.take(record('session.stuck', about(n)));
  for (let n = 0; n < 3 * MAX_PENDING; n += 1) counters.take(record('session.aborted', about(n)));
  // How long an abort took is known of the newest alone.
  expect(await make.registry.metrics()).toContain(
    `opencode_watchdog_abort_duration_seconds_count ${MAX_PENDING}\n`,
  );
});

it('the loop’s lag is that of the last half minute', async () => {
  const clock = new FakeClock();
  const late = clock.now.bind(clock);
  let lateness = 500;
  clock.now = () => late() + lateness;
  const lag = new LoopLag(clock);
  // It is measured from beat to beat.
  await clock.advance(1_000);
  lateness = 1_200;
  await clock.advance(1_000);
  expect(lag.worstMs).toBe(700);
  await clock.advance(KEPT * 1_000);
  expect(lag.worstMs).toBe(0);
  lag.stop();
});

it('a row’s texts are cut, and the early events are bounded while the endpoint loads', async () => {
  const source = new TestSource();
  const clock = new SystemClock();
  source.active.set('s', { sessionID: 's', health: 'busy', forMs: 1, since: 0, title: LONG });
  const redactor = createRedactor([]);
  const lines: { event: string }[] = [];
  const telemetry = createTelemetry({
    level: 'debug',
    format: 'json',
    server: 'http://x',
    secrets: [],
    clock,
    stream: { write: (text) => lines.push(JSON.parse(text)) },
  });
  const port = await freePort();
  const status = openStatus({
    source,
    telemetry,
    clock,
    redactor,
    address: { kind: 'tcp', host: '127.0.0.1', port, loopback: true },
    token: new Secret('a-token'),
    version: '0',
    url: 'http://x',
  });
  const fields = { sessionID: 's', reason: 'silence', limit: 1, value: 2 } as const;
  for (let n = 0; n < 2 * MAX_EARLY; n += 1) telemetry.emit('session.stuck', fields);
  await waitFor(() => lines.some(({ event }) => event === 'status.listening'), { interval: 5 });
  const answer = await (
    await fetch(`http://127.0.0.1:${port}/status`, { headers: { authorization: 'Bearer a-token' } })
  ).json();
  const { counters, sessions } = answer as StatusJson;
  expect(counters.stuck).toBeLessThanOrEqual(MAX_EARLY);
  expect(counters.stuck).toBeGreaterThan(0);
  expect(sessions[0]?.title).toBe(`${'x'.repeat(MAX_TEXT)}… (${LONG.length} characters)`);
  await status.close();
  clock.stop();
});
