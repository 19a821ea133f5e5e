import { expect, test } from 'vitest';
import { SystemClock } from '../../../../src/lib/clock.js';
import { isHealthy } from '../../../../src/opencode/is-healthy.js';
import type { ProbeResult } from '../../../../src/opencode/server-api.js';
import { awaitHealth } from '../../../../src/process/server/await-health.js';
import { FakeClock } from '../../../support/fake-clock.js';

const clock = new SystemClock();
const { signal } = new AbortController();
const never = new Promise<null>(() => undefined);

test('a server that never answers its first connections is asked anew, soon', async () => {
  let asked = 0;
  const deps = { isHealthy: () => (++asked < 3 ? never : Promise.resolve({ version: '1' })) };
  const outcome = await awaitHealth({ deps, clock, timeoutMs: 30_000, signal });
  expect(outcome).toMatchObject({ kind: 'healthy', version: '1' });
  expect(outcome.tookMs).toBeLessThan(3_000);
});

test('a server that is slow to answer is given more time at last', async () => {
  const deps = {
    isHealthy: (cut: AbortSignal) =>
      new Promise<{ version?: string } | null>((resolve) => {
        const timer = setTimeout(() => resolve({}), 400);
        cut.addEventListener('abort', () => {
          clearTimeout(timer);
          resolve(null);
        });
      }),
  };
  expect(await awaitHealth({ deps, clock, timeoutMs: 30_000, signal })).toMatchObject({
    kind: 'healthy',
  });
});

test.each([1_500, 5_000])('a server that answers after %i ms is seen to be healthy', async (ms) => {
  const fake = new FakeClock();
  const probe = (cut?: AbortSignal, timeoutMs = Number.POSITIVE_INFINITY) =>
    new Promise<ProbeResult>((resolve) => {
      fake.after(ms, () => resolve({ kind: 'ok', version: '1.18.33' }));
      fake.after(timeoutMs, () => resolve({ kind: 'failed', failure: 'timeout', error: 'late' }));
      cut?.addEventListener('abort', () => resolve({ kind: 'aborted' }), { once: true });
    });
  const deps = { isHealthy: (cut: AbortSignal) => isHealthy({ probe }, cut) };
  const waiting = awaitHealth({ deps, clock: fake, timeoutMs: 60_000, signal });
  await fake.advance(90_000);
  expect(await waiting).toMatchObject({ kind: 'healthy', version: '1.18.33' });
});

test('waiting ends when the process does, and when time is up', async () => {
  const ended = new AbortController();
  const waiting = awaitHealth({
    deps: { isHealthy: () => never },
    clock,
    timeoutMs: 30_000,
    signal,
    ended: ended.signal,
  });
  ended.abort();
  expect(await waiting).toMatchObject({ kind: 'ended' });
  const deps = { isHealthy: async () => null };
  expect(await awaitHealth({ deps, clock, timeoutMs: 100, signal })).toMatchObject({
    kind: 'timeout',
  });
});

test('an abort rejects with its reason, also with a probe that hears nothing', async () => {
  const stop = new AbortController();
  const waiting = awaitHealth({
    deps: { isHealthy: () => never },
    clock,
    timeoutMs: 30_000,
    signal: stop.signal,
  });
  stop.abort(new Error('stopping'));
  await expect(waiting).rejects.toThrow('stopping');
});

test('a healthy answer of the old process does not count', async () => {
  let looks = 0;
  const deps = { isHealthy: async () => ({}) };
  const accept = async () => ++looks === 3;
  expect(await awaitHealth({ deps, clock, timeoutMs: 30_000, signal, accept })).toMatchObject({
    kind: 'healthy',
  });
  expect(looks).toBe(3);
});

test.each([
  ['that waiting does not change is taken at once', 'certain', 30_000],
  ['that may still change is taken as it is when time is up', 'unclear', 100],
  ['that boots is not taken for dead when time is up', 'boots', 100],
] as const)('a strange answer %s', async (_, strange, timeoutMs) => {
  const deps = { isHealthy: async () => ({ strange }) };
  const outcome = await awaitHealth({ deps, clock, timeoutMs, signal });
  expect(outcome).toMatchObject({ kind: 'healthy' });
  expect(outcome).not.toHaveProperty('version');
  expect(outcome.tookMs < timeoutMs).toBe(strange === 'certain');
});

test('an answer to a request without the password is no end of a start: who answers is proven in a moment', async () => {
  let asked = 0;
  const deps = {
    isHealthy: async () => {
      asked += 1;
      if (asked < 3) return { isUnproven: true } as const;
      return asked < 5 ? ({ strange: 'boots' } as const) : { version: '2.0.26' };
    },
  };
  const outcome = await awaitHealth({ deps, clock, timeoutMs: 30_000, signal });
  expect(outcome).toMatchObject({ kind: 'healthy', version: '2.0.26' });
  expect(asked).toBe(5);
});

test('a server that is never proven is taken for alive when time is up', async () => {
  const deps = { isHealthy: async () => ({ isUnproven: true }) as const };
  const outcome = await awaitHealth({ deps, clock, timeoutMs: 100, signal });
  expect(outcome.kind).toBe('healthy');
  expect(outcome.tookMs).toBeGreaterThanOrEqual(100);
});
