/**
 * Another local user holds the port, or uses one of opencode's names: what is done to that process, and what is sent to
 * it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { guardFor } from '../../src/commands/server.js';
import type { LoadedConfig } from '../../src/config/load.js';
import { defaultConfig } from '../../src/config/schema.js';
import { AdoptControl } from '../../src/process/control/adopt.js';
import { createControl } from '../../src/process/control/auto.js';
import type { ControlMode } from '../../src/process/control/control.js';
import { ExternalControl } from '../../src/process/control/external.js';
import { ObserveControl } from '../../src/process/control/observe.js';
import { SpawnControl } from '../../src/process/control/spawn.js';
import { type GuardOptions, PasswordGuard } from '../../src/process/identity/password-guard.js';
import type { ServerUser } from '../../src/process/identity/user.js';
import { isRoot, needsRoot, OTHER_UID } from '../support/other-user.js';
import { isAlive } from '../support/processes.js';
import { waitFor } from '../support/wait.js';
import { Habitat } from '../unit/process/support.js';

const NOBODY: ServerUser = {
  name: 'nobody',
  uid: OTHER_UID,
  gid: OTHER_UID,
  home: '/nonexistent',
  shell: '/usr/sbin/nologin',
};

let habitat: Habitat;
const children: ChildProcess[] = [];
beforeEach(async () => {
  habitat = await Habitat.make();
  chmodSync(habitat.dir, 0o755);
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await habitat.clear();
});

/** Starts a program that listens on the habitat's port, as the given user. */
async function listening(argv: readonly string[], uid?: number, fake = ''): Promise<number> {
  const [program = '', ...args] = argv;
  const child = spawn(program, args, {
    cwd: '/',
    env: habitat.env({ OPENCODE_MARK: 'adopted', FAKE: fake }),
    stdio: 'ignore',
    ...(uid !== undefined && { uid, gid: uid }),
  });
  children.push(child);
  await once(child, 'spawn');
  await waitFor(async () => (await habitat.deps.isHealthy(habitat.signal)) !== null, {
    what: 'the server to listen',
  });
  return child.pid!;
}
const address = () => ['--hostname', '127.0.0.1', '--port', String(habitat.port)];
const opencodeOf = (uid?: number, fake = '') =>
  listening([...habitat.command, ...address()], uid, fake);
/** Its name is not opencode's, but it answers like one. */
const strangerOf = (uid?: number) =>
  listening(
    [
      process.execPath,
      '-e',
      `require('http').createServer((q, r) => r.end('{"healthy":true}')).listen(${habitat.port}, '127.0.0.1')`,
    ],
    uid,
  );
