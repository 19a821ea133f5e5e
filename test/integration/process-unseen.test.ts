/** A server whose command starts a process that cannot be seen from here: under sudo, in a container. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { SpawnControl } from '../../src/process/control/spawn.js';
import { PasswordGuard } from '../../src/process/identity/password-guard.js';
import type { LocalOptions } from '../../src/process/server/local-server.js';
import { openProcessTable } from '../../src/process/table/open-table.js';
import type { FindHolders } from '../../src/process/table/port.js';
import { fastClock } from '../support/fast-clock.js';
import { waitFor } from '../support/wait.js';
import { Habitat } from '../unit/process/support.js';

let habitat: Habitat;
beforeEach(async () => {
  habitat = await Habitat.make();
});
afterEach(async () => {
  vi.restoreAllMocks();
  await habitat.clear();
});

/** As another PID namespace looks: nobody is shown. */
const nobody: FindHolders = async () => [];
/** As another user's process looks: its socket shows the user alone, from when it listens. */
const otherUser: FindHolders = async () =>
  (await habitat.deps.isHealthy(habitat.signal)) === null ? [] : [{ uid: 4242 }];

/** As docker-proxy looks. */
const docker: FindHolders = async (...where) => (await otherUser(...where)).map(() => ({ uid: 0 }));

/** The server below our command is another user's. */
function table() {
  const real = openProcessTable();
  const read = real.read.bind(real);
  vi.spyOn(real, 'read').mockImplementation(async (pid) => {
    const info = await read(pid);
    return info?.command[1] === habitat.script ? { ...info, uid: 4242 } : info;
  });
  return real;
}

/** Starts the server in a session of its own and stays. The server itself is never shown. */
async function started(holders = nobody, more: Partial<LocalOptions> = { table: table() }) {
  const wrapper = join(habitat.dir, 'sudo.mjs');
  writeFileSync(
    wrapper,
    `import { spawn } from 'node:child_process';
     spawn(process.execPath, [${JSON.stringify(habitat.script)}, ...process.argv.slice(2)], { detached: true, stdio: 'ignore' }).unref();
     setInterval(() => {}, 1e6);`,
  );
  const control = new SpawnControl({
    ...habitat.options({ holders, ...more }),
    command: [process.execPath, wrapper, 'serve'],
  });
  const { pid } = await control.start(habitat.signal);
  return { control, pid: pid!, server: (await habitat.ask()).pid };
}

test.each([
  ['cannot be seen', nobody],
  ['is another user’s', otherUser],
])(
  'its command ends and the server, which %s, answers on: nobody calls it dead',
  async (_, holders) => {
    const { control, pid, server } = await started(holders);
    expect(server).not.toBe(pid);
    process.kill(pid, 'SIGKILL');
    const notice = await waitFor(() => habitat.notices.find((each) => each.includes('answers on')));
    expect(notice).toContain('warn: the command that started the server has ended (by SIGKILL)');
    expect(habitat.exits).toEqual([]);
    expect((await habitat.ask()).pid).toBe(server);
    await control.dispose('leave');
  },
);

test('its command ends and nothing answers any more: its end is told, once', async () => {
  const { control, pid, server } = await started();
  process.kill(server, 'SIGKILL');
  await waitFor(() =>
    habitat.ask().then(
      () => false,
      () => true,
    ),
  );
  process.kill(pid, 'SIGKILL');
  await waitFor(() => habitat.exits.length > 0);
  expect(habitat.exits).toEqual([{ pid, code: null, signal: 'SIGKILL' }]);
  await control.dispose('leave');
});

test.each([
  ['another user’s', otherUser],
  ['root’s', docker],
])('it is %s: it is restarted, gets the password, and ends with the daemon', async (_, holders) => {
  const { control, pid, server } = await started(holders);
  const restarted = await control.restart(habitat.signal);
  expect(restarted.oldPid).toBe(pid);
  expect(restarted.pid).not.toBe(pid);
  expect((await habitat.ask()).pid).not.toBe(server);
  const { url, clock } = habitat;
  const guard = new PasswordGuard({ url, mode: 'spawn', caller: 'daemon', clock, holders });
  guard.follow(control);
  expect(await guard.authorise()).toEqual({ kind: 'granted' });
  await control.dispose('stop');
  expect(habitat.processes()).toEqual([]);
});

test('it is found again by the next daemon', async () => {
  const { control, pid, server } = await started(otherUser);
  await control.dispose('leave');
  const next = new SpawnControl(habitat.options({ holders: otherUser, table: table() }));
  expect((await next.start(habitat.signal)).pid).toBe(pid);
  expect((await habitat.ask()).pid).toBe(server);
  await next.dispose('stop');
  expect(habitat.processes()).toEqual([]);
});

test('a server of a user as whom our command runs nothing is not taken for its own', async () => {
  const error = await started(otherUser, {}).catch((each: unknown) => each);
  expect(error).toMatchObject({
    message: expect.stringMatching(/another process took port .* another user \(uid 4242\)/),
  });
});

/** As sudo is to a daemon that is not root: its signals are refused. */
function refuseSignals(): void {
  const kill = process.kill.bind(process);
  vi.spyOn(process, 'kill').mockImplementation((pid, signal) => {
    if (signal === 0) return kill(pid, signal);
    throw Object.assign(new Error('kill EPERM'), { code: 'EPERM' });
  });
}

test('a command that does not get healthy and cannot be ended is not called ended, and no second one starts', async () => {
  const options = habitat.options({ fake: 'deaf', startTimeoutMs: 300, stopGraceMs: 100 });
  const control = new SpawnControl({ ...options, holders: nobody, clock: fastClock });
  refuseSignals();
  for (const turn of ['first', 'second']) {
    const error = await control.start(habitat.signal).catch((each: unknown) => each);
    expect(error, turn).toMatchObject({
      serverAlive: 'unknown',
      message: expect.stringMatching(
        /did not get healthy .* could not be ended: still alive: pid .*EPERM/s,
      ),
    });
    expect(habitat.processes(), turn).toHaveLength(1);
  }
  vi.restoreAllMocks();
  await control.dispose('stop');
  expect(habitat.processes()).toEqual([]);
});

test('a command that lost the port to another process and cannot be ended is not called ended', async () => {
  const stranger: FindHolders = async () =>
    (await habitat.deps.isHealthy(habitat.signal)) === null ? [] : [{ pid: process.pid, uid: 0 }];
  const control = new SpawnControl(
    habitat.options({ holders: stranger, stopGraceMs: 100, clock: fastClock }),
  );
  refuseSignals();
  const error = await control.start(habitat.signal).catch((each: unknown) => each);
  expect(error).toMatchObject({
    serverAlive: 'unknown',
    message: expect.stringMatching(/another process took port .* could not be ended: still alive/),
  });
  expect(await control.endsOnStop()).toBe(true);
});
