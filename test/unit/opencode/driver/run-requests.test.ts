/** The permissions and questions of one run: each is answered once. */
import { expect, it } from 'vitest';
import { RunRequests } from '../../../../src/opencode/driver/run-requests.js';
import type { DriverApi } from '../../../../src/opencode/driver-api.js';
import type { OwnedRequest } from '../../../../src/opencode/server-api.js';

const { signal } = new AbortController();
const REQUEST: OwnedRequest = { requestID: 'per_1', on: 'permission', sessionID: 'ses_1' };
const ASKED = { kind: 'asked', what: 'bash', ...REQUEST } as const;

function ofRun() {
  const rejected: string[] = [];
  const client: Partial<DriverApi> = {
    openRequests: async () => [{ directory: '/p', permissions: [REQUEST] }],
    rejectRequest: async ({ requestID }) => {
      rejected.push(requestID);
    },
  };
  const options = { onNotice: () => {}, onRequest: 'reject' as const };
  return { rejected, requests: new RunRequests(client as DriverApi, options) };
}

it('a request that a list and an event name is answered once, and then nobody is waited for', async () => {
  const { rejected, requests } = ofRun();
  await requests.read('ses_1', '/p', signal);
  requests.hear('ses_1', ASKED);
  expect(requests.waitsFor).toBe('a permission');
  await requests.answer('/p', signal);
  // The list is older than the answer.
  await requests.read('ses_1', '/p', signal);
  await requests.answer('/p', signal);
  expect(rejected).toEqual(['per_1']);
  expect(requests.waitsFor).toBeUndefined();
});

it('a request that a person has answered is not answered because an older list names it', async () => {
  const { rejected, requests } = ofRun();
  requests.hear('ses_1', { kind: 'answered', requestID: 'per_1' });
  await requests.read('ses_1', '/p', signal);
  expect(requests.hasUnanswered).toBe(false);
  expect(rejected).toEqual([]);
});
