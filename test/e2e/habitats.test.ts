/** The daemon and the opencode process in their habitats: killed daemons, recycling, restart commands, strangers, reloads. */

import { spawn } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { api, startOpencode } from '../support/opencode.js';
import { commandLine, isAlive, killAll } from '../support/processes.js';
import { pause, waitFor } from '../support/wait.js';
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

const TIMES = 20;

test(`a daemon that is killed ${TIMES} times at all kinds of moments leaves one server, which each next one adopts`, async () => {
  const it = await world();
  const { provider, url, directory } = it;
  const config = { retry: { maxAttempts: 3 }, pileup: { minSessions: 50 } };
  let watchdog = await it.daemon(config);
  const { pid } = await watchdog.saw('server.healthy', {}, 120_000);
  const opencode = api(url);
  const healthy = await opencode.createSession({ directory });
  await opencode.promptAsync(healthy.id, directory, '[[stream 500 100]]');
  const touched: string[] = [];
  for (let round = 0; round < TIMES; round++) {
    // A stuck session each round, so that many a daemon dies in the middle of an abort.
    const stuck = await opencode.createSession({ directory });
    await opencode.promptAsync(stuck.id, directory, `[[429]] ${round}`);
    // Not a wait for something: the moment of the kill is what this test varies, the same way each time.
    const moment = (round * 397) % 900;
    await pause(moment);
    watchdog.child.kill('SIGKILL');
    await watchdog.stop();
    touched.push(
      ...watchdog.events('session.aborting', { sessionID: healthy.id }).map(({ msg }) => msg),
      ...watchdog.events('server.restarting').map(({ msg }) => `${msg} (killed at ${moment} ms)`),
    );
    expect(servers(it)).toEqual([pid]);
    watchdog = await it.daemon(config);
  }
  expect((await watchdog.saw('server.healthy')).pid).toBe(pid);
  expect(touched).toEqual([]);
  // The last daemon cleans up after all the dead ones: nothing stuck is left, and the healthy one streams on.
  await waitFor(async () => Object.keys(await opencode.status(directory)).length <= 1, {
    what: 'every stuck session to be ended',
    timeout: 90_000,
  });
  await watchdog.saw('session.health', { sessionID: healthy.id, health: 'idle' }, 90_000);
  expect(provider.about('[[stream 500 100]]')).toMatchObject([{ aborted: false, open: false }]);
  expect(await watchdog.stop()).toBe(0);
  await waitFor(() => servers(it).length === 0, { what: 'no server left' });
});

test('a server over its memory limit is recycled, when the session at work has ended', async () => {
  const it = await world();
  const { provider, url, directory } = it;
  const server = await startOpencode({ provider, home: it.home, port: it.port });
  it.defer(() => server.stop());
  const session = await server.api.createSession({ directory });
  await server.api.promptAsync(session.id, directory, '[[stream 120 100]]');
  // Any opencode is larger than this.
  const watchdog = await it.daemon({ recycle: { maxMemory: '50MiB' } });
  const draining = await watchdog.saw('server.draining', { reason: 'memory' }, 120_000);
  const restarting = await watchdog.saw('server.restarting', {}, 120_000);
  expect(restarting).toMatchObject({ reason: 'memory', pid: server.pid, interrupted: [] });
  expect(provider.about('[[stream 120 100]]')).toMatchObject([{ aborted: false, open: false }]);
  expect(Date.parse(restarting.time)).toBeGreaterThanOrEqual(Date.parse(draining.time));
  await watchdog.saw('server.restarted', { reason: 'memory', oldPid: server.pid }, 120_000);
  expect((await api(url).health()).healthy).toBe(true);
});

test('control command: the user’s own restart command is run, and health verified after it', async () => {
  const it = await world();
  const script = join(it.home.path, 'restart.sh');
  const serve = `serve --hostname 127.0.0.1 --port ${it.port}`;
  await writeFile(
    script,
    `#!/bin/sh\necho restarting by script\nsetsid ${it.home.command} ${serve} >/dev/null 2>&1 </dev/null &\n`,
    { mode: 0o755 },
  );
  const server = await startOpencode({ provider: it.provider, home: it.home, port: it.port });
  it.defer(() => server.stop());
  const watchdog = await it.daemon({
    server: { control: 'command', restartCommand: [script] },
    restart: { backoff: { initial: '200ms' } },
  });
  await watchdog.saw('server.healthy');
  process.kill(server.pid, 'SIGKILL');
  await watchdog.saw('server.exited');
  await watchdog.saw('server.notice', { notice: `${script}: restarting by script` });
  const restarted = await watchdog.saw('server.restarted', { reason: 'exited' }, 120_000);
  expect(restarted.pid).not.toBe(server.pid);
  expect((await api(it.url).health()).healthy).toBe(true);
});

test('control external: somebody else brings the server back, and the daemon starts none', async () => {
  const it = await world();
  const loop = join(it.home.path, 'loop.sh');
  const serve = `serve --hostname 127.0.0.1 --port ${it.port}`;
  await writeFile(loop, `#!/bin/sh\nwhile :; do ${it.home.command} ${serve}; done\n`, {
    mode: 0o755,
  });
  const supervisor = spawn(loop, { env: it.env, cwd: it.directory, stdio: 'ignore' });
  it.defer(() => killAll(() => [supervisor.pid!, ...it.home.processes()].filter(isAlive), 'loop'));
  await waitFor(async () => (await api(it.url).health(1_000)).healthy, { timeout: 120_000 });
  const watchdog = await it.daemon({
    server: { control: 'external' },
    retry: { maxAttempts: 99, maxDuration: '10m' },
    pileup: { minSessions: 1, minDuration: '1s' },
  });
  const first = await watchdog.saw('server.healthy');
  const opencode = api(it.url);
  const session = await opencode.createSession({ directory: it.directory });
  await opencode.promptAsync(session.id, it.directory, '[[503]]');
  const restarted = await watchdog.saw('server.restarted', { reason: 'pileup' }, 120_000);
  expect(restarted.oldPid).toBe(first.pid);
  expect(isAlive(first.pid!)).toBe(false);
  expect(servers(it)).toEqual([restarted.pid]);
  // Its parent is the loop, not the daemon.
  const status = await readFile(`/proc/${restarted.pid}/status`, 'utf8');
  expect(status).toMatch(new RegExp(`^PPid:\\t${supervisor.pid}$`, 'm'));
});

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
  const failed = await watchdog.saw('server.restart_failed', {}, 120_000);
  expect(failed.error).toContain(String(process.pid));
  await watchdog.saw('server.breaker_open', {}, 120_000);
  expect(await watchdog.stop()).toBe(0);
  expect(stranger.listening).toBe(true);
  expect(servers(it)).toEqual([]);
});

test('SIGHUP applies what can be applied live, an invalid file changes nothing, SIGUSR2 shows the state', async () => {
  const it = await world();
  const file = join(it.home.path, 'watchdog.yaml');
  const base = `server:\n  url: ${it.url}\n  directory: ${it.directory}\nstatus: { listen: 'off' }\n`;
  await writeFile(file, `${base}retry: { maxAttempts: 99, maxDuration: 0 }\n`);
  const watchdog = await it.daemon({}, ['--config', file]);
  await watchdog.saw('server.healthy', {}, 120_000);
  const opencode = api(it.url);
  const session = await opencode.createSession({ directory: it.directory });
  await opencode.promptAsync(session.id, it.directory, '[[429]]');
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
  // The new limit is behind the session already.
  await watchdog.saw('session.aborted', { sessionID: session.id, reason: 'attempts' });
});
