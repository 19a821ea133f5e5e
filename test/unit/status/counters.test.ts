/** What the metrics say of several troubles at once. */
import { expect, it } from 'vitest';
import { EventCounters, MAX_PROVIDERS } from '../../../src/status/counters.js';
import { Instruments } from '../../../src/status/instruments.js';
import type { TelemetryRecord } from '../../../src/telemetry/logger.js';

function counted() {
  const make = new Instruments();
  const counters = new EventCounters(make, { onProbe: () => {} });
  const take = (event: string, fields: object, time = 0) =>
    counters.take({ event, level: 'warn', time, msg: '', fields } as unknown as TelemetryRecord);
  const value = async (name: string, labels = '') => {
    const text = await make.registry.getSingleMetricAsString(`opencode_watchdog_${name}`);
    const line = text.split('\n').find((each) => !each.startsWith('#') && each.includes(labels));
    return Number(line?.slice(line.lastIndexOf(' ') + 1));
  };
  return { take, value };
}

it('a provider is out as long as one of its models is', async () => {
  const { take, value } = counted();
  const out = () => value('provider_outage', 'provider="p"');
  take('provider.outage', { provider: 'p', model: 'a' });
  take('provider.outage', { provider: 'p', model: 'b' });
  take('provider.back', { provider: 'p', model: 'b' });
  expect(await out()).toBe(1);
  take('provider.back', { provider: 'p', model: 'a' });
  expect(await out()).toBe(0);
});

it('the providers beyond the limit are out as long as one of them is', async () => {
  const { take, value } = counted();
  for (let n = 0; n < MAX_PROVIDERS + 2; n += 1)
    take('provider.outage', { provider: `p${n}`, model: 'm' });
  take('provider.back', { provider: `p${MAX_PROVIDERS}`, model: 'm' });
  expect(await value('provider_outage', 'provider="other"')).toBe(1);
  take('provider.back', { provider: `p${MAX_PROVIDERS + 1}`, model: 'm' });
  expect(await value('provider_outage', 'provider="other"')).toBe(0);
});

it('the time to an abort is that of the run that crossed the limit, and no person’s', async () => {
  const { take, value } = counted();
  const seconds = (what: string) => value('abort_duration_seconds', `seconds_${what}`);
  const stuck = (sessionID: string, at: number) =>
    take('session.stuck', { sessionID, reason: 'loop' }, at);
  stuck('s1', 0);
  take('session.ended', { sessionID: 's1' }, 1_000);
  take('session.aborted', { sessionID: 's1', reason: 'silence' }, 86_400_000);
  stuck('s2', 0);
  take('session.recovered', { sessionID: 's2' }, 1_000);
  take('session.aborted', { sessionID: 's2', reason: 'silence' }, 86_400_000);
  stuck('s3', 0);
  take('session.aborted', { sessionID: 's3', reason: 'manual' }, 86_400_000);
  expect(await seconds('count')).toBe(0);
  stuck('s4', 0);
  take('session.aborted', { sessionID: 's4', reason: 'loop' }, 2_000);
  expect([await seconds('count'), await seconds('sum')]).toEqual([1, 2]);
});

it('a negative value does not fail the scrape', async () => {
  const make = new Instruments();
  make.follow('cost_usd', 'Cost.', (set) => set({}, -0.001));
  expect(await make.registry.metrics()).toContain('opencode_watchdog_cost_usd_total 0');
});
