/** Files that another user, or the watched agent, has put where the daemon keeps its own: they are not believed. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { SystemClock } from '../../src/lib/clock.js';
import { serverKey } from '../../src/lib/state-dir.js';
import { createControl } from '../../src/process/control/auto.js';
import { SpawnControl } from '../../src/process/control/spawn.js';
import { acquireLock } from '../../src/process/lock.js';
import { MAX_FILE_BYTES } from '../../src/process/server/output.js';
import { bootId, ProcTable } from '../../src/process/table/proc-table.js';
import { listen } from '../../src/status/listen.js';
import { giveAway, isRoot, needsRoot } from '../support/other-user.js';
import { isAlive } from '../support/processes.js';
import { Habitat } from '../unit/process/support.js';

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});
async function bystander(): Promise<{ pid: number; startTime: string }> {
  const child = spawn('sleep', ['1000'], { stdio: 'ignore' });
  children.push(child);
  await once(child, 'spawn');
  const { pid, startTime } = (await new ProcTable().read(child.pid!))!;
  return { pid, startTime };
}

describe('a forged record of a started server', () => {
  let habitat: Habitat;
  let stateDir: string;
  beforeEach(async () => {
    habitat = await Habitat.make();
    stateDir = join(habitat.dir, 'state');
    mkdirSync(stateDir, { mode: 0o700 });
  });
  afterEach(() => habitat.clear());
  const forge = (record: object) =>
    writeFileSync(
      join(stateDir, 'server.json'),
      JSON.stringify({ url: habitat.url, bootId: bootId(), ...record }),
    );

  test('has no process ended that does not show its mark', async () => {
    const root = await bystander();
    forge({ root, server: root, mark: randomUUID() });
    const { mode, control } = await createControl(
      { ...habitat.options(), mode: 'auto' },
      habitat.signal,
    );
    expect(mode).toBe('spawn');
    await control.attach(habitat.signal);
    await control.dispose('stop');
    expect(isAlive(root.pid)).toBe(true);
    const { pid } = await control.start(habitat.signal);
    expect(pid).not.toBe(root.pid);
    await control.dispose('stop');
    expect(isAlive(root.pid)).toBe(true);
  });

  test('has no file read or emptied that it names', async () => {
    const victim = join(habitat.dir, 'victim');
    writeFileSync(victim, 'precious');
    truncateSync(victim, MAX_FILE_BYTES + 1);
    const first = new SpawnControl(habitat.options());
    await first.start(habitat.signal);
    await first.dispose('leave');
    const genuine = JSON.parse(readFileSync(join(stateDir, 'server.json'), 'utf8'));
    forge({ ...genuine, files: { stdout: victim, stderr: victim } });
    rmSync(join(stateDir, 'server.stdout.log'));
    symlinkSync(victim, join(stateDir, 'server.stdout.log'));
    const next = new SpawnControl(habitat.options());
    expect(await next.attach(habitat.signal)).not.toBeNull();
    await next.dispose('stop');
    expect(statSync(victim).size).toBe(MAX_FILE_BYTES + 1);
    expect(habitat.processes()).toEqual([]);
  });

  test('that is a link is replaced, not written through', async () => {
    const victim = join(habitat.dir, 'victim');
    writeFileSync(victim, 'precious');
    for (const name of ['server.json', 'server.stdout.log', 'server.stderr.log']) {
      symlinkSync(victim, join(stateDir, name));
    }
    const control = new SpawnControl(habitat.options());
    await control.start(habitat.signal);
    expect(readFileSync(victim, 'utf8')).toBe('precious');
    expect(lstatSync(join(stateDir, 'server.json')).isFile()).toBe(true);
    await control.dispose('stop');
  });
});

describe('the lock and the socket', () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'watchdog-forged-'));
    // The lock has a place in the temporary folder, which the machine's other daemons and tests share.
    vi.stubEnv('TMPDIR', dir);
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    rmSync(dir, { recursive: true });
  });

  test.skipIf(!isRoot)(
    `a claim that another user has laid in the shared temporary folder keeps nobody from starting${needsRoot}`,
    async () => {
      const url = 'http://localhost:4096';
      const base = join(dir, `opencode-watchdog-${process.geteuid?.()}`);
      const place = join(base, `lock-${serverKey(url)}`);
      mkdirSync(place, { recursive: true, mode: 0o755 });
      const { pid, startTime } = await bystander();
      const pidNamespace = readlinkSync('/proc/self/ns/pid');
      const path = join(place, `${pid}.json`);
      const claim = { pid, startTime, bootId: bootId(), pidNamespace, held: true };
      writeFileSync(path, JSON.stringify(claim));
      const options = { url, env: {}, stateDir: join(dir, 'state'), clock: new SystemClock() };
      // Written by ourselves it counts, so the test's claim is a valid one.
      await expect(acquireLock(options)).rejects.toThrow(`pid ${pid}`);
      giveAway(path);
      (await acquireLock(options)).release();
      giveAway(place, base);
      (await acquireLock(options)).release();
      expect(existsSync(path)).toBe(true);
    },
  );

  test('a living status socket whose queue is full is not taken over', async () => {
    const path = join(dir, 'status.sock');
    const child = spawn(process.execPath, [
      '-e',
      `require('net').createServer().listen({ path: ${JSON.stringify(path)}, backlog: 1 }, () => console.log('up'))`,
    ]);
    children.push(child);
    await once(child.stdout, 'data');
    child.kill('SIGSTOP');
    const sockets: Socket[] = [];
    let code: unknown;
    while (code === undefined && sockets.length < 20) {
      const socket = connect(path);
      sockets.push(socket);
      code = await new Promise((resolve) => {
        socket.once('connect', () => resolve(undefined));
        socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code));
      });
    }
    expect(code).toBe('EAGAIN');
    const { ino } = statSync(path);
    await expect(listen(createServer(), { kind: 'unix', path })).rejects.toThrow('EADDRINUSE');
    expect(statSync(path).ino).toBe(ino);
    for (const socket of sockets) socket.destroy();
  });
});
