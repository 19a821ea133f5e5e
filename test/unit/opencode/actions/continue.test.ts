/** A session is told to go on: to whom that is never said, and what counts as its beginning. */
import { expect, test } from 'vitest';
import {
  type ContinueRequest,
  continueSession,
} from '../../../../src/opencode/actions/continue.js';
import { OpencodeError } from '../../../../src/opencode/http/errors.js';
import type { LastMessage, ServerApi } from '../../../../src/opencode/server-api.js';
import type { SessionStatus } from '../../../../src/watchdog/observation.js';
import { FakeClock } from '../../../support/fake-clock.js';

const CUT: LastMessage = {
  id: 'msg_1',
  byAssistant: true,
  failed: false,
  isOpen: true,
  isFinal: false,
};
const ANSWERED: LastMessage = { ...CUT, id: 'msg_3', isOpen: false, isFinal: true };
const late = () =>
  Promise.reject(
    new OpencodeError({ kind: 'timeout', request: 'GET http://h/x', outcome: 'did not answer' }),
  );

class Server implements Pick<ServerApi, 'session' | 'statuses' | 'lastMessage' | 'prompt'> {
  readonly prompts: string[] = [];
  parentID: string | undefined;
  isThere = true;
  isBusy = false;
  last: LastMessage = CUT;
  /** What a prompt is answered with. */
  onPrompt: () => Promise<void> = async () => {
    this.isBusy = true;
  };
  /** Answers that come too late, from now on. */
  lateAnswers = 0;

  async session(id: string) {
    return this.isThere ? { id, ...(this.parentID && { parentID: this.parentID }) } : null;
  }
  async statuses() {
    if (this.lateAnswers-- > 0) await late();
    return new Map<string, SessionStatus>(this.isBusy ? [['ses', { type: 'busy' }]] : []);
  }
  async lastMessage() {
    return this.last;
  }
  async prompt(sessionID: string) {
    this.prompts.push(sessionID);
    await this.onPrompt();
  }
}

async function ask(server: Server, more: Partial<ContinueRequest> = {}) {
  const clock = new FakeClock();
  const end = continueSession(server, clock, {
    sessionID: 'ses',
    directory: '/p',
    prompt: 'continue',
    timeoutMs: 1_000,
    signal: new AbortController().signal,
    ...more,
  });
  await clock.advance(2_000);
  return end;
}

test('it has begun when the status shows it', async () => {
  const server = new Server();
  expect(await ask(server)).toEqual({ outcome: 'started' });
  expect(server.prompts).toEqual(['ses']);
});

test('a run that was over between two checks has begun, and one that failed has not', async () => {
  const server = new Server();
  server.onPrompt = async () => {
    server.last = ANSWERED;
  };
  expect(await ask(server)).toEqual({ outcome: 'started' });
  server.last = CUT;
  server.onPrompt = async () => {
    server.last = { ...ANSWERED, failed: true };
  };
  expect(await ask(server)).toEqual({ outcome: 'failed', error: 'its run failed at once' });
});

test('a busy server that answers too late before anything is sent is asked again, and not for ever', async () => {
  const server = new Server();
  server.lateAnswers = 3;
  expect(await ask(server)).toEqual({ outcome: 'started' });
  server.isBusy = false;
  server.lateAnswers = Number.POSITIVE_INFINITY;
  expect(await ask(server)).toMatchObject({
    outcome: 'failed',
    error: expect.stringContaining('did not answer'),
    unreachable: 'unsent',
  });
  expect(server.prompts).toEqual(['ses']);
});

test('a look that is answered too late is no failure: the next one tells', async () => {
  const server = new Server();
  server.onPrompt = async () => {
    server.isBusy = true;
    server.lateAnswers = 3;
  };
  expect(await ask(server)).toEqual({ outcome: 'started' });
});

