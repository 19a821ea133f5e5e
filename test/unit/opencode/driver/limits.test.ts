/** The driver's buffers: a reply, its parts and its stream are bounded, and what is beyond comes with the transcript. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { SystemClock } from '../../../../src/lib/clock.js';
import { openAgent } from '../../../../src/lib/http.js';
import {
  MAX_STREAMED_CHARS,
  MAX_STREAMED_PARTS,
  StreamedText,
} from '../../../../src/opencode/driver/streamed-text.js';
import {
  type ConnectionEnd,
  EventConnection,
  MAX_UNFINISHED_CHARS,
} from '../../../../src/opencode/event-connection.js';

const answer = (id: string) => ({ info: { id, role: 'assistant' } });
const whole = (id: string, text: string) => ({
  part: { id, messageID: 'm', type: 'text', text },
});

describe('a reply that does not end', () => {
  it('is put together up to a limit, and told no further', () => {
    let told = 0;
    const text = new StreamedText((piece) => {
      told += piece.length;
    });
    text.event('message.updated', answer('m'));
    text.event('message.part.updated', whole('p', ''));
    const piece = 'x'.repeat(1024 * 1024);
    const delta = { messageID: 'm', partID: 'p', field: 'text', delta: piece };
    for (let n = 0; n < 40; n += 1) text.event('message.part.delta', delta);
    expect(told).toBe(MAX_STREAMED_CHARS);
    expect(text.text).toHaveLength(MAX_STREAMED_CHARS);
  });

  it('in ever new parts is no different', () => {
    let told = 0;
    const text = new StreamedText(() => {
      told += 1;
    });
    text.event('message.updated', answer('m'));
    for (let n = 0; n < 3 * MAX_STREAMED_PARTS; n += 1) {
      text.event('message.part.updated', whole(`p${n}`, 'x'));
    }
    expect(told).toBeLessThanOrEqual(MAX_STREAMED_PARTS);
    expect(told).toBeGreaterThan(MAX_STREAMED_PARTS - 5);
  });
});

it('a frame without end ends the connection at its limit', async () => {
  const chunk = Buffer.alloc(1024 * 1024, 0x61);
  let sent = 0;
  const server = createServer((_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write('data: ');
    const more = () => {
      while (!response.destroyed) {
        sent += chunk.length;
        if (!response.write(chunk)) {
          response.once('drain', more);
          return;
        }
      }
    };
    more();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const url = new URL(`http://127.0.0.1:${port}/`);
  const agent = openAgent(url, 0);
  const clock = new SystemClock();
  const end = await new Promise<ConnectionEnd>((resolve) => {
    new EventConnection({ url, headers: {}, agent, clock, data: () => {}, end: resolve });
  });
  expect(end).toMatchObject({ why: 'failed', reason: expect.stringContaining('has no end') });
  expect(sent).toBeLessThan(2 * MAX_UNFINISHED_CHARS);
  agent.destroy();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});
