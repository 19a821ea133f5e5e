/** Who brings the server back, on a real opencode: the user’s own command, or somebody else. */
import { spawn } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { api, startOpencode } from '../support/opencode.js';
import { isAlive, killAll } from '../support/processes.js';
import { waitFor } from '../support/wait.js';
import { serversOf, testWorld } from '../support/world.js';

test('control command: the user’s own restart command is run, and health verified after it', async () => {
  const it = await testWorld();
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
  const it = await testWorld();
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
  expect(serversOf(it)).toEqual([restarted.pid]);
  // Its parent is the loop, not the daemon.
  const status = await readFile(`/proc/${restarted.pid}/status`, 'utf8');
  expect(status).toMatch(new RegExp(`^PPid:\\t${supervisor.pid}$`, 'm'));
});
