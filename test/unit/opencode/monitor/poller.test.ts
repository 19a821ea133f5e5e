/** Polls and probes keep step where they can: each waking of an idle process costs as much as the request itself. */
import { expect, test } from 'vitest';
import type { Clock } from '../../../../src/lib/clock.js';
import { Poller } from '../../../../src/opencode/monitor/poller.js';
import { Prober } from '../../../../src/opencode/monitor/prober.js';
import type { OpencodeClient } from '../../../../src/opencode/v1/client.js';
import { ManualClock, settle } from '../support.js';

interface Options {
  probeMs: number;
  pollMs: number;
  /** How late each timer is, ms. */
  lateMs?: () => number;
}

function monitor({ probeMs, pollMs, lateMs = () => 0 }: Options) {
  const clock = new ManualClock();
  const late: Clock = {
    now: () => clock.now(),
    epoch: () => clock.epoch(),
    after: (ms, fn) => clock.after(ms + lateMs(), fn),
  };
  const probes: number[] = [];
  const polls: number[] = [];
  const client = {
    probe: async () => {
      probes.push(clock.now());
      return { kind: 'ok' };
    },
    statuses: async () => {
      polls.push(clock.now());
      return new Map();
    },
  } as unknown as OpencodeClient;
  const common = { client, clock: late, emit: () => {}, notice: () => {} };
  const poller = new Poller({
    ...common,
    intervalMs: pollMs,
    beatMs: probeMs,
    statusless: () => false,
    places: () => ['/p'],
  });
  const onBeat = () => poller.join();
  const prober = new Prober({ ...common, intervalMs: probeMs, timeoutMs: 3_000, onBeat });
  prober.start();
  poller.start();
  const stop = () => Promise.all([prober.stop(), poller.stop()]);
  return { clock, prober, poller, probes, polls, stop };
}

const gaps = (times: readonly number[]) => times.slice(1).map((at, i) => at - (times[i] ?? 0));

test('polls of the same rhythm are made in the moment of the probes, also where timers are late', async () => {
  let turn = 0;
  const { clock, probes, polls, stop } = monitor({
    probeMs: 5_000,
    pollMs: 5_000,
    lateMs: () => [1, 3, 0, 2][turn++ % 4] ?? 0,
  });
  await clock.advance(60_000);
  expect(polls.length).toBeGreaterThanOrEqual(11);
  for (const at of polls) expect(probes).toContain(at);
  for (const gap of gaps(polls)) expect(gap).toBeLessThanOrEqual(5_003);
  await stop();
});

test('after a probe out of turn the polls follow it, and are never further apart than their interval', async () => {
  const { clock, prober, probes, polls, stop } = monitor({ probeMs: 5_000, pollMs: 5_000 });
  await clock.advance(12_000);
  prober.hurry();
  await settle();
  await clock.advance(30_000);
  expect(probes.slice(-5)).toEqual(polls.slice(-5));
  expect(Math.max(...gaps(polls))).toBeLessThanOrEqual(5_050);
  await stop();
});

test('polls go on by themselves where no probe comes', async () => {
  const { clock, prober, polls, stop } = monitor({ probeMs: 5_000, pollMs: 5_000 });
  await prober.stop();
  await clock.advance(30_000);
  expect(polls.length).toBeGreaterThanOrEqual(5);
  expect(Math.max(...gaps(polls))).toBeLessThanOrEqual(5_050);
  await stop();
});

test('with rhythms of their own polls keep to theirs, and join a probe that comes shortly before', async () => {
  const often = monitor({ probeMs: 5_000, pollMs: 2_000 });
  await often.clock.advance(60_000);
  for (const gap of gaps(often.polls)) expect(gap).toBeLessThanOrEqual(2_000);
  expect(often.polls.length).toBeLessThanOrEqual(33);
  await often.stop();
  const rarely = monitor({ probeMs: 4_900, pollMs: 10_000 });
  await rarely.clock.advance(60_000);
  for (const at of rarely.polls) expect(rarely.probes).toContain(at);
  await rarely.stop();
});

test('polls that are rare are not made early for the first probes', async () => {
  const { clock, polls, stop } = monitor({ probeMs: 5_000, pollMs: 60_000 });
  await clock.advance(50_000);
  expect(polls).toEqual([]);
  await clock.advance(10_000);
  expect(polls).toHaveLength(1);
  await stop();
});

test('nothing is polled any more after the end', async () => {
  const { clock, poller, polls, stop } = monitor({ probeMs: 5_000, pollMs: 5_000 });
  await clock.advance(6_000);
  await stop();
  const before = polls.length;
  poller.join();
  await clock.advance(30_000);
  expect(polls).toHaveLength(before);
});
