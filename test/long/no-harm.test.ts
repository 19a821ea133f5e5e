import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { startBufferingProxy } from '../support/buffering-proxy.js';
import { runCli } from '../support/command.js';
import type { TestDaemon } from '../support/daemon.js';
import { ASK_BASH } from '../support/judged-world.js';
import { api } from '../support/opencode.js';
import type { NewSession } from '../support/opencode-api.js';
import { freePort } from '../support/ports.js';
import { isAlive } from '../support/processes.js';
import { measureSlowness, slowness, stretched } from '../support/slowness.js';
import { waitFor } from '../support/wait.js';
import { createWorld, type World } from '../support/world.js';

let world: World;
let opencode: ReturnType<typeof api>;
/** The one real server, started by the first daemon. */
let server: number;
let watchdog: TestDaemon;

beforeAll(async () => {
  world = await createWorld();
  opencode = api(world.url);
  watchdog = await world.daemon({ server: { control: 'spawn', onExit: 'leave' } });
  const { pid } = await watchdog.saw('server.healthy', {}, 120_000);
  server = pid!;
  await measureSlowness();
  await finished(await begin('warm-up', '[[ok]]'));
});
afterAll(() => world?.end());

async function begin(
  title: string,
  prompt: string,
  permission?: NewSession['permission'],
): Promise<string> {
  const { directory, provider } = world;
  const { id } = await opencode.createSession({
    directory,
    title,
    ...(permission && { permission }),
  });
  await opencode.promptAsync(id, directory, `${prompt} (${title})`);
  await waitFor(() => provider.count(`(${title})`) > 0, {
    what: `the provider to be asked: ${title}`,
    timeout: 60_000,
  });
  return id;
}

const isAtWork = async (id: string) => id in (await opencode.status(world.directory));

async function finished(id: string): Promise<void> {
  await waitFor(
    async () => {
      const last = (await opencode.messages(id, world.directory)).at(-1)?.info;
      if (last?.role === 'assistant' && last.finish === 'stop') return !(await isAtWork(id));
      throw new Error(`its last message is ${JSON.stringify(last)}`);
    },
    { what: `${id} to finish`, timeout: 90_000 },
  );
}

const endedByUs = ({ lines }: TestDaemon) =>
  lines.filter(({ event }) => ['session.stuck', 'session.aborting'].includes(event));

test('Ctrl-C on a dry run beside a running daemon leaves that daemon’s server and its run alone', async () => {
  const run = await begin('beside a dry run', `[[stream ${Math.ceil(60 * slowness())} 100]]`);
  const dry = await world.daemon({ server: { control: 'spawn', onExit: 'stop' } }, ['--dry-run']);
  await dry.saw('stream.connected', {}, 60_000);
  expect(await dry.stop('SIGINT')).toBe(0);
  expect(isAlive(server)).toBe(true);
  await finished(run);
  expect(watchdog.events('server.exited')).toEqual([]);
  expect(world.provider.about('(beside a dry run)').some(({ aborted }) => aborted)).toBe(false);
});

test('SIGINT ends a daemon that is to leave its server, and the server and its run go on', async () => {
  const run = await begin('left alone', `[[stream ${Math.ceil(40 * slowness())} 100]]`);
  expect(await watchdog.stop('SIGINT')).toBe(0);
  expect(watchdog.events('session.interrupted')).toEqual([]);
  expect(isAlive(server)).toBe(true);
  await finished(run);
});

test('a restart command that fails costs nothing: `restart` ends with 1, and the run goes on', async () => {
  const run = await begin(
    'beside a failing command',
    `[[stream ${Math.ceil(60 * slowness())} 100]]`,
  );
  const config = {
    server: {
      control: 'command',
      restartCommand: ['sh', '-c', 'echo no such unit >&2; exit 3'],
      directory: world.directory,
      url: world.url,
    },
    status: { listen: `127.0.0.1:${await freePort()}` },
  };
  const daemon = await world.daemon(config);
  await daemon.saw('stream.connected', {}, 60_000);
  const file = join(world.home.path, 'failing-command.yaml');
  await writeFile(file, stringify(config));
  const { code, out, err } = await runCli(['restart', '--config', file], { env: world.env });
  expect(code, out + err).toBe(1);
  expect(out + err).toContain('exit code 3');
  await finished(run);
  expect(daemon.events('server.restarting')).toHaveLength(1);
  expect(daemon.events('server.restart_failed')).toHaveLength(1);
  expect(daemon.events('server.exited')).toEqual([]);
  expect(daemon.events('session.interrupted')).toEqual([]);
  expect((await daemon.saw('session.ended', { sessionID: run })).outcome).toBe('completed');
  expect(await daemon.stop()).toBe(0);
  expect(isAlive(server)).toBe(true);
});

