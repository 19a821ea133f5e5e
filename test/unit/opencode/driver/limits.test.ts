import { describe, expect, it } from 'vitest';
import { type BatchDeps, runBatch } from '../../../../src/opencode/driver/batch.js';
import { OpencodeDriver } from '../../../../src/opencode/driver/driver.js';
import { checkedLoop } from '../../../../src/opencode/driver/limits.js';
import { MAX_OPEN, MAX_SEEN, RunRequests } from '../../../../src/opencode/driver/run-requests.js';
import {
  MAX_STREAMED_CHARS,
  MAX_STREAMED_PARTS,
  StreamedText,
} from '../../../../src/opencode/driver/streamed-text.js';
import type { DriverApi } from '../../../../src/opencode/driver-api.js';
import { MAX_NOTICES } from '../../../../src/opencode/monitor/notice.js';
import { DEFAULT_POLICY } from '../../../../src/watchdog/policy.js';
import { FakeClock } from '../../../support/fake-clock.js';

describe('a reply that does not end', () => {
  it('is put together up to a limit, and told no further', () => {
    let told = 0;
    const text = new StreamedText((piece) => {
      told += piece.length;
    });
    text.answer('m');
    text.whole('p', 'm', 'text', '');
    const piece = 'x'.repeat(1024 * 1024);
    for (let n = 0; n < 40; n += 1) text.added('p', 'm', piece);
    expect(told).toBe(MAX_STREAMED_CHARS);
    expect(text.text).toHaveLength(MAX_STREAMED_CHARS);
  });

  it('in ever new parts is no different', () => {
    let told = 0;
    const text = new StreamedText(() => {
      told += 1;
    });
    text.answer('m');
    for (let n = 0; n < 3 * MAX_STREAMED_PARTS; n += 1) text.whole(`p${n}`, 'm', 'text', 'x');
    expect(told).toBeLessThanOrEqual(MAX_STREAMED_PARTS);
    expect(told).toBeGreaterThan(MAX_STREAMED_PARTS - 5);
  });
});

it('of a run that asks without end a bounded number of requests is remembered', () => {
  const deps = { client: {} as DriverApi, clock: new FakeClock() };
  const requests = new RunRequests(deps, { onNotice: () => {}, onRequest: 'wait' });
  const ask = (requestID: string) =>
    requests.hear('s', { kind: 'asked', requestID, on: 'permission', what: 'bash' });
  const answer = (requestID: string) => requests.hear('s', { kind: 'answered', requestID });
  for (let n = 0; n < 3 * MAX_OPEN; n += 1) ask(`r${n}`);
  for (let n = 0; n < MAX_OPEN - 1; n += 1) answer(`r${n}`);
  expect(requests.waitsFor).toBeDefined();
  answer(`r${MAX_OPEN - 1}`);
  expect(requests.waitsFor).toBeUndefined();
});

it('of the requests of other runs a bounded number is remembered, and each of those is looked up once', async () => {
  const permissions = Array.from({ length: MAX_SEEN + 1 }, (_, n) => ({
    requestID: `r${n}`,
    on: 'permission' as const,
    sessionID: 'ses_other',
  }));
  let lookups = 0;
  const client: Partial<DriverApi> = {
    openRequests: async () => [{ directory: '/p', permissions }],
    session: async (id) => {
      lookups += 1;
      return { id };
    },
  };
  const options = { onNotice: () => {}, onRequest: 'reject' as const };
  const deps = { client: client as DriverApi, clock: new FakeClock() };
  const requests = new RunRequests(deps, options);
  const { signal } = new AbortController();
  await requests.read('ses_1', '/p', signal);
  expect({ lookups, unanswered: requests.hasUnanswered }).toEqual({
    lookups: MAX_SEEN + 1,
    unanswered: false,
  });
  permissions.shift();
  await requests.read('ses_1', '/p', signal);
  expect(lookups).toBe(MAX_SEEN + 1);
});

it('of the notices of one task of a batch a bounded number is kept', async () => {
  const driver = {
    prompt: async ({ onNotice }: { onNotice(message: string): void }) => {
      for (let n = 0; n < 3 * MAX_NOTICES; n += 1) onNotice(`attempt ${n} failed`);
      return { text: 'done' };
    },
  };
  const results = runBatch(driver as unknown as BatchDeps, [{ prompt: 'x' }]);
  for await (const { notices } of results) expect(notices).toHaveLength(MAX_NOTICES);
});

describe('the limits of loops', () => {
  it('have their defaults where nothing, or undefined, is given', () => {
    expect(checkedLoop()).toEqual(DEFAULT_POLICY.loop);
    const given = { maxRepeats: undefined, action: undefined, maxEmptySteps: 0 };
    expect(checkedLoop(given as object)).toEqual({ ...DEFAULT_POLICY.loop, maxEmptySteps: 0 });
  });

  it.each([
    [{ maxRepeats: null }, 'loop.maxRepeats is null; expected a whole number from 0 up'],
    [{ maxEmptySteps: Number.NaN }, 'loop.maxEmptySteps is NaN'],
    [{ maxTextRepeats: -1 }, 'loop.maxTextRepeats is -1'],
    [{ maxCompactions: '4' }, 'loop.maxCompactions is "4"'],
    [{ action: 'stop' }, 'loop.action is "stop"; expected abort, report or off.'],
  ])('are refused by the driver as %j', (loop, says) => {
    const make = () => new OpencodeDriver({ loop: loop as object });
    expect(make).toThrow(expect.objectContaining({ kind: 'usage' }));
    expect(make).toThrow(says);
  });
});
