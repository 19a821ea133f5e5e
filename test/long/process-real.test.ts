/** `process/` on a real opencode, the rarer cases: a replaced binary, a second server, PID 1, an adopted server. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { SystemClock } from '../../src/lib/clock.js';
import { AdoptControl } from '../../src/process/control/adopt.js';
import { SpawnControl } from '../../src/process/control/spawn.js';
import { type FakeProvider, startFakeProvider } from '../support/fake-provider.js';
import { binary, opencodeEnv, startOpencode } from '../support/opencode.js';
import { isAlive } from '../support/processes.js';
import { answers, serverHome, worldOf } from '../support/real-process.js';
import { waitFor } from '../support/wait.js';

let provider: FakeProvider;
const cleanups: Array<() => Promise<unknown>> = [];
beforeAll(async () => {
  provider = await startFakeProvider();
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});
afterAll(() => provider.stop());

const signal = new AbortController().signal;

async function newHome(viaWrapper = false) {
  const made = await serverHome(provider, viaWrapper);
  cleanups.push(() => made.home.remove());
  return made;
}

test('a server whose binary was replaced by an upgrade is still known as opencode', async () => {
  const { home, url, port, options } = await newHome();
  const copy = join(home.path, 'bin/opencode-copy/opencode');
  cpSync(binary(), copy);
  const child = spawn(copy, ['serve', '--hostname', '127.0.0.1', '--port', String(port)], {
    cwd: home.directory,
    env: opencodeEnv(home.path),
    stdio: 'ignore',
  });
  await waitFor(() => answers(url), { timeout: 120_000 });
  rmSync(copy);
  const control = new AdoptControl(options);
  expect(await control.attach(signal)).toMatchObject({ pid: child.pid });
  await control.dispose('stop');
});

test('a second server on a taken port is never started', async () => {
  const { home, options } = await newHome();
  const first = new SpawnControl({ ...options, stateDir: join(home.path, 'one') });
  const { pid } = await first.start(signal);
  const second = new SpawnControl({ ...options, stateDir: join(home.path, 'two') });
  expect((await second.start(signal)).pid).toBe(pid);
  await second.dispose('stop');
  expect(isAlive(pid!)).toBe(true);
  await first.dispose('stop');
});

const unshare = ['--pid', '--fork', '--mount-proc', '--kill-child'];
const namespaces = spawnSync('unshare', [...unshare, 'true']);
const noNamespace =
  namespaces.error?.message ??
  (namespaces.status === 0 ? undefined : String(namespaces.stderr).trim());

test('as PID 1 of its namespace the server survives every signal, and that is said and never reported as a kill', async (context) => {
  if (noNamespace) context.skip(`no PID namespace can be made here: ${noNamespace}`);
  const { home, url, port, options } = await newHome();
  const dir = mkdtempSync(join(tmpdir(), 'watchdog-pid1-'));
  cleanups.push(async () => rmSync(dir, { recursive: true }));
  const root = new URL('../../src/', import.meta.url).href;
  const script = join(dir, 'inside.mts');
  const result = join(dir, 'result.json');
  const plain = { ...options, deps: undefined, clock: undefined };
  writeFileSync(
    script,
    `import { writeFileSync, renameSync } from 'node:fs';
     import { createControl } from '${root}process/control/auto.ts';
     import { SystemClock } from '${root}lib/clock.ts';
     const notices = [];
     const isHealthy = async () => (await fetch('${url}/global/health', { signal: AbortSignal.timeout(1000) }).catch(() => null))?.ok ? {} : null;
     const options = { ...${JSON.stringify(plain)}, clock: new SystemClock(),
       deps: { isHealthy, onExit() {}, onOutput() {}, onNotice: (_, message) => notices.push(message) } };
     const { signal } = new AbortController();
     for (let i = 0; i < 1200 && !(await isHealthy()); i++) await new Promise((r) => setTimeout(r, 100));
     const auto = await createControl({ ...options, mode: 'auto' }, signal);
     const errors = {};
     for (const mode of ['spawn', 'adopt', 'external']) {
       const { control } = await createControl({ ...options, mode }, signal);
       await control.attach(signal);
       errors[mode] = await control.restart(signal).then(() => 'restarted', (e) => e.message + ' alive:' + e.serverAlive);
     }
     process.kill(1, 'SIGKILL');
     await new Promise((r) => setTimeout(r, 300));
     const alive = (await isHealthy()) !== null;
     writeFileSync('${result}.part', JSON.stringify({ mode: auto.mode, reason: auto.reason, notices, errors, alive }));
     renameSync('${result}.part', '${result}');`,
  );
  // The shell becomes opencode, with PID 1. The daemon's part runs beside it.
  const inside = `"$NODE" --import tsx ${script} & exec opencode serve --hostname 127.0.0.1 --port ${port}`;
  const child = spawn('unshare', [...unshare, 'sh', '-c', inside], {
    cwd: new URL('../..', import.meta.url).pathname,
    env: { ...opencodeEnv(home.path), NODE: process.execPath },
    stdio: 'ignore',
  });
  cleanups.push(async () => {
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  });
  await waitFor(() => existsSync(result), {
    what: 'the daemon inside the namespace',
    timeout: 150_000,
  });
  const seen = JSON.parse(readFileSync(result, 'utf8'));
  expect(seen).toMatchObject({ mode: 'observe', alive: true });
  expect(seen.reason).toContain('PID 1');
  for (const mode of ['spawn', 'adopt', 'external']) {
    expect(seen.errors[mode], mode).toContain('PID 1');
    expect(seen.errors[mode], mode).toContain('init: true');
    expect(seen.errors[mode], mode).toContain('alive:true');
  }
});

test('an adopted server comes back with its command line, directory, environment and password', async () => {
  const server = await startOpencode({
    provider,
    viaWrapper: true,
    password: 'hunter2',
    env: { SPECIAL: 'kept' },
  });
  cleanups.push(() => server.stop());
  const { deps, notices } = worldOf(server.url, 'hunter2');
  const control = new AdoptControl({
    url: server.url,
    command: ['opencode', 'serve'],
    directory: '/',
    env: { PATH: process.env.PATH },
    deps,
    clock: new SystemClock(),
    startTimeoutMs: 120_000,
    stopGraceMs: 2_000,
    stateDir: join(server.home.path, 'watchdog'),
  });
  const attached = await control.attach(signal);
  expect(attached?.pid).not.toBe(server.pid);
  const look = (pid: number) => ({
    argv: readFileSync(`/proc/${pid}/cmdline`, 'utf8'),
    env: readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').sort(),
  });
  const old = look(attached!.pid);
  const restarted = await control.restart(signal);
  expect(restarted.oldPid).toBe(attached!.pid);
  const now = look(restarted.pid!);
  const isMark = (entry: string) => entry.startsWith('OPENCODE_WATCHED_AS=');
  expect({ ...now, env: now.env.filter((entry) => !isMark(entry)) }).toEqual(old);
  expect(now.env.filter(isMark)).toHaveLength(1);
  expect(old.env).toEqual(
    expect.arrayContaining(['SPECIAL=kept', 'OPENCODE_SERVER_PASSWORD=hunter2']),
  );
  expect(notices.join()).not.toContain('could not read');
  expect((await server.api.health()).healthy).toBe(true);
  await control.dispose('stop');
  expect(server.home.processes()).toEqual([]);
});
