/** Recycling on a real opencode: a server over its memory limit. */
import { expect, test } from 'vitest';
import { api, startOpencode } from '../support/opencode.js';
import { testWorld } from '../support/world.js';

test('a server over its memory limit is recycled, when the session at work has ended', async () => {
  const it = await testWorld();
  const { provider, url, directory } = it;
  const server = await startOpencode({ provider, home: it.home, port: it.port });
  it.defer(() => server.stop());
  const session = await server.api.createSession({ directory });
  await server.api.promptAsync(session.id, directory, '[[stream 60 100]]');
  // Any opencode is larger than this.
  const watchdog = await it.daemon({ recycle: { maxMemory: '50MiB' } });
  const draining = await watchdog.saw('server.draining', { reason: 'memory' }, 120_000);
  const restarting = await watchdog.saw('server.restarting', {}, 120_000);
  expect(restarting).toMatchObject({ reason: 'memory', pid: server.pid, interrupted: [] });
  expect(provider.about('[[stream 60 100]]')).toMatchObject([{ aborted: false, open: false }]);
  expect(Date.parse(restarting.time)).toBeGreaterThanOrEqual(Date.parse(draining.time));
  await watchdog.saw('server.restarted', { reason: 'memory', oldPid: server.pid }, 120_000);
  expect((await api(url).health()).healthy).toBe(true);
});
