/** The printers that are no command: the readable log and what the webhooks are sent hold no more than words. */
import { expect, it } from 'vitest';
import { messageFor } from '../../../src/telemetry/notify/message.js';
import { createReadableFormat } from '../../../src/telemetry/readable.js';

const EVIL = 'Fix\u001b]0;owned\u0007\u001b[31m\u009b5n\u202etxt\nnext';
const OBEYED = /[\p{Cc}\p{Bidi_Control}]/u;

const record = {
  event: 'server.notice' as const,
  level: 'warn' as const,
  time: 0,
  msg: EVIL,
  fields: {},
} as never;

it('the readable log writes one line of words', () => {
  const format = createReadableFormat(false);
  const line = format(
    `${JSON.stringify({ level: 'warn', time: '2026-01-01T00:00:00.000Z', event: 'server.notice', msg: EVIL })}\n`,
  );
  expect(line.trimEnd()).not.toMatch(OBEYED);
  expect(line).toContain('Fix');
  expect(line).toContain(' | next');
});

it.each(['slack', 'json'] as const)('a webhook of the format %s is sent words', (format) => {
  for (const records of [[record], [record, record]]) {
    const { text } = messageFor(format, { records, more: 0, server: 'http://localhost:4096' });
    expect(String(text).replaceAll('\n', '')).not.toMatch(OBEYED);
    expect(text).toContain('Fix');
  }
});
