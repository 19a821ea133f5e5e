/** The rhythm of the health probes: steady, and ever slower for a server that is not understood. */
import { expect, test } from 'vitest';
import { Prober } from '../../../../src/opencode/monitor/prober.js';
import type { OpencodeClient, ProbeResult } from '../../../../src/opencode/v1/client.js';
import { ManualClock } from '../support.js';

const STRANGE: ProbeResult = {
  kind: 'unsupported',
  answered: 'GET /global/health 200 text/html',
  means: 'it is a web page',
  error: 'not understood',
};

/** The seconds between the probes of ten minutes, where the server answers each as `answer` says. */
async function pauses(answer: (nth: number) => ProbeResult): Promise<number[]> {
  const clock = new ManualClock();
  const times: number[] = [];
  const client = {
    probe: async () => {
      times.push(clock.now());
      return answer(times.length);
    },
  } as unknown as OpencodeClient;
  const prober = new Prober({ client, clock, intervalMs: 5_000, timeoutMs: 3_000, emit: () => {} });
  prober.start();
  for (let second = 0; second < 600; second++) await clock.advance(1_000);
  await prober.stop();
  return times.slice(1).map((at, i) => (at - (times[i] ?? 0)) / 1_000);
}

test('a server that is not understood is asked in the usual rhythm five times, then ever less, up to every 30 s', async () => {
  const seen = await pauses(() => STRANGE);
  expect(seen.slice(0, 10)).toEqual([5, 5, 5, 5, 5, 10, 20, 30, 30, 30]);
  expect(Math.max(...seen)).toBe(30);
});

test('one good answer brings the usual rhythm back', async () => {
  const seen = await pauses((nth) => (nth === 9 ? { kind: 'ok', version: '1.18.33' } : STRANGE));
  expect(seen.slice(6, 15)).toEqual([20, 30, 5, 5, 5, 5, 5, 5, 10]);
});

test('a server that fails, or says that it is starting, is asked in the usual rhythm for as long as it does', async () => {
  const down: ProbeResult = { kind: 'failed', failure: 'refused', error: 'refused' };
  expect(new Set(await pauses(() => down))).toEqual(new Set([5]));
  expect(new Set(await pauses(() => ({ ...STRANGE, starting: true })))).toEqual(new Set([5]));
});

test('a refusal is told with what it means, also where the password was withheld', async () => {
  const clock = new ManualClock();
  const means = 'the password was withheld: a stranger listens on port 4096';
  const refused: ProbeResult = { kind: 'unauthorized', status: 401, error: 'x', means };
  const told: unknown[] = [];
  const prober = new Prober({
    client: { probe: async () => ({ ...refused, isWithheld: true }) } as unknown as OpencodeClient,
    clock,
    intervalMs: 5_000,
    timeoutMs: 3_000,
    emit: (observation) => told.push(observation),
  });
  prober.start();
  await clock.advance(1);
  await prober.stop();
  expect(told).toMatchObject([{ kind: 'probe.unauthorized', status: 401, means }]);
  expect(Object.keys(told[0] as object).sort()).toEqual([
    'at',
    'kind',
    'means',
    'startedAt',
    'status',
  ]);
});
