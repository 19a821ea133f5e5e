import { expect, test } from 'vitest';
import { MAX_SAMPLES, MemoryMonitor, SAMPLE_EVERY_MS } from '../../../src/daemon/memory-monitor.js';
import { FakeClock } from '../../support/fake-clock.js';

test('the trend of the server’s memory is that of the last half hour', async () => {
  const clock = new FakeClock();
  let bytes = 0;
  const watch = new MemoryMonitor({
    clock,
    config: { maxMemory: 0 },
    measure: async () => bytes,
    onLimit: () => {},
  });
  const sample = async (growth: number) => {
    bytes += growth;
    await clock.advance(SAMPLE_EVERY_MS);
    await watch.sample();
  };
  for (let n = 0; n < 50; n += 1) await sample(1_000_000);
  expect(watch.growthPerHour).toBeGreaterThan(100_000_000);
  for (let n = 0; n < MAX_SAMPLES; n += 1) await sample(0);
  expect(watch.growthPerHour).toBe(0);
});
