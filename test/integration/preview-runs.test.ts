/**
 * The daemon on opencode 1.18 whose preview of OpenCode 2's API runs sessions too: they are watched like all others,
 * and ended by their own route.
 */
import { expect, it, onTestFinished } from 'vitest';
import { startFakeOpencode } from '../support/fake-opencode.js';
import { type RunOptions, TestRun } from './daemon-support.js';

const QUESTION = { id: 'que_1', questions: [{ question: 'Which way?' }] };

async function start(config: RunOptions['config'] = {}) {
  const server = await startFakeOpencode();
  onTestFinished(() => server.stop());
  const run = new TestRun(server, { config });
  onTestFinished(async () => void (await run.stop()));
  await run.settled();
  /** A run that a prompt to the preview has started. `say` emits its events. */
  const begin = (directory = '/other') => {
    const session = server.addSession({ directory });
    server.preview.set(session.id, { messages: [{ type: 'user' }], questions: [] });
    const say = (name: string, more: object = {}) =>
      server.emit(
        { type: `session.next.${name}`, properties: { sessionID: session.id, ...more } },
        directory,
      );
    say('prompted', { messageID: 'msg_u' });
    return { id: session.id, say };
  };
  const interrupted = () =>
    server.requests
      .filter(({ route }) => route === 'POST /api/session/:id/interrupt')
      .map(({ path }) => path.split('/')[3]);
  return { server, run, begin, interrupted };
}

it('interrupts a run that has stopped in the middle, and never by the abort of 1.x', async () => {
  const { server, run, begin, interrupted } = await start({ stall: { maxSilence: 400 } });
  const { id, say } = begin();
  say('step.started', { assistantMessageID: 'msg_a' });
  say('text.delta', { assistantMessageID: 'msg_a', delta: 'x' });
  server.preview.get(id)?.messages.unshift({ type: 'assistant', content: [{ type: 'text' }] });
  const stuck = await run.saw('session.stuck', { sessionID: id });
  expect(stuck).toMatchObject({ reason: 'silence', directory: '/other' });
  await run.saw('session.aborted', { sessionID: id });
  expect(interrupted()).toEqual([id]);
  expect(server.count('POST /session/:id/abort')).toBe(0);
});

it('leaves alone what waits for a person or runs a tool, and a healthy session of 1.x', async () => {
  const { server, run, begin, interrupted } = await start({ stall: { maxSilence: 300 } });
  const asking = begin();
  server.preview.set(asking.id, { messages: [{ type: 'assistant' }], questions: [QUESTION] });
  const working = begin();
  working.say('step.started', { assistantMessageID: 'msg_b' });
  working.say('tool.called', { callID: 'call_1', tool: 'bash' });
  server.preview.get(working.id)?.messages.unshift({
    type: 'assistant',
    content: [{ type: 'tool', id: 'call_1', name: 'bash', state: { status: 'running' } }],
  });
  const old = server.addSession({ directory: '/other' });
  server.setStatus(old.id, { type: 'busy' });
  server.ask('permission', old.id);
  const witness = begin();
  witness.say('step.started', { assistantMessageID: 'msg_c' });
  server.preview.get(witness.id)?.messages.unshift({ type: 'assistant' });
  await run.saw('session.aborted', { sessionID: witness.id });
  expect(interrupted()).toEqual([witness.id]);
  expect(run.events('session.stuck').map(({ sessionID }) => sessionID)).toEqual([witness.id]);
  expect(server.count('POST /session/:id/abort')).toBe(0);
});

it('says how a run ended that no status event told of', async () => {
  const { server, run, begin } = await start();
  const { id, say } = begin();
  await run.saw('session.health', { sessionID: id, health: 'busy' });
  say('step.started', { assistantMessageID: 'msg_a' });
  say('text.delta', { assistantMessageID: 'msg_a', delta: 'x' });
  say('step.ended', { assistantMessageID: 'msg_a', finish: 'stop' });
  server.preview.delete(id);
  expect(await run.saw('session.ended', { sessionID: id })).toMatchObject({ outcome: 'completed' });
  const refused = begin();
  await run.saw('session.health', { sessionID: refused.id, health: 'busy' });
  refused.say('step.failed', { assistantMessageID: 'msg_b', error: { message: 'HTTP 429' } });
  server.preview.delete(refused.id);
  expect(await run.saw('session.ended', { sessionID: refused.id })).toMatchObject({
    outcome: 'failed',
    error: expect.stringContaining('HTTP 429'),
  });
});

it('watches an older server as ever, where the route is a web page or fails', async () => {
  const { server, run } = await start({ retry: { maxAttempts: 3 } });
  const { id } = server.addSession({ directory: '/other' });
  const mend = server.fault('GET /api/session/active', { hang: true });
  server.setStatus(id, { type: 'retry', attempt: 3, message: 'x', next: Date.now() + 60_000 });
  await run.saw('session.aborted', { sessionID: id });
  mend();
  server.fault('GET /api/session/active', {
    status: 200,
    body: '<html></html>',
    contentType: 'text/html',
  });
  await run.polled();
  expect(run.events('session.stuck').map(({ sessionID }) => sessionID)).toEqual([id]);
});
