/** `sendAsync` settles when another process that waits finds the prompt. */
import { afterEach, expect, it } from 'vitest';
import { OpencodeDriver } from '../../../../src/opencode/driver/driver.js';
import { PROMPT, prompted, reply } from '../../../support/driver-replies.js';
import { type FakeOpencode, startFakeOpencode } from '../../../support/fake-opencode.js';
import { fastClock as clock } from '../../../support/fast-clock.js';
import { waitFor } from '../../../support/wait.js';

const TRANSCRIPT = 'GET /session/:id/message';

const ends: Array<() => Promise<unknown>> = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function start() {
  const server = await startFakeOpencode();
  const notices: string[] = [];
  const options = { url: server.url, clock, onNotice: (message: string) => notices.push(message) };
  const driver = new OpencodeDriver(options);
  const another = new OpencodeDriver(options);
  ends.push(
    () => server.stop(),
    () => driver.close(),
    () => another.close(),
  );
  const session = await driver.createSession({ directory: '/p' });
  const first = driver.send(session, 'first');
  await prompted(server);
  reply(server, session.id, 'OLD');
  await first;
  // As on a busy machine: the prompt is taken, and nothing happens for a while.
  server.fault(PROMPT, { status: 204, body: '' });
  return { server, driver, another, notices, session };
}

function emitError(server: FakeOpencode, sessionID: string, message: string): void {
  const error = { name: 'UnknownError', data: { message } };
  server.emit({ type: 'session.error', properties: { sessionID, error } }, '/p');
}

it('a wait right after it follows the new run, however late that begins', async () => {
  const { server, driver, another, session } = await start();
  let isSettled = false;
  const sending = driver.sendAsync(session, 'second').finally(() => {
    isSettled = true;
  });
  const before = server.count(TRANSCRIPT);
  await waitFor(() => server.count(TRANSCRIPT) >= before + 3, { what: 'three checks' });
  expect(isSettled).toBe(false);
  const { parts } = server.requests.findLast(({ route }) => route === PROMPT)!.body;
  server.get(session.id).messages.push({ info: { id: 'msg_u2', role: 'user' }, parts });
  await sending;
  const waiting = another.wait(session, { timeoutMs: 60_000 });
  server.setStatus(session.id, { type: 'busy' });
  reply(server, session.id, 'NEW');
  expect(await waiting).toMatchObject({ text: 'NEW' });
});

it('says so if the prompt does not show for long', async () => {
  const { driver, notices, session } = await start();
  await driver.sendAsync(session, 'second');
  const says = `the prompt was taken, and the session ${session.id} does not show it yet`;
  expect(notices).toContain(says);
});

it('fails with what was heard if the run fails and the prompt never shows', async () => {
  const { server, driver, session } = await start();
  const sending = driver.sendAsync(session, 'second');
  const failed = expect(sending).rejects.toMatchObject({
    kind: 'run_failed',
    message: expect.stringContaining('database is locked'),
    details: { sessionID: session.id },
  });
  await prompted(server, 2);
  emitError(server, session.id, 'database is locked');
  await failed;
});

it('does not take a late error of the run before for its own', async () => {
  const { server, driver, session } = await start();
  const sending = driver.sendAsync(session, 'second');
  await prompted(server, 2);
  emitError(server, session.id, 'no such parameter');
  const before = server.count(TRANSCRIPT);
  await waitFor(() => server.count(TRANSCRIPT) >= before + 2, { what: 'two checks' });
  const { parts } = server.requests.findLast(({ route }) => route === PROMPT)!.body;
  server.get(session.id).messages.push({ info: { id: 'msg_u2', role: 'user' }, parts });
  expect(await sending).toMatchObject({ session: { id: session.id } });
});
