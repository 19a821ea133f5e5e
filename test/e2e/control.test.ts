import { createServer } from 'node:http';
import { afterEach, expect, test } from 'vitest';
import { commandLine, isAlive } from '../support/processes.js';
import { createWorld, type World } from '../support/world.js';

const worlds: World[] = [];
afterEach(async () => {
  for (const each of worlds.splice(0)) await each.end();
});

async function world(options?: Parameters<typeof createWorld>[0]): Promise<World> {
  const created = await createWorld(options);
  worlds.push(created);
  return created;
}

/** The living `opencode serve` processes of a home. */
const servers = ({ home }: World) =>
  home.processes().filter((pid) => isAlive(pid) && commandLine(pid).includes('serve'));

test('a stranger on the port is named and never signalled', async () => {
  const it = await world();
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
  // It answers, so it is alive: nothing is started beside it and nothing is ended.
  const { answered } = await watchdog.saw('server.unsupported', {}, 120_000);
  expect(answered).toContain('text/html');
  expect(watchdog.events('server.restarting')).toEqual([]);
  expect(watchdog.events('server.starting')).toEqual([]);
  expect(await watchdog.stop()).toBe(0);
  expect(stranger.listening).toBe(true);
  expect(servers(it)).toEqual([]);
});
