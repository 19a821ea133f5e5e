/** By default opencode's own retries run to their end: no run is ended before its last request. Takes about 70 s. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { api } from '../support/opencode.js';
import { waitFor } from '../support/wait.js';
import { createWorld, type World } from '../support/world.js';

/** opencode 1.18: one request and five retries (facts, section 13). */
const REQUESTS = 6;

let world: World;
beforeAll(async () => {
  world = await createWorld();
});
afterAll(() => world?.end());

test('three runs that are refused with 429 make all six requests, and fail by opencode alone', async () => {
  const { directory, provider, url } = world;
  const opencode = api(url);
  const watchdog = await world.daemon();
  await watchdog.saw('stream.connected', {}, 120_000);
  const runs: string[] = [];
  for (const title of ['one', 'two', 'three']) {
    const { id } = await opencode.createSession({ directory, title });
    await opencode.promptAsync(id, directory, `[[429]] (run ${title})`);
    runs.push(id);
  }
  await waitFor(
    async () => {
      const status = await opencode.status(directory);
      return provider.count('(run ') > 0 && runs.every((id) => !(id in status));
    },
    { what: 'the three runs to end', timeout: 240_000, interval: 500 },
  );
  for (const title of ['one', 'two', 'three']) {
    expect(provider.count(`(run ${title})`), title).toBe(REQUESTS);
  }
  for (const sessionID of runs) await watchdog.saw('session.failed', { sessionID });
  const acts = ['session.stuck', 'session.aborting', 'server.restarting', 'directory.disposing'];
  expect(watchdog.lines.filter(({ event }) => acts.includes(event))).toEqual([]);
  expect(await watchdog.stop()).toBe(0);
});
