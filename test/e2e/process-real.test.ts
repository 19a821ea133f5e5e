import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { SystemClock } from '../../src/lib/clock.js';
import { AdoptControl } from '../../src/process/control/adopt.js';
import { createControl } from '../../src/process/control/auto.js';
import type { ControlDeps } from '../../src/process/control/control.js';
import { SpawnControl } from '../../src/process/control/spawn.js';
import type { LocalOptions } from '../../src/process/server/local-server.js';
import { findHolders, isPortFree } from '../../src/process/table/port.js';
import { type FakeProvider, startFakeProvider } from '../support/fake-provider.js';
import { api, binary, opencodeEnv, prepareHome, startOpencode } from '../support/opencode.js';
import { authHeader } from '../support/opencode-api.js';
import { freePort } from '../support/ports.js';
import { commandLine, descendants, isAlive } from '../support/processes.js';
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

/** One look with an end: opencode never answers the connections of its first half second. */
async function answers(
  url: string,
  cut = signal,
  headers?: Record<string, string>,
): Promise<boolean> {
  const timeout = AbortSignal.any([cut, AbortSignal.timeout(1_000)]);
  return fetch(`${url}/global/health`, { signal: timeout, ...(headers && { headers }) }).then(
    (answer) => answer.ok,
    () => false,
  );
}

function worldOf(url: string, password?: string) {
  const lines: string[] = [];
  const notices: string[] = [];
  const exits: unknown[] = [];
  const headers = password === undefined ? undefined : authHeader(password);
  const deps: ControlDeps = {
    isHealthy: async (cut) => ((await answers(url, cut, headers)) ? {} : null),
    onExit: (exit) => exits.push(exit),
    onSuspended: () => {},
    onOutput: ({ line }) => lines.push(line),
    onNotice: (level, message) => notices.push(`${level}: ${message}`),
  };
  return { deps, lines, notices, exits };
}

async function serverHome(viaWrapper = false) {
  const home = await prepareHome(provider, { viaWrapper });
  cleanups.push(() => home.remove());
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const world = worldOf(url);
  const options: LocalOptions = {
    url,
    command: ['opencode', 'serve'],
    directory: home.directory,
    env: opencodeEnv(home.path),
    deps: world.deps,
    clock: new SystemClock(),
    startTimeoutMs: 120_000,
    stopGraceMs: 2_000,
    stateDir: join(home.path, 'state/opencode-watchdog'),
  };
  return { home, port, url, options, ...world };
}

test('npm’s wrapper, the server below it and a running sleep are gone after a restart, with the port free between', async () => {
  const { home, url, port, options } = await serverHome(true);
  const control = new SpawnControl(options);
  const { pid } = await control.start(signal);
  const client = api(url);
  const session = await client.createSession({ directory: home.directory });
  await client.promptAsync(session.id, home.directory, '[[bash sleep 4242]]');
  const sleeping = await waitFor(
    () => home.processes().find((one) => commandLine(one) === 'sleep 4242'),
    {
      what: 'the tool to run',
    },
  );
  const before = home.processes();
  expect(before.length).toBeGreaterThanOrEqual(3);
  expect(descendants(pid!)).toContain(sleeping);

  const restarted = await control.restart(signal);
  expect(restarted.oldPid).toBe(pid);
  expect(before.filter(isAlive)).toEqual([]);
  expect((await findHolders('127.0.0.1', port)).map((holder) => holder.pid)).toEqual([
    restarted.pid,
  ]);
  expect(await control.memory()).toBeGreaterThan(100 * 2 ** 20);
  await control.dispose('stop');
  expect(home.processes()).toEqual([]);
  expect(await isPortFree('127.0.0.1', port)).toBe(true);
});

test('a server and the wrapper’s server live on when their daemon is SIGKILLed while they log, and are taken up by the next', async () => {
  const { home, url, options, lines } = await serverHome(true);
  const script = join(home.path, 'daemon.mts');
  const root = new URL('../../src/', import.meta.url).href;
  const plain = {
    ...options,
    deps: undefined,
    clock: undefined,
    command: ['opencode', 'serve', '--print-logs', '--log-level', 'DEBUG'],
  };
  writeFileSync(
    script,
    `import { SpawnControl } from '${root}process/control/spawn.ts';
     import { SystemClock } from '${root}lib/clock.ts';
     const isHealthy = async () => (await fetch('${url}/global/health', { signal: AbortSignal.timeout(1000) }).catch(() => null))?.ok ? {} : null;
     const control = new SpawnControl({ ...${JSON.stringify(plain)}, clock: new SystemClock(),
       deps: { isHealthy, onExit() {}, onOutput() {}, onNotice() {} } });
     console.log((await control.start(new AbortController().signal)).pid);
     setInterval(() => {}, 1e6);`,
  );
  const daemon: ChildProcess = spawn(process.execPath, ['--import', 'tsx', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const pid = Number(String((await once(daemon.stdout!, 'data'))[0]));
  daemon.kill('SIGKILL');
  await once(daemon, 'exit');

  const client = api(url);
  const log = join(options.stateDir, readLog(options.stateDir));
  const size = statSync(log).size;
  for (let i = 0; i < 3; i++)
    await client.createSession({ directory: await home.project(`p${i}`) });
  await waitFor(() => statSync(log).size > size, { what: 'the server to log on' });
  expect((await client.health()).healthy).toBe(true);
  expect(isAlive(pid)).toBe(true);

  const next = await createControl({ ...options, mode: 'auto' }, signal);
  expect(next).toMatchObject({ mode: 'spawn', reason: expect.stringContaining('earlier run') });
  expect(await next.control.attach(signal)).toMatchObject({ pid });
  await client.createSession({ directory: await home.project('p9') });
  await waitFor(() => lines.length > 0, { what: 'the next daemon to read on' });
  await next.control.dispose('stop');
  expect(home.processes()).toEqual([]);
});

function readLog(dir: string): string {
  const found = spawnSync('ls', [dir], { encoding: 'utf8' }).stdout.split('\n');
  return found.find((name) => name.endsWith('.stderr.log'))!;
}

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

test('a server whose binary was replaced by an upgrade is still known as opencode', async () => {
  const { home, url, port, options } = await serverHome();
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
  const { home, options } = await serverHome();
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
  const { home, url, port, options } = await serverHome();
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
  // The shell becomes opencode, and is PID 1; the daemon's part runs beside it.
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
