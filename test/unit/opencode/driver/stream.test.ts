import { expect, it } from 'vitest';
import { DriverError } from '../../../../src/opencode/driver/error.js';
import {
  type StreamCallbacks,
  type StreamEvent,
  streamOf,
} from '../../../../src/opencode/driver/stream.js';
import type { PromptResult } from '../../../../src/opencode/driver/types.js';

const REPLY = { text: 'yes' } as PromptResult;

/** A run whose steps the test makes. */
function scripted() {
  let callbacks: StreamCallbacks | undefined;
  let settle: { resolve: (reply: PromptResult) => void; reject: (error: unknown) => void };
  const run = (given: StreamCallbacks) => {
    callbacks = given;
    return new Promise<PromptResult>((resolve, reject) => {
      settle = { resolve, reject };
      given.signal.addEventListener('abort', () =>
        reject(new DriverError('aborted', 'it was stopped.')),
      );
    });
  };
  return {
    run,
    get on() {
      return callbacks!;
    },
    end: (reply: PromptResult) => settle.resolve(reply),
    fail: (error: unknown) => settle.reject(error),
  };
}

it('tells text, tools, steps and notices in their order, and the reply last', async () => {
  const script = scripted();
  const stream = streamOf(script.run);
  const first = stream.next();
  const { on } = script;
  on.onText('he');
  expect(await first).toEqual({ done: false, value: { type: 'text', text: 'he' } });
  // Nobody reads meanwhile: what is text becomes one.
  on.onText('ll');
  on.onText('o');
  on.onTool({ id: 'c1', tool: 'bash', status: 'running' });
  on.onText('!');
  on.onStep({ number: 1, finish: 'stop', tools: 1, toolErrors: 0 });
  on.onNotice('so so');
  script.end(REPLY);
  const rest: StreamEvent[] = [];
  for await (const event of stream) rest.push(event);
  expect(rest).toEqual([
    { type: 'text', text: 'llo' },
    { type: 'tool', id: 'c1', tool: 'bash', status: 'running' },
    { type: 'text', text: '!' },
    { type: 'step', number: 1, finish: 'stop', tools: 1, toolErrors: 0 },
    { type: 'notice', message: 'so so' },
    { type: 'reply', reply: REPLY },
  ]);
});

it('throws what the run fails with, after what was told before it', async () => {
  const script = scripted();
  const seen: StreamEvent[] = [];
  const reading = (async () => {
    for await (const event of streamOf(script.run)) seen.push(event);
  })();
  script.on.onText('half');
  script.fail(new DriverError('timeout', 'too late.'));
  await expect(reading).rejects.toMatchObject({ kind: 'timeout' });
  expect(seen).toEqual([{ type: 'text', text: 'half' }]);
});

it('ends the run when its reader stops, and waits until it has ended', async () => {
  const script = scripted();
  const stream = streamOf(script.run);
  const first = stream.next();
  script.on.onText('a');
  await first;
  const { signal } = script.on;
  await stream.return();
  expect(signal.aborted).toBe(true);
});
