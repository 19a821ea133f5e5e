import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { SystemClock } from '../../src/lib/clock.js';
import { serverDirIn, serverKey } from '../../src/lib/state-dir.js';
import { acquireLock, LockHeldError } from '../../src/process/lock.js';
import { bootId, ProcTable } from '../../src/process/table/proc-table.js';
import { CLI } from '../support/daemon.js';
import { freePort } from '../support/ports.js';
import { waitFor } from '../support/wait.js';

let dir: string;
const sleepers: ChildProcess[] = [];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'watchdog-lock-'));
  // Other tests on this machine have claims in the shared temporary folder.
  vi.stubEnv('TMPDIR', dir);
});
afterEach(() => {
  vi.unstubAllEnvs();
  for (const child of sleepers.splice(0)) child.kill('SIGKILL');
  rmSync(dir, { recursive: true });
});

const URL = 'http://localhost:4096';
const options = (pid?: number, url = URL) => ({
  url,
  env: { XDG_RUNTIME_DIR: dir },
  stateDir: dir,
  clock: new SystemClock(),
  ...(pid !== undefined && { pid }),
});
/** A living process, for a second daemon's claim. */
async function someone(): Promise<number> {
  const child = spawn('sleep', ['1000'], { stdio: 'ignore' });
  sleepers.push(child);
  await once(child, 'spawn');
  return child.pid!;
}

test('the second daemon for one server is refused and told the pid of the first', async () => {
  const lock = await acquireLock(options());
  const refused = await acquireLock(options(await someone())).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(LockHeldError);
  expect((refused as LockHeldError).pid).toBe(process.pid);
  expect((refused as LockHeldError).message).toContain(`pid ${process.pid}`);
  lock.release();
  (await acquireLock(options(await someone()))).release();
  expect(readdirSync(join(dir, 'opencode-watchdog', `lock-${serverKey(URL)}`))).toEqual([]);
});

test('a daemon with another environment, or after a logout, is refused too', async () => {
  const run = join(dir, 'run');
  const state = join(dir, 'state');
  for (const path of [run, state]) mkdirSync(path, { mode: 0o700 });
  const there = { env: { XDG_RUNTIME_DIR: run }, stateDir: state };
  const lock = await acquireLock({ ...options(), ...there });
  const other = { ...options(await someone()), stateDir: state };
  await expect(acquireLock({ ...other, env: {} })).rejects.toThrow(LockHeldError);
  // systemd empties the runtime directory when the user's last session ends.
  rmSync(run, { recursive: true });
  mkdirSync(run, { mode: 0o700 });
  await expect(acquireLock({ ...other, ...there })).rejects.toThrow(LockHeldError);
  lock.release();
  (await acquireLock({ ...other, env: {} })).release();
});

test.each(['the unit', 'the other'])(
  'a unit with a /tmp of its own and another watchdog of its user refuse each other: first %s',
  async (first) => {
    const systemState = join(dir, 'opencode-watchdog');
    const instance = join(systemState, 'shop');
    const unit = { state: serverDirIn(instance, URL), tmp: join(dir, 'private-tmp') };
    const other = { state: join(dir, 'home'), tmp: join(dir, 'tmp') };
    // systemd has made them when the unit was started, now or before.
    for (const path of [unit.state, unit.tmp, other.tmp]) {
      mkdirSync(path, { recursive: true, mode: 0o700 });
    }
    const claim = async ({ state, tmp }: typeof unit) => {
      vi.stubEnv('TMPDIR', tmp);
      return acquireLock({ ...options(await someone()), env: {}, stateDir: state, systemState });
    };
    const [earlier, later] = first === 'the unit' ? [unit, other] : [other, unit];
    const lock = await claim(earlier);
    await expect(claim(later)).rejects.toThrow(LockHeldError);
    lock.release();
    (await claim(later)).release();
  },
);

test('spellings of one server share its lock, other servers have their own', async () => {
  const lock = await acquireLock(options());
  const other = await someone();
  for (const url of ['http://127.0.0.1:4096', 'http://[::1]:4096/', 'http://localhost:4096/x']) {
    await expect(acquireLock(options(other, url)), url).rejects.toThrow(LockHeldError);
  }
  (await acquireLock(options(other, 'http://localhost:4097'))).release();
  (await acquireLock(options(other, 'http://example.org:4096'))).release();
  lock.release();
});

test('a daemon that was killed holds nothing', async () => {
  const first = await someone();
  await acquireLock(options(first));
  await expect(acquireLock(options())).rejects.toThrow(`pid ${first}`);
  const gone = once(sleepers[0]!, 'exit');
  sleepers[0]!.kill('SIGKILL');
  await gone;
  (await acquireLock(options())).release();
});

test.each([
  ['a pid that was recycled', { startTime: '1' }],
  ['an earlier boot', { bootId: 'before' }],
  ['another PID namespace', { pidNamespace: 'pid:[1]' }],
])('a claim of %s does not count', async (_, stale) => {
  const pid = await someone();
  const lock = await acquireLock(options(pid));
  const { startTime } = (await new ProcTable().read(pid))!;
  const claim = { pid, startTime, bootId: bootId(), pidNamespace: '', held: true, ...stale };
  for (const path of lock.paths) writeFileSync(path, JSON.stringify(claim));
  (await acquireLock(options())).release();
});