test('behind a proxy that buffers the event stream, a run that hangs is ended, and it alone', async () => {
  const proxy = await startBufferingProxy(world.url);
  world.defer(() => proxy.stop());
  const daemon = await world.daemon({
    server: { url: proxy.url, control: 'observe' },
    stall: { maxSilence: `${stretched(8_000)}ms` },
    watch: { pollInterval: '1s' },
  });
  await daemon.saw('server.healthy', {}, 60_000);
  const hang = await begin('hang', '[[hang]]');
  const streams = await begin('streams', `[[stream ${Math.ceil(200 * slowness())} 100]]`);
  const tool = await begin('tool', `[[bash sleep ${Math.ceil(20 * slowness())}]]`);
  const asks = await begin('asks', '[[bash echo hello]]', ASK_BASH);
  await daemon.saw('stream.unavailable', {}, 60_000);
  await daemon.saw('session.aborted', { sessionID: hang, reason: 'silence' }, 60_000);
  await Promise.all([streams, tool].map(finished));
  expect(await isAtWork(asks)).toBe(true);
  expect(await isAtWork(hang)).toBe(false);
  expect(new Set(endedByUs(daemon).map(({ sessionID }) => sessionID))).toEqual(new Set([hang]));
  await opencode.abort(asks, world.directory);
  await daemon.stop();
});

test('runs that a dispose of their directory cuts are told as interrupted, by somebody else', async () => {
  const daemon = await world.daemon({ server: { control: 'observe' } });
  await daemon.saw('stream.connected', {}, 60_000);
  const runs: string[] = [];
  for (const title of ['cut one', 'cut two', 'cut three']) {
    runs.push(await begin(title, `[[stream ${Math.ceil(600 * slowness())} 100]]`));
  }
  for (const sessionID of runs) await daemon.saw('session.health', { sessionID, health: 'busy' });
  await opencode.call('POST', '/instance/dispose', world.directory);
  for (const sessionID of runs) await daemon.saw('session.interrupted', { sessionID });
  const said = daemon.events('session.interrupted');
  expect(said.map(({ sessionID }) => sessionID).sort()).toEqual(runs.sort());
  for (const each of said) expect(each).toMatchObject({ level: 'warn', health: 'busy' });
  for (const each of said) expect(['dispose', 'elsewhere']).toContain(each.by);
  for (const sessionID of runs) {
    expect((await daemon.saw('session.ended', { sessionID })).outcome).toBe('interrupted');
  }
  expect(daemon.events('session.failed')).toEqual([]);
  expect(endedByUs(daemon)).toEqual([]);
  await daemon.stop();
});

test('a per-minute quota that names its time heals untouched, with all defaults', async () => {
  const daemon = await world.daemon({ server: { control: 'observe' } });
  await daemon.saw('stream.connected', {}, 60_000);
  const run = await begin('per minute', '[[quota-per-minute 2 retry-after=6]]');
  await daemon.saw('session.health', { sessionID: run, health: 'retrying' });
  await finished(run);
  await daemon.saw('session.recovered', { sessionID: run });
  expect(endedByUs(daemon)).toEqual([]);
  expect(world.provider.count('(per minute)')).toBe(3);
  await daemon.stop();
});

test('SIGINT ends a daemon and the server that it started, with nothing left of either', async () => {
  const daemon = await world.daemon({ server: { control: 'spawn', onExit: 'stop' } });
  await daemon.saw('stream.connected', {}, 60_000);
  const run = await begin('cut by the end', `[[stream ${Math.ceil(600 * slowness())} 100]]`);
  await daemon.saw('session.health', { sessionID: run, health: 'busy' });
  expect(await daemon.stop('SIGINT')).toBe(0);
  expect(isAlive(server)).toBe(false);
  expect(world.home.processes()).toEqual([]);
});
