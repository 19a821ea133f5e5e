/** What the e2e on the real binary taught about quiet compactions and requests that outlive their run. */
import { expect, test } from 'vitest';
import { inspectSession } from '../../../src/opencode/monitor/inspection.js';
import type { OpencodeClient, OwnedRequest } from '../../../src/opencode/v1/client.js';
import type { ParseStats } from '../../../src/opencode/v1/status.js';
import type { TranscriptMessage } from '../../../src/opencode/v1/transcript.js';
import { translate } from '../../../src/opencode/v1/translate.js';
import { ManualClock } from './support.js';

const kinds = (info: Record<string, unknown>) =>
  translate('/d', { type: 'message.updated', properties: { sessionID: 'ses_1', info } }, 1, 1, {
    garbage: 0,
  } as ParseStats).map(({ kind }) => kind);

test('the assistant message of a compaction says that one is under way, until it is complete', () => {
  const info = { id: 'msg_1', sessionID: 'ses_1', role: 'assistant', summary: true };
  expect(kinds({ ...info, time: { created: 1 } })).toEqual([
    'session.asking_model',
    'session.compacting',
  ]);
  expect(kinds({ ...info, time: { created: 1, completed: 2 }, finish: 'stop' })).toEqual([]);
  expect(kinds({ ...info, summary: undefined, time: { created: 1 } })).toEqual([
    'session.asking_model',
  ]);
});

test('the summary of a user message is no compaction', () => {
  const info = { id: 'msg_1', sessionID: 'ses_1', role: 'user', summary: { diffs: [] } };
  expect(kinds({ ...info, time: { created: 1 } })).toEqual(['session.prompted']);
});

const REQUEST = { requestID: 'per_1', sessionID: 'ses_1', on: 'permission' } as const;

async function openRequests(request: OwnedRequest, messages: TranscriptMessage[]) {
  const client = {
    session: async () => ({ id: 'ses_1', directory: '/d' }),
    messages: async () => messages,
    permissions: async () => [request],
    questions: async () => [],
  } as unknown as OpencodeClient;
  const seen = await inspectSession(client, new ManualClock(), 'ses_1', '/d');
  if (seen?.kind !== 'session.inspected' || !seen.result.found) throw new Error('not found');
  return seen.result.requests;
}

function answer(id: string, status: string): TranscriptMessage {
  const tool = { type: 'tool', tool: 'bash', callID: 'call_1', state: { status } };
  return { id, role: 'assistant', failed: false, parts: [tool] as TranscriptMessage['parts'] };
}

const held: OwnedRequest = { ...REQUEST, call: { messageID: 'msg_1', callID: 'call_1' } };

test.each(['pending', 'running'])('a request whose tool is %s is open', async (status) => {
  expect(await openRequests(held, [answer('msg_1', status)])).toHaveLength(1);
});

test.each(['completed', 'error'])('a request whose tool is %s is not', async (status) => {
  expect(await openRequests(held, [answer('msg_1', status)])).toEqual([]);
});

test('a request of an earlier answer is not open, whatever its tool still says', async () => {
  const messages = [answer('msg_1', 'running'), { ...answer('msg_2', 'running'), parts: [] }];
  expect(await openRequests(held, messages)).toEqual([]);
});

test('a request that names no tool is taken at its word', async () => {
  expect(await openRequests(REQUEST, [answer('msg_1', 'error')])).toHaveLength(1);
});
