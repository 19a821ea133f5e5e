/**
 * The time from the moment when a run is stuck until a healthy server shows it idle, for each step of the ladder, on a
 * real opencode: an abort, a dispose if aborts do nothing, a restart if disposes do nothing either. Compared with the
 * time that the configuration gives the gentler steps to prove useless (`abort.maxTries`, `abort.verifyTimeout`).
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { isAbort, startProxy } from '../test/support/http-proxy.js';
import { api, startOpencode } from '../test/support/opencode.js';
import { isAlive, killAll } from '../test/support/processes.js';
import { waitFor } from '../test/support/wait.js';
import { createWorld, type World } from '../test/support/world.js';
import { median, ms, type Row, worst } from './figures.js';

/** The defaults of both settings. */
const TRIES = 3;
const VERIFY_MS = 5_000;
/** After this a dispose counts as useless (`src/watchdog/group/disposal.ts`). */
const DISPOSE_VERIFY_MS = 15_000;
const ENDS_MS = 120_000;

const isDispose = (method: string, path: string) =>
  method === 'POST' && path.startsWith('/instance/dispose');

interface Step {
  name: string;
  swallows: (method: string, path: string) => boolean;
  /** How long the steps before this one take to prove useless, ms. */
  proofMs: number;
  /** The goal for this step, on top of `proofMs`, ms. */
  goalMs: number;
}

const STEPS: readonly Step[] = [
  { name: 'abort', swallows: () => false, proofMs: 0, goalMs: 1_000 },
  { name: 'dispose', swallows: isAbort, proofMs: TRIES * VERIFY_MS, goalMs: 5_000 },
  {
    name: 'restart',
    swallows: (method, path) => isAbort(method, path) || isDispose(method, path),
    proofMs: TRIES * VERIFY_MS + DISPOSE_VERIFY_MS,
    goalMs: 15_000,
  },
];

export async function ladder(samples = 3): Promise<Row[]> {
  const world = await createWorld();
  try {
    const { provider, home, port, directory } = world;
    let server = await startOpencode({ provider, home, port });
    world.defer(() => server.stop());
    const opencode = api(world.url);
    // opencode never answers a connection that it accepted while it booted, so the request is given up soon.
    const statusNow = () =>
      opencode.call<object>('GET', '/session/status', directory, undefined, 1_000);
    let step: Step | undefined;
    const proxy = await startProxy({
      target: world.url,
      swallows: (method, path) => step?.swallows(method, path) ?? false,
    });
    world.defer(() => proxy.close());
    const restartUrl = await startRestarter(world, async () => {
      // Not `server.stop()`: that ends everything that lives in this home, the daemon included.
      await killAll(() => [server.pid].filter(isAlive), 'the server');
      server = await startOpencode({ provider, home, port });
    });
    const watchdog = await world.daemon({
      server: {
        url: proxy.url,
        control: 'command',
        restartCommand: [process.execPath, '-e', `fetch('${restartUrl}', { method: 'POST' })`],
      },
      stall: { maxSilence: '2s' },
      restart: { maxRestarts: 99, window: '100ms' },
    });
    await watchdog.saw('stream.connected');
    const rows: Row[] = [];
    for (step of STEPS) {
      const took: number[] = [];
      for (let n = 0; n < samples; n += 1) {
        const { id } = await opencode.createSession({ directory });
        await opencode.promptAsync(id, directory, `[[hang]] ${step.name} ${n}`);
        const stuck = await watchdog.saw('session.stuck', { sessionID: id });
        await waitFor(async () => !(id in (await statusNow())), {
          what: `${id} to be idle`,
          timeout: ENDS_MS,
          interval: 20,
        });
        took.push(Date.now() - Date.parse(stuck.time));
        await watchdog.saw('session.ended', { sessionID: id });
      }
      rows.push(rowOf(step, took));
    }
    return rows;
  } finally {
    await world.end();
  }
}

function rowOf({ name, proofMs, goalMs }: Step, took: readonly number[]): Row {
  return {
    measure: `stuck → idle, by ${name}`,
    result: `median ${ms(median(took))}, worst ${ms(worst(took))} of ${took.length}`,
    against: proofMs === 0 ? 'the abort itself' : `the steps before it: ${ms(proofMs)}`,
    ratio: proofMs === 0 ? '–' : `${(median(took) / proofMs).toFixed(2)}x`,
    goal: `≤ ${ms(proofMs + goalMs)}`,
  };
}

/** An HTTP server that restarts opencode on each request, and answers when that is done. */
async function startRestarter(world: World, restart: () => Promise<void>): Promise<string> {
  const http = createServer((_req, res) => {
    restart().then(
      () => res.end(),
      (error: unknown) => res.writeHead(500).end(String(error)),
    );
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  world.defer(() => {
    http.close();
    http.closeAllConnections();
  });
  return `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
}
