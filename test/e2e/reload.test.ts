/** Signals to a daemon with a real opencode: SIGHUP and SIGUSR2. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { api } from '../support/opencode.js';
import { testWorld } from '../support/world.js';

test('SIGHUP applies what can be applied live, an invalid file changes nothing, SIGUSR2 shows the state', async () => {
  const it = await testWorld();
  const file = join(it.home.path, 'watchdog.yaml');
  const base = `server:\n  url: ${it.url}\n  directory: ${it.directory}\nstatus: { listen: 'off' }\n`;
  await writeFile(file, `${base}retry: { maxAttempts: 99, maxDuration: 0 }\n`);
  const watchdog = await it.daemon({}, ['--config', file]);
  await watchdog.saw('server.healthy', {}, 120_000);
  const opencode = api(it.url);
  const session = await opencode.createSession({ directory: it.directory });
  await opencode.promptAsync(session.id, it.directory, '[[429 retry-after=60]]');
  await watchdog.saw('session.health', { sessionID: session.id, health: 'retrying' });

  await writeFile(file, `${base}retry: { maxAttemps: 1 }\n`);
  watchdog.child.kill('SIGHUP');
  const invalid = await watchdog.saw('config.invalid');
  expect(invalid.msg).toContain('retry.maxAttempts');

  watchdog.child.kill('SIGUSR2');
  const { state } = await watchdog.saw('daemon.state');
  expect(state).toMatchObject({
    server: { health: 'healthy' },
    sessions: [{ sessionID: session.id, health: 'retrying' }],
  });

  await writeFile(file, `${base}retry: { maxAttempts: 1 }\nwatch: { pollInterval: 1s }\n`);
  watchdog.child.kill('SIGHUP');
  const reloaded = await watchdog.saw('config.reloaded');
  expect(reloaded.applied).toEqual(['retry.maxAttempts', 'retry.maxDuration']);
  expect(reloaded.needRestart).toEqual(['watch.pollInterval']);
  // The session has exceeded the new limit already.
  await watchdog.saw('session.aborted', { sessionID: session.id, reason: 'attempts' });
});