test('a server that cannot be reached is said to be, and whether the prompt may have been sent', async () => {
  const failing = (kind: 'network' | 'refused') => () =>
    Promise.reject(new OpencodeError({ kind, request: 'x', outcome: 'broke' }));
  const broken = failing('network');
  const server = new Server();
  server.onPrompt = failing('refused');
  expect(await ask(server)).toMatchObject({ outcome: 'failed', unreachable: 'unsent' });
  server.onPrompt = broken;
  expect(await ask(server)).toMatchObject({ outcome: 'failed', unreachable: 'sent' });
  server.lastMessage = broken;
  expect(await ask(server)).toMatchObject({ outcome: 'failed', unreachable: 'unsent' });
  server.isThere = false;
  expect(await ask(server)).not.toHaveProperty('unreachable');
});

test('a prompt that is answered too late may have been taken', async () => {
  const server = new Server();
  server.onPrompt = async () => {
    server.isBusy = true;
    await late();
  };
  expect(await ask(server)).toEqual({ outcome: 'started' });
  server.isBusy = false;
  server.onPrompt = late;
  expect(await ask(server)).toMatchObject({
    outcome: 'failed',
    error: expect.stringContaining('did not answer'),
  });
  expect(server.prompts).toHaveLength(2);
});

test('one that is withdrawn while it is read is not prompted, and ends at once', async () => {
  const server = new Server();
  server.lateAnswers = Number.POSITIVE_INFINITY;
  const clock = new FakeClock();
  const withdraw = new AbortController();
  const end = continueSession(server, clock, {
    sessionID: 'ses',
    directory: '/p',
    prompt: 'continue',
    timeoutMs: 1_000,
    signal: new AbortController().signal,
    withdrawn: withdraw.signal,
  });
  await clock.advance(250);
  withdraw.abort();
  expect(await end).toMatchObject({ outcome: 'superseded' });
  expect(server.prompts).toEqual([]);
});

test('one that is withdrawn once its prompt is sent begins', async () => {
  const server = new Server();
  const withdraw = new AbortController();
  server.onPrompt = async () => {
    withdraw.abort();
    server.isBusy = true;
  };
  expect(await ask(server, { withdrawn: withdraw.signal })).toEqual({ outcome: 'started' });
});

test('a prompt that is refused has failed at once', async () => {
  const server = new Server();
  server.onPrompt = () => Promise.reject(new Error('answered 500'));
  expect(await ask(server)).toEqual({ outcome: 'failed', error: 'answered 500' });
});

test.each<[string, Partial<ContinueRequest>, Partial<Server>]>([
  ['runs', {}, { isBusy: true }],
  ['is a subagent', {}, { parentID: 'ses_parent' }],
  ['has a newer message than its run wrote', { lastMessageID: 'msg_0' }, {}],
  ['has come to its end', { onlyIfOpen: true }, { last: ANSWERED }],
  ['has an answer since it was cut', { cutMessageID: 'msg_1' }, { last: ANSWERED }],
  ['had ended as it was cut', { cutMessageID: 'msg_3' }, { last: ANSWERED }],
  ['had ended by itself as it was aborted', {}, { last: ANSWERED }],
])('nothing is sent to a session that %s', async (_why, more, state) => {
  const server = Object.assign(new Server(), state);
  expect(await ask(server, more)).toMatchObject({ outcome: 'superseded' });
  expect(server.prompts).toEqual([]);
});

test.each<[string, LastMessage]>([
  ['was cut, and whose message is closed by now', { ...CUT, failed: true, isOpen: false }],
  ['was cut between two steps', { ...CUT, isOpen: false }],
  ['has a prompt that waited', { ...CUT, id: 'msg_3', byAssistant: false }],
  ['was cut in a step that nobody heard of', { ...CUT, id: 'msg_3' }],
])('a session that %s goes on', async (_what, last) => {
  const server = Object.assign(new Server(), { last });
  expect(await ask(server, { cutMessageID: 'msg_1' })).toEqual({ outcome: 'started' });
});

test('nothing is sent to a session that is no more', async () => {
  const server = Object.assign(new Server(), { isThere: false });
  expect(await ask(server)).toMatchObject({ outcome: 'failed' });
  expect(server.prompts).toEqual([]);
});
