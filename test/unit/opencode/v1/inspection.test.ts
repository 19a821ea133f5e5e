/** Which requests an inspection takes for open: one that has outlived its run is not. */
import { expect, test } from 'vitest';
import type { OpencodeClient, OwnedRequest } from '../../../../src/opencode/v1/client.js';
import { inspectSession } from '../../../../src/opencode/v1/inspection.js';
import type { TranscriptMessage } from '../../../../src/opencode/v1/transcript.js';
import { ManualClock } from '../support.js';

const REQUEST = { requestID: 'per_1', sessionID: 'ses_1', on: 'permission' } as const;

async function openRequests(request: OwnedRequest, messages: TranscriptMessage[]) {
  const client = {
    session: async () => ({ id: 'ses_1', directory: '/d' }),
    messages: async () => messages,
    permissions: async () => [request],
    questions: async () => [],
  } as unknown as OpencodeClient;
  const seen = await inspectSession(client, new ManualClock(), 'ses_1', '/d');
  if (!seen.result.found) throw new Error('not found');
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

test('what a program stored with the session is left out', async () => {
  const session = { id: 'ses_1', title: 'T', created: 1, updated: 2, metadata: { note: 'Jane' } };
  const none = async () => [];
  const client = {
    session: async () => session,
    messages: none,
    permissions: none,
    questions: none,
  };
  const seen = await inspectSession(client, new ManualClock(), 'ses_1', '/d');
  expect(seen.result).toMatchObject({ found: true });
  expect(seen.result).toHaveProperty('info', { title: 'T' });
});

test('a request that names no tool is taken at its word', async () => {
  expect(await openRequests(REQUEST, [answer('msg_1', 'error')])).toHaveLength(1);
});
