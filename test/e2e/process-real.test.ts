/**
 * `process/` on a real opencode: its tree ends with it, and it outlives its daemon. For the rest see
 * test/long/process-real.test.ts.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { createControl } from '../../src/process/control/auto.js';
import { SpawnControl } from '../../src/process/control/spawn.js';
import { findHolders, isPortFree } from '../../src/process/table/port.js';
import { type FakeProvider, startFakeProvider } from '../support/fake-provider.js';
import { api } from '../support/opencode.js';
import { commandLine, descendants, isAlive } from '../support/processes.js';
import { serverHome } from '../support/real-process.js';
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

test('npm’s wrapper, the server below it and a running sleep are gone after a restart, with the port free between', async () => {
  const { home, url, port, options } = await newHome(true);
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
  const { home, url, options, lines } = await newHome(true);
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
