/**
 * The recovery ladder and the ways back, on a real opencode: a session wedged by a proxy that swallows aborts, a
 * Retry-After whose time comes after the daemon was killed, and a person who is quicker.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { isAbort, startProxy } from '../support/http-proxy.js';
import { api } from '../support/opencode.js';
import { measureSlowness, slowness, stretched } from '../support/slowness.js';
import { waitFor } from '../support/wait.js';
import { createWorld, type World } from '../support/world.js';

let world: World;
let opencode: ReturnType<typeof api>;

beforeAll(async () => {
  world = await createWorld();
  opencode = api(world.url);
  const watchdog = await world.daemon({ server: { control: 'spawn', onExit: 'leave' } });
  await watchdog.saw('server.healthy', {}, 120_000);
  await measureSlowness();
  await finished(await begin('warm-up', '[[ok]]'));
  await watchdog.stop();
});
afterAll(() => world?.end());

async function begin(title: string, prompt: string, directory = world.directory): Promise<string> {
  const { id } = await opencode.createSession({ directory, title });
  await opencode.promptAsync(id, directory, `${prompt} (${title})`);
  await waitFor(() => world.provider.count(`(${title})`) > 0, {
    what: `the provider to be asked: ${title}`,
    timeout: 60_000,
  });
  return id;
}

async function finished(id: string): Promise<void> {
  await waitFor(
    async () => {
      const last = (await opencode.messages(id, world.directory)).at(-1)?.info;
      if (last?.role === 'assistant' && last.finish === 'stop') {
        return !(id in (await opencode.status(world.directory)));
      }
      throw new Error(`its last message is ${JSON.stringify(last)}`);
    },
    { what: `${id} to finish`, timeout: 120_000 },
  );
}

test('a run that no abort ends is ended by a dispose of its directory, and no other directory’s run', async () => {
  const other = await world.home.project('other');
  const { url, close } = await startProxy({ target: world.url, swallows: isAbort });
  world.defer(close);
  const daemon = await world.daemon({
    server: { url, control: 'observe' },
    stall: { maxSilence: `${stretched(8_000)}ms` },
    abort: { verifyTimeout: '2s', maxTries: 2 },
    watch: { pollInterval: '1s' },
  });
  await daemon.saw('stream.connected', {}, 60_000);
  const { id: neighbour } = await opencode.createSession({ directory: other, title: 'neighbour' });
  await opencode.promptAsync(neighbour, other, `[[stream ${Math.ceil(600 * slowness())} 100]]`);
  await daemon.saw('session.health', { sessionID: neighbour, health: 'busy' }, 60_000);
  const hang = await begin('hang', '[[hang]]');
  await daemon.saw('session.wedged', { sessionID: hang, next: 'dispose' }, 120_000);
  expect(await daemon.saw('directory.disposing')).toMatchObject({ interrupted: [hang] });
  await daemon.saw('directory.disposed', { reason: 'wedged' }, 60_000);
  expect(await daemon.saw('session.ended', { sessionID: hang })).toMatchObject({
    outcome: 'aborted',
    reason: 'silence',
  });
  expect(hang in (await opencode.status(world.directory))).toBe(false);
  expect(neighbour in (await opencode.status(other))).toBe(true);
  expect(daemon.events('session.interrupted')).toEqual([]);
  // The session accepts the next prompt.
  await opencode.promptAsync(hang, world.directory, '[[ok]]');
  await finished(hang);
  await opencode.abort(neighbour, other);
  await daemon.stop();
});

test('a run whose quota is spent waits for the time in Retry-After, through the death of the daemon', async () => {
  const wait = Math.ceil(40 * slowness());
  const config = {
    server: { control: 'observe' },
    retry: { maxWait: '10s' },
    recover: { afterQuota: 'continue', prompt: 'Please continue.' },
  };
  const first = await world.daemon(config);
  await first.saw('stream.connected', {}, 60_000);
  const spent = await begin('spent', `[[429 retry-after=${wait}]]`);
  await first.saw('session.stuck', { sessionID: spent, reason: 'wait' }, 60_000);
  await first.saw('session.parked', { sessionID: spent });
  // By now the parked run is on disk.
  await first.stop('SIGKILL');
  const next = await world.daemon(config);
  await next.saw('session.parked', { sessionID: spent }, 60_000);
  await next.saw('session.continued', { sessionID: spent }, (wait + 60) * 1_000);
  await next.saw('session.unparked', { sessionID: spent, outcome: 'continued' });
  await finished(spent);
  expect(world.provider.about('(spent)').at(-1)?.prompts).toContain('Please continue.');
  await next.stop();
});

test('a parked run gives way to its person', async () => {
  const daemon = await world.daemon({
    server: { control: 'observe' },
    retry: { maxWait: '10s' },
    recover: { afterQuota: 'continue' },
  });
  await daemon.saw('stream.connected', {}, 60_000);
  const spent = await begin('given way', '[[429 retry-after=3600]]');
  await daemon.saw('session.parked', { sessionID: spent }, 60_000);
  await opencode.promptAsync(spent, world.directory, '[[ok]]');
  await daemon.saw('session.unparked', { sessionID: spent, outcome: 'superseded' }, 60_000);
  await finished(spent);
  await daemon.stop();
});
