/** Which messages say that a session is being compacted. */
import { expect, test } from 'vitest';
import type { ParseStats } from '../../../../src/opencode/parse-stats.js';
import { translate } from '../../../../src/opencode/v1/translate.js';

const kinds = (info: Record<string, unknown>) =>
  translate('/d', { type: 'message.updated', properties: { sessionID: 'ses_1', info } }, 1, 1, {
    unparseable: 0,
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
