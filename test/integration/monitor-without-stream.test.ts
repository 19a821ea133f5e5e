/** The monitor with a server that answers but whose event stream does not get through. */
import { afterEach, expect, it } from 'vitest';
import { SystemClock } from '../../src/lib/clock.js';
import { Monitor } from '../../src/opencode/monitor/monitor.js';
import { OpencodeClient } from '../../src/opencode/v1/client.js';
import type { Observation } from '../../src/watchdog/observation.js';
import { type FakeOpencode, type Fault, startFakeOpencode } from '../support/fake-opencode.js';
import { routes, taken } from '../support/fake-opencode-routes.js';
import { waitFor } from '../support/wait.js';

routes['GET /path'] ??= ({ directory }) => ({
  directory,
  state: '/s',
  config: '/c',
  worktree: '/',
});
// Like a proxy that passes the headers and holds the body back.
routes['GET /headers-only'] ??= ({ res }) => {
  res.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
  return taken;
};

const clock = new SystemClock();
const ends: Array<() => Promise<unknown>> = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function watch(spoil: (server: FakeOpencode) => void) {
  const server = await startFakeOpencode();
  ends.push(() => server.stop());
  spoil(server);
  const seen: Observation[] = [];
  const client = new OpencodeClient({ url: server.url, clock, timeoutMs: 120_000 });
  const monitor = new Monitor({
    client,
    clock,
    watch: { pollInterval: 50, heartbeatTimeout: 100 },
    probe: { interval: 50, timeout: 500 },
    emit: (observation) => seen.push(observation),
    notice: () => {},
  });
  monitor.start();
  ends.push(async () => {
    await monitor.stop();
    await client.close();
  });
  const polled = (id: string) =>
    waitFor(
      () => seen.find((one) => one.kind === 'status.polled' && one.statuses.has(id)) !== undefined,
      { what: `a poll with ${id}`, interval: 5 },
    );
  const unavailable = () => seen.filter((one) => one.kind === 'stream.unavailable');
  return { server, seen, monitor, polled, unavailable };
}

const both = (server: FakeOpencode, fault: Fault) => [
  server.fault('GET /global/event', fault),
  server.fault('GET /event', fault),
];

it.each([
  ['hangs', { hang: true }],
  ['answers 503', { status: 503 }],
  ['answers a web page', { status: 200, body: '<html>', contentType: 'text/html' }],
] as const)('is said once where the stream %s, and polls go on', async (_, fault) => {
  const { server, seen, polled, unavailable } = await watch((fake) => both(fake, fault));
  const { id } = server.addSession({ directory: '/other', status: { type: 'busy' } });
  await polled(id);
  await waitFor(() => unavailable().length > 0);
  const asked = server.count('GET /global/health');
  await waitFor(() => server.count('GET /global/health') > asked + 5);
  expect(unavailable()).toHaveLength(1);
  expect(unavailable()).toMatchObject([{ silentMs: expect.any(Number) }]);
  expect(seen.filter((one) => one.kind === 'stream.connected')).toEqual([]);
});

it('takes a stream of which only the headers come for none', async () => {
  const listen = routes['GET /global/event']!;
  routes['GET /global/event'] = routes['GET /headers-only']!;
  ends.push(async () => {
    routes['GET /global/event'] = listen;
  });
  const { server, seen, polled, unavailable } = await watch(() => {});
  const { id } = server.addSession({ status: { type: 'busy' } });
  await polled(id);
  await waitFor(() => unavailable().length > 0);
  expect(seen.filter((one) => one.kind === 'stream.connected')).toEqual([]);
});

it('goes on polling where the stream hangs and the server’s directory cannot be read', async () => {
  const { server, polled } = await watch((fake) => {
    both(fake, { hang: true });
    fake.fault('GET /path', { status: 500 });
  });
  const first = server.addSession({ status: { type: 'busy' } });
  await polled(first.id);
  // In a directory that nobody has reported, and that came later.
  const later = server.addSession({ directory: '/later', status: { type: 'busy' } });
  await polled(later.id);
});

it('lists the sessions again where the list failed at first', async () => {
  const { server, polled } = await watch((fake) => {
    fake.fault('GET /session', { status: 500, times: 2 });
  });
  const { id } = server.addSession({ directory: '/other' });
  server.setStatus(id, { type: 'busy' }, { silently: true });
  await polled(id);
});

it('is over as soon as the stream is there', async () => {
  const { server, seen, unavailable } = await watch((fake) => both(fake, { status: 503 }));
  await waitFor(() => unavailable().length > 0);
  server.clearFaults();
  await waitFor(() => seen.some((one) => one.kind === 'stream.resynced'), { timeout: 15_000 });
  expect(unavailable()).toHaveLength(1);
});
