import { describe, expect, it } from 'vitest';
import { SystemClock } from '../../../../src/lib/clock.js';
import { type BatchDeps, runBatch } from '../../../../src/opencode/driver/batch.js';
import type { Listener } from '../../../../src/opencode/driver/events.js';
import { MAX_OPEN, Run, type RunDeps } from '../../../../src/opencode/driver/run.js';
import {
  MAX_STREAMED_CHARS,
  MAX_STREAMED_PARTS,
  StreamedText,
} from '../../../../src/opencode/driver/streamed-text.js';
import type { RunEvent } from '../../../../src/opencode/driver-api.js';
import { MAX_NOTICES } from '../../../../src/opencode/monitor/notice.js';

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
  let hear: Listener = () => {};
  const events = {
    subscribe: (_: string, listener: Listener) => {
      hear = listener;
      return () => {};
    },
  };
  const run = new Run({ client: {}, clock: new SystemClock(), events } as unknown as RunDeps, {
    session: { id: 's', directory: '/p' },
    onNotice: () => {},
    onRequest: 'wait',
  });
  const say = (event: RunEvent) => hear({ sessionID: 's', directory: '/p', event });
  const ask = (requestID: string): RunEvent => ({
    kind: 'asked',
    requestID,
    on: 'permission',
    what: 'bash',
  });
  for (let n = 0; n < 3 * MAX_OPEN; n += 1) say(ask(`r${n}`));
  for (let n = 0; n < MAX_OPEN - 1; n += 1) say({ kind: 'answered', requestID: `r${n}` });
  expect(run.waitsFor).toBeDefined();
  say({ kind: 'answered', requestID: `r${MAX_OPEN - 1}` });
  expect(run.waitsFor).toBeUndefined();
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