const uidOf = (pid: number) =>
  Number(/^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
const errorOf = (act: Promise<unknown>) =>
  act.then(
    () => '',
    (error: Error) => error.message,
  );

describe.skipIf(!isRoot)(`a daemon that runs as root${needsRoot}`, () => {
  test('neither adopts nor starts again another user’s opencode, which lives on', async () => {
    const pid = await opencodeOf(OTHER_UID);
    const adopt = new AdoptControl(habitat.options());
    expect(await adopt.attach(habitat.signal)).toBeNull();
    expect(await errorOf(adopt.restart(habitat.signal))).toContain('server.user');
    const spawning = new SpawnControl(habitat.options());
    expect(await errorOf(spawning.start(habitat.signal))).toContain('server.user');
    expect(habitat.notices.join()).toContain(`uid ${OTHER_UID}`);
    const auto = await createControl({ ...habitat.options(), mode: 'auto' }, habitat.signal);
    expect(auto.mode).toBe('observe');
    expect(isAlive(pid)).toBe(true);
    await auto.control.dispose('stop');
    await adopt.dispose('stop');
    expect(isAlive(pid)).toBe(true);
  });

  test('starts the opencode of server.user again as that user', async () => {
    const pid = await opencodeOf(OTHER_UID);
    const adopt = new AdoptControl(habitat.options({ user: NOBODY }));
    expect(await adopt.attach(habitat.signal)).toMatchObject({ pid });
    const restarted = await adopt.restart(habitat.signal);
    expect(isAlive(pid)).toBe(false);
    expect(uidOf(restarted.pid!)).toBe(OTHER_UID);
    expect((await habitat.ask()).env).toMatchObject({ OPENCODE_MARK: 'adopted' });
    await adopt.dispose('stop');
    expect(habitat.processes()).toEqual([]);
  });

  test('starts its own opencode again as itself, whoever server.user is, and ends the tools of that one too', async () => {
    const pid = await opencodeOf(undefined, 'tool');
    const adopt = new AdoptControl(habitat.options({ user: NOBODY }));
    expect(await adopt.attach(habitat.signal)).toMatchObject({ pid });
    const restarted = await adopt.restart(habitat.signal);
    expect(uidOf(restarted.pid!)).toBe(0);
    const tool = (await habitat.ask()).tool!;
    process.kill(restarted.pid!, 'SIGKILL');
    await waitFor(() => habitat.exits.length === 1);
    await adopt.restart(habitat.signal);
    expect(isAlive(tool)).toBe(false);
    await adopt.dispose('stop');
    expect(habitat.processes()).toEqual([]);
  });

  test('spawns as server.user, with that user’s home and none of root’s groups', async () => {
    const options = habitat.options({ user: NOBODY });
    const env = { ...options.env, HOME: '/root', XDG_DATA_HOME: '/root/data', SUDO_USER: 'x' };
    const control = new SpawnControl({ ...options, env });
    const { pid } = await control.start(habitat.signal);
    expect(uidOf(pid!)).toBe(OTHER_UID);
    expect(readFileSync(`/proc/${pid}/status`, 'utf8')).toMatch(/^Groups:\s*(65534)?\s*$/m);
    const seen = await habitat.ask();
    expect(seen.env).toMatchObject({ HOME: '/nonexistent', USER: 'nobody', LOGNAME: 'nobody' });
    expect(seen.env).not.toHaveProperty('XDG_DATA_HOME');
    expect(seen.env).not.toHaveProperty('SUDO_USER');
    await control.dispose('stop');
    expect(habitat.processes()).toEqual([]);
  });

  test('ends another user’s opencode where something else starts the next one (external)', async () => {
    const pid = await opencodeOf(OTHER_UID);
    const control = new ExternalControl(habitat.options());
    expect(await control.attach(habitat.signal)).toMatchObject({ pid });
    const restart = control.restart(habitat.signal);
    await waitFor(() => !isAlive(pid), { what: 'the server to be ended' });
    const next = await opencodeOf(OTHER_UID);
    expect(await restart).toMatchObject({ oldPid: pid, pid: next });
    await control.dispose();
    expect(isAlive(next)).toBe(true);
  });

  test.each([
    ['a command', 'command', undefined],
    ['a daemon before it has chosen its control', 'daemon', undefined],
    ['a daemon that looks on (observe)', 'daemon', 'observe'],
    ['a daemon that has adopted', 'daemon', 'adopt'],
  ] as const)(
    '%s withholds the password from another user’s process, and names it',
    async (_, caller, mode) => {
      const pid = await strangerOf(OTHER_UID);
      const answer = await guard({ caller }, mode).authorise();
      expect(answer).toMatchObject({ kind: 'withheld' });
      const why = answer.kind === 'withheld' ? answer.why : '';
      expect(why).toContain('The password was withheld');
      expect(why).toContain(`pid ${pid}`);
      expect(why).toContain(`uid ${OTHER_UID}`);
      expect(why).toContain('set server.control to');
    },
  );

  test('a command gives the password to the opencode of server.user, and to no other user’s', async () => {
    await opencodeOf(OTHER_UID);
    const config = defaultConfig();
    Object.assign(config.server, { url: habitat.url, command: habitat.command });
    const asked = (user: string | null) => {
      config.server.user = user;
      return guardFor({ config } as LoadedConfig, habitat.clock).authorise();
    };
    expect(await asked(String(OTHER_UID))).toEqual({ kind: 'granted' });
    for (const user of [null, 'daemon', 'no-such-user-here']) {
      expect(await asked(user)).toMatchObject({ kind: 'withheld' });
    }
  });

  test('a daemon whose auto chose observe withholds the password from another user’s opencode', async () => {
    const pid = await opencodeOf(OTHER_UID);
    const auto = await createControl({ ...habitat.options(), mode: 'auto' }, habitat.signal);
    expect(auto.mode).toBe('observe');
    const made = guard({ caller: 'daemon' });
    made.follow(auto.control);
    expect(await made.authorise()).toMatchObject({
      kind: 'withheld',
      why: expect.stringContaining(`pid ${pid}`),
    });
    // A server that the user vouches for gets it, and is watched.
    const configured = await createControl(
      { ...habitat.options(), mode: 'observe' },
      habitat.signal,
    );
    expect(await configured.control.attach(habitat.signal)).toMatchObject({ pid });
    expect(await guard({ caller: 'daemon', mode: 'observe' }).authorise()).toEqual({
      kind: 'granted',
    });
  });

  test.each(['external', 'command', 'docker', 'observe'] as const)(
    'control: %s, set by the user, vouches for another user’s server',
    async (mode) => {
      await strangerOf(OTHER_UID);
      expect(await guard({ caller: 'daemon', mode }).authorise()).toEqual({ kind: 'granted' });
    },
  );
});

function guard(options: Partial<GuardOptions>, mode?: ControlMode): PasswordGuard {
  const { url, clock, command } = habitat.options();
  const made = new PasswordGuard({
    url,
    clock,
    command,
    caller: 'command',
    mode: 'auto',
    ...options,
  });
  if (mode === 'observe') made.follow(new ObserveControl(habitat.options(), 'for the test'));
  if (mode === 'adopt') made.follow(new AdoptControl(habitat.options()));
  return made;
}

test('a tunnel or a proxy of our own user gets the password of a command and of a daemon that looks on', async () => {
  await strangerOf();
  expect(await guard({ caller: 'command' }).authorise()).toEqual({ kind: 'granted' });
  expect(await guard({ caller: 'daemon' }, 'observe').authorise()).toEqual({ kind: 'granted' });
});

test('a daemon that spawns or adopts wants proof, even of its own user’s processes', async () => {
  const pid = await strangerOf();
  for (const mode of [undefined, 'adopt'] as const) {
    const answer = await guard({ caller: 'daemon' }, mode).authorise();
    expect(answer).toMatchObject({ kind: 'withheld', why: expect.stringContaining(`pid ${pid}`) });
  }
});

test('the password goes to a proven opencode, and after its loss not to who takes the port', async () => {
  const pid = await opencodeOf();
  const asked = guard({ caller: 'daemon' }, 'adopt');
  expect(await asked.authorise()).toEqual({ kind: 'granted' });
  expect(await asked.authorise()).toEqual({ kind: 'granted' });
  process.kill(pid, 'SIGKILL');
  await waitFor(() => !isAlive(pid));
  expect(await asked.authorise()).toMatchObject({ kind: 'withheld' });
  await strangerOf();
  expect(await asked.authorise()).toMatchObject({ kind: 'withheld' });
});

test('a holder in another PID namespace is known by its socket’s user alone', async () => {
  const { url } = habitat;
  const holders = (uid: number) => async () => [{ uid }];
  const own = process.geteuid?.() ?? 0;
  for (const uid of [own, 0]) {
    expect(await guard({ url, holders: holders(uid) }).authorise()).toEqual({ kind: 'granted' });
  }
  for (const uid of [own + 1, OTHER_UID]) {
    const answer = await guard({ url, holders: holders(uid) }).authorise();
    expect(answer).toMatchObject({
      kind: 'withheld',
      why: expect.stringMatching(new RegExp(`uid ${uid}.*server.control`)),
    });
    const vouched = guard({ url, mode: 'external', holders: holders(uid) });
    expect(await vouched.authorise()).toEqual({ kind: 'granted' });
  }
});

test('another machine’s server gets the password, as ever', async () => {
  const { authorise } = guard({ url: 'https://192.0.2.1:4096', caller: 'daemon' });
  expect(await authorise()).toEqual({ kind: 'granted' });
});

test('localhost leads to [::1] only where a proven opencode listens there and nobody on 127.0.0.1', async () => {
  const url = `http://localhost:${habitat.port}`;
  const there = async () => [{ pid: process.pid, uid: process.geteuid?.() ?? 0 }];
  const sleeper = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6)']);
  children.push(sleeper);
  await once(sleeper, 'spawn');
  const command = [process.execPath, '-e', 'setInterval(() => {}, 1e6)'];
  const v6 = async (host: string) =>
    host === '::1' ? [{ pid: sleeper.pid!, uid: process.geteuid?.() ?? 0 }] : [];
  expect(await guard({ url, command, holders: v6 }).authorise()).toEqual({
    kind: 'granted',
    hostname: '::1',
  });
  const stranger = async (host: string) => (host === '::1' ? there() : []);
  expect(await guard({ url, command, holders: stranger }).authorise()).toMatchObject({
    kind: 'withheld',
  });
});
