/** What the driver hears in the frames of 1.x. */
import { expect, it } from 'vitest';
import type { RunEvent } from '../../../../src/opencode/driver-api.js';
import { V1RunEvents } from '../../../../src/opencode/v1/run-events.js';
import { FakeClock } from '../../../support/fake-clock.js';

function told(...payloads: { type: string; properties: object }[]): RunEvent[] {
  const reader = new V1RunEvents(new FakeClock());
  return payloads.flatMap((payload) => [
    ...(reader.read(JSON.stringify({ directory: '/p', payload }))?.events() ?? []),
  ]);
}

it('tells of a permission and of a question in their own words, and of their answers', () => {
  const sessionID = 'ses_1';
  const asked = { id: 'per_1', sessionID, permission: 'bash' };
  const question = { id: 'que_1', sessionID, questions: [{ question: 'Tea or coffee?' }] };
  expect(
    told(
      { type: 'permission.asked', properties: asked },
      { type: 'question.asked', properties: question },
      { type: 'permission.replied', properties: { sessionID, requestID: 'per_1' } },
    ),
  ).toEqual([
    { kind: 'asked', requestID: 'per_1', on: 'permission', what: 'bash' },
    { kind: 'asked', requestID: 'que_1', on: 'question', what: 'Tea or coffee?' },
    { kind: 'answered', requestID: 'per_1' },
  ]);
});

it('drops a request whose id is no possible one', () => {
  const properties = { id: 'x'.repeat(10_000), sessionID: 'ses_1', permission: 'bash' };
  expect(told({ type: 'permission.asked', properties })).toEqual([]);
});

it('tells whose prompt and whose answer it is, with the text as it comes', () => {
  const part = { id: 'prt_1', messageID: 'msg_2', sessionID: 'ses_1', type: 'text', text: 'Hel' };
  const info = { id: 'msg_2', sessionID: 'ses_1', role: 'assistant', parentID: 'msg_1' };
  const mark = { ...part, messageID: 'msg_1', metadata: { 'opencode-watchdog': 'a-mark' } };
  const delta = { sessionID: 'ses_1', messageID: 'msg_2', partID: 'prt_1', delta: 'lo' };
  expect(
    told(
      { type: 'message.part.updated', properties: { part: mark } },
      { type: 'message.updated', properties: { info } },
      { type: 'message.part.updated', properties: { part } },
      { type: 'message.part.delta', properties: { ...delta, field: 'text' } },
    ),
  ).toEqual([
    { kind: 'prompt', messageID: 'msg_1', mark: 'a-mark' },
    { kind: 'text', messageID: 'msg_1', partID: 'prt_1', of: 'text', text: 'Hel' },
    { kind: 'answer', messageID: 'msg_2', parentID: 'msg_1' },
    { kind: 'text', messageID: 'msg_2', partID: 'prt_1', of: 'text', text: 'Hel' },
    { kind: 'text_added', messageID: 'msg_2', partID: 'prt_1', added: 'lo' },
  ]);
});
