/** Faults of the daemon itself, caused in the real one: each gives a line in the log and exit code 1. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startDaemon } from '../support/daemon.js';
import { type FakeOpencode, startFakeOpencode } from '../support/fake-opencode.js';
import { waitFor } from '../support/wait.js';

let folder: string;
let server: FakeOpencode;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'watchdog-faults-'));
  server = await startFakeOpencode();
});
afterAll(async () => {
  await server.stop();
  await rm(folder, { recursive: true, force: true });
});

/** `fault` is loaded into the daemon before anything else. It may wait for a signal. */
async function daemonWith(fault: string) {
  const file = join(folder, `${Math.random()}.mjs`);
  await writeFile(file, fault);
  return startDaemon({
    config: { server: { url: server.url, control: 'observe' }, status: { listen: 'off' } },
    env: {
      PATH: process.env.PATH,
      HOME: folder,
      NODE_OPTIONS: `--import=${pathToFileURL(file).href}`,
    },
  });
}

it.each([
  ['an exception', `process.on('SIGURG', () => { throw new TypeError('a fault of ours'); });`],
  [
    'a rejection',
    `process.on('SIGURG', () => { Promise.reject(new TypeError('a fault of ours')); });`,
  ],
])('%s that nobody catches is one line, and exit code 1', async (_what, fault) => {
  const daemon = await daemonWith(fault);
  await daemon.saw('server.healthy');
  daemon.child.kill('SIGURG');
  const line = await daemon.saw('error');
  expect(line).toMatchObject({
    level: 'error',
    msg: expect.stringContaining('a fault of ours'),
    err: { name: 'TypeError', stack: expect.any(String) },
  });
  expect(await daemon.saw('daemon.stopped')).toMatchObject({ exitCode: 1 });
  expect(daemon.events('error')).toHaveLength(1);
  await waitFor(() => daemon.child.exitCode !== null, { what: 'the end of the daemon' });
  expect(await daemon.stop()).toBe(1);
});

it('a test that waits for an event of a daemon that has ended fails at once, and says how it ended', async () => {
  const daemon = await daemonWith(
    `process.on('SIGURG', () => { throw new TypeError('a fault of ours'); });`,
  );
  await daemon.saw('server.healthy');
  const waits = daemon.saw('session.stuck', {}, 600_000);
  daemon.child.kill('SIGURG');
  await expect(waits).rejects.toThrow(
    /no session\.stuck \{\}: the daemon has ended \(exit code 1\); the log's end:\n.*a fault of ours/s,
  );
  // What the log holds is found all the same.
  expect(await daemon.saw('daemon.stopped')).toMatchObject({ exitCode: 1 });
  await daemon.stop();
});

it('a test that waits for an event of a daemon that was killed names the signal', async () => {
  const daemon = await daemonWith('');
  const waits = daemon.saw('session.stuck', {}, 600_000);
  await Promise.all([expect(waits).rejects.toThrow('ended (SIGKILL)'), daemon.stop('SIGKILL')]);
});
