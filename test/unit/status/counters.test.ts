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
