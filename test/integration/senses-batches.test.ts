/** A busy event stream is read in batches: nothing of it is lost, reordered or left behind. */
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { restOf } from '../../src/opencode/http/batches.js';
import { type ConnectionEnd, EventConnection } from '../../src/opencode/http/event-connection.js';
import { FakeClock } from '../support/fake-clock.js';
import { waitFor } from '../support/wait.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A stream that the test writes, read on a clock that the test moves: while it stands, a rest lasts. */
async function open() {
  const clock = new FakeClock();
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const url = new URL(`http://127.0.0.1:${port}/global/event`);
  const frames: string[] = [];
  const ends: ConnectionEnd[] = [];
  const asked = once(server, 'request');
  const connection = new EventConnection({
    target: Promise.resolve({ url, headers: {} }),
    clock,
    batched: true,
    data: (text) => void frames.push(text),
    end: (end) => void ends.push(end),
  });
  cleanups.push(
    () => connection.close(),
    () => new Promise((resolve) => server.close(resolve)),
    () => server.closeAllConnections(),
  );
  const [, response] = (await asked) as [unknown, ServerResponse];
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  let last = 0;
  const say = (count: number, filler = '') => {
    for (let i = 0; i < count; i += 1) {
      last += 1;
      response.write(`data: ${last}${filler}\n\n`);
    }
  };
  return { clock, frames, ends, response, say };
}

const FILLER = '.'.repeat(300);
const numbers = (frames: readonly string[]) => frames.map((text) => Number.parseInt(text, 10));
const upTo = (count: number) => Array.from({ length: count }, (_, i) => i + 1);

/** As busy as it takes to be read in batches. */
async function makeBusy({ say, frames, clock }: Awaited<ReturnType<typeof open>>) {
  say(1);
  await waitFor(() => frames.length === 1);
  say(99, FILLER);
  await waitFor(() => frames.length === 100);
  await clock.advance(250);
  say(1, FILLER);
  await waitFor(() => frames.length === 101);
}

test('what comes during a rest is read after it, complete and in order', async () => {
  const stream = await open();
  await makeBusy(stream);
  // The clock stands: the rest lasts, and nearly all of this waits in the kernel.
  stream.say(500, FILLER);
  for (let i = 0; i < 50; i += 1) await turn();
  expect(stream.frames.length).toBeLessThan(601);
  await waitFor(async () => {
    await stream.clock.advance(20);
    return stream.frames.length === 601;
  });
  expect(numbers(stream.frames)).toEqual(upTo(601));
});

test('a stream that ends during a rest is read to its end, which is told once', async () => {
  const stream = await open();
  await makeBusy(stream);
  stream.say(200, FILLER);
  stream.response.end();
  await waitFor(async () => {
    await stream.clock.advance(20);
    return stream.ends.length > 0;
  });
  expect(numbers(stream.frames)).toEqual(upTo(301));
  expect(stream.ends).toEqual([{ why: 'ended', reason: 'the server ended it' }]);
});

test('a quiet stream is read at once', async () => {
  const stream = await open();
  for (let i = 1; i <= 20; i += 1) {
    await stream.clock.advance(100);
    stream.say(1);
    // Nothing moves the clock meanwhile: a rest would last for ever.
    await waitFor(() => stream.frames.length === i);
  }
  expect(numbers(stream.frames)).toEqual(upTo(20));
});

test('how long a stream rests depends on how much it says', () => {
  expect(restOf(0)).toBe(0);
  expect(restOf(29_000)).toBe(0);
  expect(restOf(30_000)).toBe(15);
  expect(restOf(135_000)).toBeCloseTo(37.5);
  expect(restOf(700_000)).toBe(60);
  // A server that says ever more must not be kept waiting for its reader.
  expect(restOf(2_000_000)).toBeLessThan(35);
  expect(restOf(100_000_000)).toBe(15);
});