test('a file that is no claim is in nobody’s way', async () => {
  const lock = await acquireLock(options());
  writeFileSync(join(lock.paths[0]!, '../1.json'), '{');
  lock.release();
  (await acquireLock(options())).release();
});

test.each([
  ['a file', 'file'],
  ['a link that leads to itself', 'loop'],
  ['too long', 'x'.repeat(300)],
])('a runtime directory that is %s is passed over', async (_, name) => {
  writeFileSync(join(dir, 'file'), '');
  symlinkSync('loop', join(dir, 'loop'));
  const lock = await acquireLock({ ...options(), env: { XDG_RUNTIME_DIR: join(dir, name) } });
  expect(lock.paths).toHaveLength(2);
  await expect(acquireLock(options(await someone()))).rejects.toThrow(LockHeldError);
  lock.release();
});

test('of many daemons that start at once over a dead one, exactly one holds, every time', async () => {
  const pids = await Promise.all(Array.from({ length: 8 }, someone));
  for (let round = 0; round < 25; round++) {
    const [dead, ...rivals] = pids;
    const stale = await acquireLock(options(dead!));
    const claim = { pid: dead, startTime: '1', bootId: bootId(), pidNamespace: '', held: true };
    for (const path of stale.paths) writeFileSync(path, JSON.stringify(claim));
    const order = [...rivals].sort(() => Math.random() - 0.5);
    const results = await Promise.allSettled(order.map((pid) => acquireLock(options(pid))));
    const held = results.filter((result) => result.status === 'fulfilled');
    expect(held).toHaveLength(1);
    const holder = order[results.findIndex((result) => result.status === 'fulfilled')];
    const named = results.flatMap((result) => ('reason' in result ? [result.reason.pid] : []));
    expect(named).toEqual(named.map(() => holder));
    for (const { value } of held) value.release();
  }
});

test('real processes that race for the lock get it one at a time', async () => {
  const code = `
    import { acquireLock } from ${JSON.stringify(new globalThis.URL('../../src/process/lock.ts', import.meta.url).href)};
    import { SystemClock } from ${JSON.stringify(new globalThis.URL('../../src/lib/clock.ts', import.meta.url).href)};
    const lock = await acquireLock({ url: '${URL}', env: process.env, stateDir: '${dir}', clock: new SystemClock() })
      .catch((error) => { console.log(error.name + ' ' + error.pid); process.exit(1); });
    console.log('held');
    process.stdin.on('data', () => { lock.release(); process.exit(0); });`;
  const script = join(dir, 'race.mts');
  writeFileSync(script, code);
  const racers = Array.from({ length: 4 }, () => {
    const child = spawn(process.execPath, ['--import', 'tsx', script], {
      cwd: process.cwd(),
      env: { ...process.env, XDG_RUNTIME_DIR: dir },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    sleepers.push(child);
    return child;
  });
  const said = await Promise.all(
    racers.map(async (child) => String((await once(child.stdout!, 'data'))[0]).trim()),
  );
  expect(said.filter((words) => words === 'held')).toHaveLength(1);
  const winner = racers[said.indexOf('held')]!;
  expect(said.filter((words) => words === `LockHeldError ${winner.pid}`)).toHaveLength(3);
  winner.stdin!.end('x');
  await once(winner, 'exit');
});

/** A daemon that waits until a command has let go of the lock. */
async function waitingDaemon() {
  const url = `http://127.0.0.1:${await freePort()}`;
  const lock = await acquireLock({ ...options(await someone(), url), caller: 'command' });
  const child = spawn(process.execPath, [CLI, 'run', '--url', url, '--log-format', 'json'], {
    cwd: dir,
    env: {
      PATH: process.env.PATH,
      HOME: dir,
      TMPDIR: dir,
      XDG_RUNTIME_DIR: dir,
      OPENCODE_WATCHDOG_SERVER_CONTROL: 'external',
      OPENCODE_WATCHDOG_STATUS_LISTEN: 'off',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  sleepers.push(child);
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      said += String(chunk);
    });
  }
  const ended = once(child, 'close');
  const says = (words: string) =>
    waitFor(() => said.includes(words) || child.exitCode !== null || child.signalCode !== null, {
      what: words,
    });
  await says('waiting for another command');
  return { child, lock, says, ended, said: () => said };
}

test.each(['SIGTERM', 'SIGINT'] as const)(
  'a daemon that waits for the lock ends with 0 on %s, and starts nothing',
  async (signal) => {
    const { child, lock, ended, said } = await waitingDaemon();
    child.kill(signal);
    expect(await ended, said()).toEqual([0, null]);
    expect(said()).toContain(`ended by ${signal}`);
    expect(said()).not.toContain('daemon.started');
    lock.release();
  },
);

test('a daemon that waits for the lock reloads when it has it', async () => {
  const { child, lock, says, ended, said } = await waitingDaemon();
  child.kill('SIGHUP');
  lock.release();
  await says('config.reloaded');
  expect(said()).toContain('config.reloaded');
  child.kill('SIGTERM');
  expect(await ended, said()).toEqual([0, null]);
});
