/** A stranger on the server's port: nothing is started beside it, and nothing ended. */
import { createServer } from 'node:http';
import { expect, test } from 'vitest';
import { serversOf, testWorld } from '../support/world.js';

test('a stranger on the port is named and never signalled', async () => {
  const it = await testWorld();
  const stranger = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/html' }).end('<html>not opencode</html>');
  });
  await new Promise<void>((resolve) => stranger.listen(it.port, '127.0.0.1', resolve));
  it.defer(() => new Promise((resolve) => stranger.close(resolve)));
  const watchdog = await it.daemon({
    server: { startTimeout: '5s' },
    restart: { maxRestarts: 2, backoff: { initial: '100ms', max: '200ms' } },
  });
  const holder = await watchdog.saw('server.notice', { severity: 'warn' }, 120_000);
  expect(holder.notice).toContain(`pid ${process.pid}`);
  // It answers, so it is alive: nothing is started beside it, and nothing is ended.
  const { answered } = await watchdog.saw('server.unsupported', {}, 120_000);
  expect(answered).toContain('text/html');
  expect(watchdog.events('server.restarting')).toEqual([]);
  expect(watchdog.events('server.starting')).toEqual([]);
  expect(await watchdog.stop()).toBe(0);
  expect(stranger.listening).toBe(true);
  expect(serversOf(it)).toEqual([]);
});
