/**
 * The time from SIGSTOP of the server to its next healthy answer, compared with a curl loop every 5 s with a timeout of
 * 3 s.
 */
import { killAll, processesWithEnv } from '../test/support/processes.js';
import { waitFor } from '../test/support/wait.js';
import { createWorld } from '../test/support/world.js';
import { startCurlLoop } from './curl-loop.js';
import { median, ms, type Row, worst } from './figures.js';
import { untilHealthy } from './health.js';

const PERIOD_MS = 5_000;
/** Longer than the watchdog needs to forget an earlier stop. */
const SETTLE_MS = 11_000;
const BOOT_MS = 120_000;

export async function freeze(samples = 6): Promise<Row> {
  const ours = await watched(samples);
  const theirs = await looped(samples);
  return {
    measure: 'SIGSTOP → healthy',
    result: `median ${ms(median(ours))}, worst ${ms(worst(ours))} of ${samples}, no restart`,
    against: `curl loop every 5 s, time-out 3 s: median ${ms(median(theirs))}, worst ${ms(worst(theirs))}`,
    ratio: `${(median(ours) / median(theirs)).toFixed(2)}x`,
    goal: 'faster',
  };
}

async function watched(samples: number): Promise<number[]> {
  const world = await createWorld();
  try {
    const watchdog = await world.daemon();
    const { pid } = await watchdog.saw('server.healthy', {}, BOOT_MS);
    const took = await stopAgainAndAgain(world.url, samples, () => pid ?? 0);
    if (watchdog.events('server.restarting').length > 0) throw new Error('it was restarted');
    return took;
  } finally {
    await world.end();
  }
}

async function looped(samples: number): Promise<number[]> {
  const world = await createWorld();
  try {
    const { port, url, env, directory, home } = world;
    const loop = startCurlLoop({
      url,
      command: [home.command, 'serve', '--hostname', '127.0.0.1', '--port', `${port}`],
      env,
      cwd: directory,
    });
    world.defer(() =>
      killAll(() => processesWithEnv(`URL=${url}`), 'the curl loop and its server'),
    );
    await waitFor(() => loop.serverPid(), { what: 'a server', timeout: BOOT_MS });
    return await stopAgainAndAgain(url, samples, () => loop.serverPid() ?? 0);
  } finally {
    await world.end();
  }
}

/** Stops the server at moments spread evenly over the period of the supervisor's checks. */
async function stopAgainAndAgain(url: string, samples: number, pid: () => number) {
  const took: number[] = [];
  for (let i = 0; i < samples; i++) {
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS + (i * PERIOD_MS) / samples));
    // Wait for the process that answers now: after a restart its pid is known a moment later.
    await untilHealthy(url);
    process.kill(pid(), 'SIGSTOP');
    took.push(await untilHealthy(url));
  }
  return took;
}
