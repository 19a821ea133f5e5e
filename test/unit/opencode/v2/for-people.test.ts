/** What a person is shown of OpenCode 2: the end of a transcript, and what may stop to ask. */
import { afterEach, expect, it } from 'vitest';
import { SystemClock } from '../../../../src/lib/clock.js';
import { DriverClientV2 } from '../../../../src/opencode/v2/driver-client.js';
import { startFakeOpencode2 } from '../../../support/fake-opencode-2.js';

const ends: Array<() => Promise<unknown>> = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function start() {
  const server = await startFakeOpencode2();
  const client = new DriverClientV2({ url: server.url, password: 'pw', clock: new SystemClock() });
  ends.push(
    () => server.stop(),
    () => client.close(),
  );
  return { server, client };
}

it('is the last words, the call under way and the messages, oldest first, of a transcript', async () => {
  const { server, client } = await start();
  const session = server.addSession();
  server.begin(session, { text: 'List the files.' });
  server.step(session, 'msg_a');
  server.say(session, 'msg_a', 'I look ', 'into the folder.');
  server.call(session, 'msg_a', 'shell').run({ command: 'ls -la', timeout: 5 });
  expect(await client.excerpt(session.id)).toMatchObject({
    lastWords: 'I look into the folder.',
    tool: { tool: 'shell', input: 'ls -la' },
    messages: [
      { role: 'user', text: 'List the files.', tools: [] },
      { role: 'assistant', text: 'I look into the folder.', tools: ['shell ls -la (running)'] },
    ],
  });
});

it('is the error of an answer that failed, and no argument that is half written', async () => {
  const { server, client } = await start();
  const session = server.addSession();
  server.begin(session);
  server.step(session, 'msg_a');
  server.call(session, 'msg_a', 'write');
  expect((await client.excerpt(session.id)).tool).toEqual({ tool: 'write', input: '' });
  server.end(session, 'interrupted', { reason: 'user' });
  server.begin(session);
  server.fail(session, { type: 'provider.auth', message: 'no key', status: 401 });
  const { messages } = await client.excerpt(session.id);
  expect(messages.at(-1)?.error).toBe('provider.auth: no key');
});

it('is what the rules of its agents ask about, as far as no later rule takes it back', async () => {
  const { client } = await start();
  expect(await client.asking()).toEqual({
    agents: 1,
    asking: [{ agent: 'build', permission: 'read', pattern: '*.env' }],
  });
});
