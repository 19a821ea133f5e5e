/** The permissions and questions of one run: each is answered once. */
import { expect, it } from 'vitest';
import { RunRequests } from '../../../../src/opencode/driver/run-requests.js';
import type { DriverApi } from '../../../../src/opencode/driver-api.js';
import { OpencodeError } from '../../../../src/opencode/http/errors.js';
import type { OwnedRequest, SessionSummary } from '../../../../src/opencode/server-api.js';
import { FakeClock } from '../../../support/fake-clock.js';

const { signal } = new AbortController();
const REQUEST: OwnedRequest = { requestID: 'per_1', on: 'permission', sessionID: 'ses_1' };
const ASKED = { kind: 'asked', what: 'bash', ...REQUEST } as const;

const PARENTS: Readonly<Record<string, string>> = {
  ses_child: 'ses_1',
  ses_grandchild: 'ses_child',
};

function ofRun({ listed = REQUEST, failures = [] as OpencodeError[] } = {}) {
  const clock = new FakeClock();
  const tried: string[] = [];
  const rejected: string[] = [];
  const notices: string[] = [];
  const client: Partial<DriverApi> = {
    openRequests: async () => [{ directory: '/p', permissions: [listed] }],
    session: async (id) => ({ id, parentID: PARENTS[id] }) as SessionSummary,
    rejectRequest: async ({ requestID }) => {
      tried.push(requestID);
      const failure = failures.shift();
      if (failure) throw failure;
      rejected.push(requestID);
    },
  };
  const onNotice = (message: string) => notices.push(message);
  const deps = { client: client as DriverApi, clock };
  const requests = new RunRequests(deps, { onNotice, onRequest: 'reject' });
  return { clock, tried, rejected, notices, requests };
}

const failed = (statusCode: number, detail?: string) =>
  new OpencodeError({
    kind: 'http',
    request: 'POST /permission/per_1/reply',
    outcome: `answered ${statusCode}`,
    statusCode,
    ...(detail && { detail }),
  });

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

it('a rejection that fails is made again while the request is open, and told once', async () => {
  const { clock, tried, rejected, notices, requests } = ofRun({
    failures: [failed(503), failed(503)],
  });
  requests.hear('ses_1', ASKED);
  await requests.answer('/p', signal);
  await requests.answer('/p', signal);
  expect(tried).toHaveLength(1);
  for (const tries of [2, 3]) {
    await clock.advance(2_000);
    await requests.answer('/p', signal);
    expect(tried).toHaveLength(tries);
  }
  expect(rejected).toEqual(['per_1']);
  expect(requests.waitsFor).toBeUndefined();
  expect(notices).toEqual([
    expect.stringContaining('could not be answered yet'),
    expect.stringContaining('was told that nobody is there'),
  ]);
});

it('a rejection that was not made again because a person answered meanwhile is no failure', async () => {
  const { clock, tried, notices, requests } = ofRun({ failures: [failed(503)] });
  requests.hear('ses_1', ASKED);
  await requests.answer('/p', signal);
  requests.hear('ses_1', { kind: 'answered', requestID: 'per_1' });
  await clock.advance(2_000);
  await requests.answer('/p', signal);
  expect(tried).toHaveLength(1);
  expect(notices).toHaveLength(1);
});

it.each([
  [404, '{"_tag":"PermissionNotFoundError"}'],
  [409, undefined],
])('a request that waits no more (%i) is no failure', async (status, detail) => {
  const { notices, requests } = ofRun({ failures: [failed(status, detail)] });
  requests.hear('ses_1', ASKED);
  await requests.answer('/p', signal);
  expect(requests.waitsFor).toBeUndefined();
  expect(notices).toEqual([]);
});

it('a request of a subagent’s subagent is the run’s own', async () => {
  const { rejected, requests } = ofRun({ listed: { ...REQUEST, sessionID: 'ses_grandchild' } });
  await requests.read('ses_1', '/p', signal);
  await requests.answer('/p', signal);
  expect(rejected).toEqual(['per_1']);
});

it('a request that a list did not show as ours is answered when an event does', async () => {
  const { rejected, requests } = ofRun({ listed: { ...REQUEST, sessionID: 'ses_unknown' } });
  await requests.read('ses_1', '/p', signal);
  await requests.answer('/p', signal);
  expect(rejected).toEqual([]);
  requests.hear('ses_unknown', ASKED);
  await requests.answer('/p', signal);
  expect(rejected).toEqual(['per_1']);
});
