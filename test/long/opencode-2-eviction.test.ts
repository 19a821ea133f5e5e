/**
 * OpenCode 2: an eviction that is answered with 204 and ends nothing. Proving that takes 15 s, so this is a long test.
 */
import { expect, onTestFinished, test } from 'vitest';
import { TestRun } from '../integration/daemon-support.js';
import { startFakeOpencode2 } from '../support/fake-opencode-2.js';
import { waitFor } from '../support/wait.js';

test('the server is restarted for a run that an eviction did not end, once the healthy ones have ended', async () => {
  const server = await startFakeOpencode2({ heartbeatMs: 200 });
  onTestFinished(() => server.stop());
  server.eviction = 'nothing';
  const run = new TestRun(server as never, {
    password: 'pw',
    config: { stall: { maxSilence: 400 }, abort: { verifyTimeout: 200, maxTries: 2 } },
    control: {
      restart: () => {
        server.endStreams();
        server.active.clear();
      },
    },
  });
  onTestFinished(async () => void (await run.stop()));
  await run.saw('stream.connected', { path: '/api/event' });
  const healthy = server.addSession({ directory: '/q' });
  server.begin(healthy);
  server.ask(healthy, 'permission');
  const stuck = server.addSession({ directory: '/p' });
  stuck.stopsAfterMs = null;
  server.begin(stuck);
  server.step(stuck, 'msg_a');

  await waitFor(() => run.events('directory.dispose_failed').length > 0, {
    what: 'the eviction to be given up',
    timeout: 60_000,
  });
  await run.saw('server.restart_deferred', { reason: 'wedged' });
  expect(run.control.count('restart')).toBe(0);
  expect(run.events('session.ended')).toEqual([]);
  server.answer(healthy, 'All done.');
  await run.saw('server.restarted', { reason: 'wedged' });
  expect(await run.saw('session.interrupted')).toMatchObject({ sessionID: stuck.id });
  expect(run.events('session.ended', { sessionID: healthy.id })).toMatchObject([
    { outcome: 'completed' },
  ]);
});
