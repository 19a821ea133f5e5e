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

it('a message of many events begins with the urgent ones', () => {
  const event = (name: string, level: string, msg: string) =>
    ({ event: name, level, time: 0, msg, fields: { sessionID: 'ses_1' } }) as never;
  const ended = Array.from({ length: 12 }, (_, n) => event('session.ended', 'info', `end ${n}`));
  const records = [...ended, event('session.wedged', 'error', 'it is wedged')];
  const { text } = messageFor('slack', { records, more: 0, server: 'http://localhost:4096' });
  const [head, first, second, ...others] = String(text).split('\n');
  expect(head).toContain('13 events');
  expect([first, second]).toEqual(['🔴 it is wedged', '🟢 end 0']);
  expect(others.at(-1)).toBe('… and 3 more');
});

it('an event for programs says that it is an act of a dry run', () => {
  const act = { event: 'server.restarting', level: 'warn', time: 0, msg: 'Would', would: true };
  const records = [{ ...act, fields: {} } as never];
  const { events } = messageFor('json', { records, more: 0, server: 'http://localhost:4096' });
  expect(events).toMatchObject([{ event: 'server.restarting', would: true }]);
});

it('a message for Discord is text in bounds, with only our own link', () => {
  const msg = `https://evil ${'*'.repeat(2_900)}`;
  const server = 'http://localhost:4096';
  const records = [{ ...(record as object), msg } as never];
  const page = 'http://127.0.0.1:4097/';
  const { embeds } = messageFor('discord', { records, more: 0, server, page });
  const [{ description }] = embeds as [{ description: string }];
  expect(description).toMatch(/^🟠 https\\:\/\/evil \\\*/);
  expect(description.endsWith(`\n${page}`)).toBe(true);
  expect(description.length).toBeLessThanOrEqual(4_096);
});
