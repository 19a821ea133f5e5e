/**
 * The time from the moment when a limit is exceeded to the abort request on the wire, on a real opencode, seen by a
 * proxy between the two. Compared with a loop that polls `/session/status` every 5 s (from the same moments, by its own
 * clock).
 */

import { startProxy } from '../test/support/http-proxy.js';
import { api, startOpencode } from '../test/support/opencode.js';
import { waitFor } from '../test/support/wait.js';
import { createWorld } from '../test/support/world.js';
import { median, ms, type Row, worst } from './figures.js';

const POLL_MS = 5_000;

export async function abortReaction(samples = 20): Promise<Row> {
  const world = await createWorld();
  try {
    const { provider, home, directory } = world;
    const server = await startOpencode({ provider, home, port: world.port });
    world.defer(() => server.stop());
    const crossedAt = new Map<string, number>();
    const abortedAt = new Map<string, number>();
    const proxy = await startProxy({
      target: server.url,
      onAnswer(path, chunk) {
        if (!path.includes('/event')) return;
        const text = chunk.toString();
        if (!text.includes('"type":"retry"')) return;
        for (const [, id] of text.matchAll(
          /"sessionID":"(ses_[^"]+)","status":\{"type":"retry"/g,
        )) {
          if (id && !crossedAt.has(id)) crossedAt.set(id, performance.now());
        }
      },
      onRequest(method, path) {
        const id = /^\/session\/(ses_[^/]+)\/abort/.exec(path)?.[1];
        if (method === 'POST' && id && !abortedAt.has(id)) abortedAt.set(id, performance.now());
      },
    });
    world.defer(() => proxy.close());
    const watchdog = await world.daemon({
      server: { url: proxy.url, control: 'observe' },
      retry: { maxAttempts: 1 },
    });
    await watchdog.saw('stream.connected');
    const opencode = api(server.url);
    const began = performance.now();
    const reactions: number[] = [];
    const polls: number[] = [];
    for (let i = 0; i < samples; i++) {
      const session = await opencode.createSession({ directory });
      await opencode.promptAsync(session.id, directory, `[[429]] ${i}`);
      const aborted = await waitFor(() => abortedAt.get(session.id), { interval: 5 });
      const crossed = crossedAt.get(session.id) ?? Number.NaN;
      reactions.push(aborted - crossed);
      // A loop that began when we did polls next at the next multiple of its period.
      polls.push(POLL_MS - ((crossed - began) % POLL_MS));
    }
    return {
      measure: 'limit crossed → abort request on the wire, real opencode',
      result: `median ${ms(median(reactions))}, worst ${ms(worst(reactions))} of ${samples}`,
      against: `polling every 5 s: median ${ms(median(polls))}, worst ${ms(worst(polls))}`,
      ratio: (median(reactions) / median(polls)).toFixed(4),
      goal: 'median ≤ 20 ms, worst ≤ 100 ms',
    };
  } finally {
    await world.end();
  }
}
