/** How long the driver believes in an event stream that is silent. */
import { afterEach, expect, it } from 'vitest';
import { SessionEvents } from '../../src/opencode/driver/events.js';
import { RecognisingDriverApi } from '../../src/opencode/recognising-driver-api.js';
import { FakeClock } from '../support/fake-clock.js';
import { startFakeOpencode } from '../support/fake-opencode.js';
import { waitFor } from '../support/wait.js';

const STREAM = 'GET /global/event';
const BEAT = { type: 'server.heartbeat' };

const ends: Array<() => Promise<unknown>> = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** A stream whose heartbeats are sent by the test. */
async function listen() {
  const server = await startFakeOpencode({ heartbeatMs: null });
  const clock = new FakeClock();
  const client = new RecognisingDriverApi({ url: server.url, clock, timeoutMs: 30_000, api: 1 });
  const events = new SessionEvents(client, clock);
  ends.push(
    () => server.stop(),
    () => client.close(),
    () => events.close(),
  );
  const { id } = server.addSession();
  const heard: string[] = [];
  events.subscribe(id, ({ event }) => heard.push(event.kind));
  /** Waits until all that was sent so far is heard. */
  const heardAll = async () => {
    const count = heard.length;
    server.setStatus(id, { type: 'busy' });
    await waitFor(() => heard.length > count, { what: 'the status', interval: 5 });
  };
  await waitFor(() => server.listeners === 1, { what: 'the stream' });
  await heardAll();
  heard.length = 0;
  return { server, clock, heard, heardAll };
}

it('without heartbeats it stays open, and the run is told every 45 s', async () => {
  const { server, clock, heard } = await listen();
  await clock.advance(120_000);
  expect(heard).toEqual(['silence', 'silence']);
  expect([server.listeners, server.count(STREAM)]).toEqual([1, 1]);
});

it('with heartbeats it ends after three of them, and is opened again', async () => {
  const { server, clock, heard, heardAll } = await listen();
  for (let beat = 0; beat < 3; beat += 1) {
    await clock.advance(30_000);
    server.emit(BEAT);
    await heardAll();
  }
  heard.length = 0;
  await clock.advance(89_000);
  expect(heard).toEqual([]);
  await clock.advance(2_000);
  expect(heard).toEqual(['gap']);
  await waitFor(() => server.count(STREAM) === 2, { what: 'the next stream' });
});
