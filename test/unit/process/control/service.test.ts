/** OpenCode 2's background service: restarted by its own command, and never against its clients. */
import { spawn } from 'node:child_process';
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ServiceControl } from '../../../../src/process/control/service.js';
import { isAlive } from '../../../support/processes.js';
import { waitFor } from '../../../support/wait.js';
import { Habitat } from '../support.js';

let habitat: Habitat;
beforeEach(async () => {
  habitat = await Habitat.make();
});
afterEach(() => habitat.clear());

const calls = () => {
  const file = join(habitat.dir, 'calls');
  return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : [];
};

/** `opencode service start|restart` as far as it concerns us: it notes the call, ends the old one, and starts one. */
function installOpencode(): string {
  const program = join(habitat.dir, 'opencode');
  const serve = `"${process.execPath}" "${habitat.script}" serve --service --port ${habitat.port}`;
  const lines = [
    '#!/bin/sh',
    `echo "$*" >> "${habitat.dir}/calls"`,
    `[ "$2" = restart ] && kill "$(cat "${habitat.dir}/pid")" && sleep 0.1`,
    `${serve} >/dev/null 2>&1 &`,
    `echo $! > "${habitat.dir}/pid"`,
  ];
  writeFileSync(program, `${lines.join('\n')}\n`);
  chmodSync(program, 0o755);
  return program;
}

/** A client brings the service up. */
async function byClient() {
  const argv = [habitat.script, 'serve', '--service', '--port', String(habitat.port)];
  const child = spawn(process.execPath, argv, { env: habitat.env(), stdio: 'ignore' });
  writeFileSync(join(habitat.dir, 'pid'), String(child.pid));
  return waitFor(() => habitat.ask(), { what: 'the service' });
}

const control = (respawnMs = 200) =>
  new ServiceControl(
    habitat.options({ command: [installOpencode(), 'serve'], respawnMs } as never),
  );

it('is restarted by its own command, and goes on with its runs itself', async () => {
  const service = control();
  const before = await byClient();
  expect(await service.attach(habitat.signal)).toMatchObject({ pid: before.pid });
  const restarted = await service.restart(habitat.signal);
  const after = await habitat.ask();
  expect(restarted).toMatchObject({ oldPid: before.pid, pid: after.pid });
  expect(calls()).toEqual(['service restart']);
  expect(service.resumesRuns).toBe(true);
  // Letting go never ends what belongs to everybody.
  await service.dispose();
  expect(isAlive(after.pid)).toBe(true);
});

it('is left alone where a client has brought it up again', async () => {
  const service = control(10_000);
  const before = await byClient();
  await service.attach(habitat.signal);
  process.kill(before.pid, 'SIGKILL');
  await waitFor(() => habitat.exits.length === 1);
  const restarting = service.restart(habitat.signal);
  const after = await byClient();
  expect(await restarting).toMatchObject({ pid: after.pid });
  expect(calls()).toEqual([]);
  await service.dispose();
});

it('is left alone where a client has replaced it before our restart', async () => {
  const service = control(10_000);
  const before = await byClient();
  await service.attach(habitat.signal);
  process.kill(before.pid, 'SIGKILL');
  await waitFor(() => !isAlive(before.pid));
  const after = await byClient();
  expect(await service.restart(habitat.signal)).toMatchObject({ pid: after.pid });
  expect(calls()).toEqual([]);
  await service.dispose();
});

it('is restarted where it is the one of a client that was attached to since', async () => {
  const service = control();
  const before = await byClient();
  await service.attach(habitat.signal);
  process.kill(before.pid, 'SIGKILL');
  await waitFor(() => habitat.exits.length === 1);
  const between = await byClient();
  await service.attach(habitat.signal, { onlyWatch: true });
  expect(await service.restart(habitat.signal)).toMatchObject({ oldPid: between.pid });
  expect(calls()).toEqual(['service restart']);
  await service.dispose();
});

it('is restarted where the one that a client has put in its place answers nothing', async () => {
  const options = habitat.options({ command: [installOpencode(), 'serve'] });
  const { isHealthy } = options.deps;
  const isDeaf = () => !calls().includes('service restart');
  options.deps.isHealthy = async (within) => (isDeaf() ? null : isHealthy(within));
  const service = new ServiceControl({ ...options, respawnMs: 200 });
  const before = await byClient();
  await service.attach(habitat.signal);
  process.kill(before.pid, 'SIGKILL');
  await waitFor(() => habitat.exits.length === 1);
  const hung = await byClient();
  expect(await service.restart(habitat.signal)).toMatchObject({ oldPid: hung.pid });
  expect(calls()).toEqual(['service restart']);
  await service.dispose();
});

it('is started where nobody brings it up', async () => {
  const service = control();
  const started = await service.start(habitat.signal);
  expect(started.pid).toBe((await habitat.ask()).pid);
  expect(calls()).toEqual(['service start']);
  await service.dispose();
});
