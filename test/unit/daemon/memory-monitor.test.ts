import { expect, test } from 'vitest';
import { MAX_SAMPLES, MemoryMonitor, SAMPLE_EVERY_MS } from '../../../src/daemon/memory-monitor.js';
import { FakeClock } from '../../support/fake-clock.js';

test('the trend of the server’s memory is that of the last half hour', async () => {
  const clock = new FakeClock();
  let bytes = 0;
  const watch = new MemoryMonitor({
    clock,
    config: { maxMemory: 0, maxProcesses: 0 },
    measure: async () => ({ bytes }),
    onLimit: () => {},
    onWithin: () => {},
    onGrowing: () => {},
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

/** A server of 400 MiB with one child, and what is said and asked of it. */
function server(limits: Partial<{ maxMemory: number; maxProcesses: number }> = {}) {
  const clock = new FakeClock();
  const usage = {
    isRead: true,
    bytes: 400 * 1024 ** 2,
    processes: 3,
    children: [{ name: 'node mcp.js', pid: 7, bytes: 90 * 1024 ** 2 }],
  };
  const asked: string[] = [];
  const said: number[] = [];
  const monitor = new MemoryMonitor({
    clock,
    config: { maxMemory: 0, maxProcesses: 0, ...limits },
    measure: async () => (usage.isRead ? usage : undefined),
    onLimit: (reason) => asked.push(reason),
    onWithin: (reason) => asked.push(`no ${reason}`),
    onGrowing: (bytesPerHour, children) => {
      expect(children).toEqual(usage.children);
      said.push(bytesPerHour);
    },
  });
  /** Minutes go by, and it grows by so much each. */
  const pass = async (minutes: number, mibPerMinute = 0) => {
    for (let n = 0; n < (minutes * 60_000) / SAMPLE_EVERY_MS; n += 1) {
      usage.bytes += (mibPerMinute * 1024 ** 2 * SAMPLE_EVERY_MS) / 60_000;
      await clock.advance(SAMPLE_EVERY_MS);
      await monitor.sample();
    }
  };
  return { monitor, usage, asked, said, pass };
}

test('growth is said when it has lasted for 15 minutes, and again an hour later at the earliest', async () => {
  const { said, pass } = server();
  await pass(14, 10);
  expect(said).toEqual([]);
  await pass(3, 10);
  expect(said).toHaveLength(1);
  expect(said[0]).toBeGreaterThan(500 * 1024 ** 2);
  await pass(50, 10);
  expect(said).toHaveLength(1);
  await pass(12, 10);
  expect(said).toHaveLength(2);
});

test('a large server that breathes is not said to grow', async () => {
  const { said, pass } = server();
  await pass(40, 1);
  expect(said).toEqual([]);
});

test('too many processes in two samples in a row are a reason for a restart, one sample is none', async () => {
  const { usage, asked, pass, monitor } = server({ maxProcesses: 10 });
  usage.processes = 11;
  await pass(0.5);
  usage.processes = 4;
  await pass(0.5);
  expect(asked).toEqual([]);
  usage.processes = 11;
  await pass(1);
  expect(asked).toEqual(['processes']);
  expect(monitor.processes).toBe(11);
});

test('the first sample within the limit again withdraws what was asked for, once', async () => {
  const { usage, asked, pass } = server({ maxMemory: 1024 ** 3, maxProcesses: 10 });
  usage.bytes = 2 * 1024 ** 3;
  await pass(1);
  expect(asked).toEqual(['memory']);
  // While it cannot be read, nothing is known.
  usage.isRead = false;
  await pass(1);
  expect(asked).toEqual(['memory']);
  Object.assign(usage, { isRead: true, bytes: 1024 ** 3 });
  await pass(2);
  expect(asked).toEqual(['memory', 'no memory']);
  usage.processes = 11;
  await pass(1);
  usage.processes = 10;
  await pass(1);
  expect(asked).toEqual(['memory', 'no memory', 'processes', 'no processes']);
});
