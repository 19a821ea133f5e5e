/** Which messages say that a session is being compacted, and what they do not say about its run. */
import { expect, test, vi } from 'vitest';
import type { ParseStats } from '../../../../src/opencode/parse-stats.js';
import { OpencodeClient } from '../../../../src/opencode/v1/client.js';
import { readMessages, transcriptState } from '../../../../src/opencode/v1/transcript.js';
import { translate } from '../../../../src/opencode/v1/translate.js';
import { ManualClock } from '../support.js';

const says = (info: Record<string, unknown>) =>
  translate('/d', { type: 'message.updated', properties: { sessionID: 'ses_1', info } }, 1, 1, {
    unparseable: 0,
  } as ParseStats);
const kinds = (info: Record<string, unknown>) => says(info).map(({ kind }) => kind);

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

// As 1.18.33 writes it: `compaction` is a hidden agent, and its model may be another one.
const summary = {
  id: 'msg_2',
  sessionID: 'ses_1',
  role: 'assistant',
  summary: true,
  agent: 'compaction',
  providerID: 'p',
  modelID: 'small',
  time: { created: 1 },
};

test('the agent and the model of a compaction are not those of its run', () => {
  const [asking] = says(summary);
  expect(asking).toMatchObject({ kind: 'session.asking_model', messageID: 'msg_2' });
  expect(asking).not.toHaveProperty('agent');
  expect(asking).not.toHaveProperty('model');
});

test('the model of a transcript is the one that it was prompted with, also during a compaction', () => {
  const user = { id: 'msg_1', role: 'user', model: { providerID: 'p', modelID: 'big' } };
  const messages = readMessages([user, summary].map((info) => ({ info, parts: [] })));
  expect(transcriptState(messages, 1, 1)).toMatchObject({ model: 'p/big', compacting: true });
});

test('the summary of a compaction is not the end of its run: the run goes on after it', async () => {
  const client = new OpencodeClient({ url: 'http://127.0.0.1:1', clock: new ManualClock() });
  const last = (info: object) => {
    const messages = readMessages([{ info, parts: [] }]);
    vi.spyOn(client, 'messages').mockResolvedValue(messages);
    return client.lastMessage('ses_1');
  };
  const done = { time: { created: 1, completed: 2 }, finish: 'stop' };
  expect(await last({ ...summary, ...done })).toMatchObject({ isOpen: false, isFinal: false });
  expect(await last({ ...summary, ...done, summary: undefined })).toMatchObject({ isFinal: true });
  await client.close();
});
