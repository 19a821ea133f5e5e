/** OpenCode 2's background service: restarted by its own command, and never against its clients. */
import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ServiceControl } from '../../../../src/process/control/service.js';
import type { LocalOptions } from '../../../../src/process/server/local-server.js';
import { isRoot, needsRoot, OTHER_UID } from '../../../support/other-user.js';
import { isAlive } from '../../../support/processes.js';
import { waitFor } from '../../../support/wait.js';
import { Habitat } from '../support.js';

let habitat: Habitat;
beforeEach(async () => {
  habitat = await Habitat.make();
});
afterEach(() => habitat.clear());

/** What the program in this folder was asked for. */
const calls = (folder = 'bin') => {
  const file = join(habitat.dir, folder, 'calls');
  return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : [];
};

const programIn = (folder: string) => join(habitat.dir, folder, 'opencode.mjs');

/** `opencode service start|restart` as far as it concerns us: it notes the call, ends the old one, and starts one. */
function installOpencode(folder = 'bin'): string {
  const program = programIn(folder);
  mkdirSync(join(habitat.dir, folder));
  writeFileSync(
    program,
    `#!${process.execPath}
     import { spawn } from 'node:child_process';
     import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
     const [node, script, ...words] = process.argv;
     if (words[0] === 'serve') await import(${JSON.stringify(habitat.script)});
     else {
       appendFileSync(${JSON.stringify(join(habitat.dir, folder, 'calls'))}, words.join(' ') + '\\n');
       const pidFile = ${JSON.stringify(join(habitat.dir, 'pid'))};
       if (words[1] === 'restart') {
         process.kill(Number(readFileSync(pidFile, 'utf8')));
         // Its port must be free for the next one, which may take a while on a busy machine.
         const answers = () => fetch('${habitat.url}').then(() => true, () => false);
         while (await answers());
       }
       const argv = [script, 'serve', '--service', '--port', '${habitat.port}'];
       const child = spawn(node, argv, { detached: true, stdio: 'ignore' });
       child.unref();
       writeFileSync(pidFile, String(child.pid));
     }`,
  );
  chmodSync(program, 0o755);
  return program;
}

/** A client brings the service up. */
async function byClient(uid?: number, words = ['--service']) {
  const argv = [programIn('bin'), 'serve', ...words, '--port', String(habitat.port)];
  const user = uid !== undefined && { uid, gid: uid };
  const child = spawn(process.execPath, argv, { env: habitat.env(), stdio: 'ignore', ...user });
  writeFileSync(join(habitat.dir, 'pid'), String(child.pid));
  return waitFor(() => habitat.ask(), { what: 'the service' });
}

const control = (respawnMs = 200, more: Partial<LocalOptions> = {}) =>
  new ServiceControl({
    ...habitat.options({ command: [installOpencode(), 'serve'], ...more }),
    respawnMs,
  });

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

it('is restarted and started by its own build, whichever is configured', async () => {
  const service = control(200, { command: [installOpencode('other'), 'serve'] });
  const before = await byClient();
  await service.attach(habitat.signal);
  expect(await service.restart(habitat.signal)).toMatchObject({ oldPid: before.pid });
  process.kill((await habitat.ask()).pid, 'SIGKILL');
  await waitFor(() => habitat.exits.length === 1);
  await service.start(habitat.signal);
  expect(calls()).toEqual(['service restart', 'service start']);
  // After an upgrade the program may have another path.
  process.kill((await habitat.ask()).pid, 'SIGKILL');
  await waitFor(() => habitat.exits.length === 2);
  rmSync(programIn('bin'));
  await service.start(habitat.signal);
  expect(calls('other')).toEqual(['service start']);
  await service.dispose();
});

const failure = (act: Promise<unknown>) =>
  act.then(
    () => expect.fail('it succeeded'),
    (error: Error) => error.message,
  );

/** The service of this build registers itself, and its program is taken away, as an upgrade does. */
async function upgraded(configured: string, ...registrations: string[]) {
  const service = control(200, { command: [configured, 'serve'] });
  const before = await byClient();
  await service.attach(habitat.signal);
  rmSync(programIn('bin'));
  const folder = join(habitat.dir, '.local/state/opencode');
  mkdirSync(folder, { recursive: true });
  for (const name of registrations) writeFileSync(join(folder, name), '{}');
  return { service, before };
}

it('is restarted by the configured build where its own was taken away', async () => {
  const { service, before } = await upgraded(installOpencode('other'), 'service.json');
  expect(await service.restart(habitat.signal)).toMatchObject({ oldPid: before.pid });
  expect(calls('other')).toEqual(['service restart']);
  await service.dispose();
});

it('whose build was taken away is not restarted where that might end another channel’s', async () => {
  const registered = ['service.json', 'service-beta.json'];
  const { service, before } = await upgraded(installOpencode('other'), ...registered);
  const message = await failure(service.restart(habitat.signal));
  expect(message).toContain(`the service's program ${programIn('bin')} is gone`);
  expect(message).toContain('service-beta.json');
  expect(calls('other')).toEqual([]);
  expect(isAlive(before.pid)).toBe(true);
  await service.dispose();
});

it('whose build was taken away, as was the configured one, says what is missing', async () => {
  const { service, before } = await upgraded(join(habitat.dir, 'gone'), 'service.json');
  const message = await failure(service.restart(habitat.signal));
  expect(message).toContain(`the service's program ${programIn('bin')} is gone`);
  expect(message).toContain(`"${join(habitat.dir, 'gone')}" is not there`);
  expect(isAlive(before.pid)).toBe(true);
  await service.dispose();
});

it('is not restarted for a server that is not the service', async () => {
  const service = control();
  const { pid } = await byClient(undefined, []);
  await service.attach(habitat.signal);
  expect(await failure(service.restart(habitat.signal))).toContain('is not the background service');
  expect(calls()).toEqual([]);
  expect(isAlive(pid)).toBe(true);
  await service.dispose();
});

const uidOf = (pid: number) =>
  Number(/^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);

it.skipIf(!isRoot)(`is restarted as server.user, whose service it is${needsRoot}`, async () => {
  const user = { name: 'nobody', uid: OTHER_UID, gid: OTHER_UID, home: '/none', shell: '/bin/sh' };
  const service = control(200, { user });
  for (const folder of ['', 'bin']) chmodSync(join(habitat.dir, folder), 0o777);
  const before = await byClient(OTHER_UID);
  chmodSync(join(habitat.dir, 'pid'), 0o666);
  await service.attach(habitat.signal);
  const { pid } = await service.restart(habitat.signal);
  expect(pid).not.toBe(before.pid);
  expect(uidOf(pid!)).toBe(OTHER_UID);
  expect((await habitat.ask()).env).toMatchObject({ HOME: '/none', USER: 'nobody' });
  await service.dispose();
});

it.skipIf(!isRoot)(`of another user is never touched${needsRoot}`, async () => {
  const service = control();
  chmodSync(habitat.dir, 0o755);
  const { pid } = await byClient(OTHER_UID);
  expect(await service.attach(habitat.signal)).toBeNull();
  expect(await failure(service.restart(habitat.signal))).toContain('server.user');
  expect(calls()).toEqual([]);
  expect(isAlive(pid)).toBe(true);
  await service.dispose();
});
