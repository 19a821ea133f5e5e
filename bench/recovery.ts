/**
 * The time from SIGKILL of the server to its next healthy answer, compared with a bare boot of opencode in the same
 * run.
 */
import { spawn } from 'node:child_process';
import { freePort } from '../test/support/ports.js';
import { isAlive, killAll } from '../test/support/processes.js';
import { createWorld } from '../test/support/world.js';
import { median, ms, type Row } from './figures.js';
import { untilHealthy } from './health.js';

export async function recovery(samples = 7): Promise<Row> {
  const world = await createWorld();
  try {
    const watchdog = await world.daemon({ restart: { maxRestarts: 99, window: '100ms' } });
    await watchdog.saw('server.healthy', {}, 120_000);
    const bare: number[] = [];
    const ours: number[] = [];
    for (let i = 0; i < samples; i++) {
      const port = await freePort();
      const url = `http://127.0.0.1:${port}`;
      const child = spawn(
        world.home.command,
        ['serve', '--hostname', '127.0.0.1', '--port', `${port}`],
        {
          env: world.env,
          cwd: world.directory,
          stdio: 'ignore',
        },
      );
      bare.push(await untilHealthy(url));
      await killAll(() => [child.pid ?? 0].filter((pid) => pid > 0 && isAlive(pid)), 'bare server');

      const pid = watchdog.lines.findLast((line) => line.event === 'server.healthy')?.pid ?? 0;
      const restarts = watchdog.events('server.restarted').length;
      process.kill(pid, 'SIGKILL');
      ours.push(await untilHealthy(world.url));
      while (watchdog.events('server.restarted').length === restarts) {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }
    return {
      measure: 'SIGKILL → healthy',
      result: `median ${ms(median(ours))} of ${samples}`,
      against: `bare boot: median ${ms(median(bare))}`,
      ratio: `${(median(ours) / median(bare)).toFixed(2)}x`,
      goal: '≤ 1.10x',
    };
  } finally {
    await world.end();
  }
}
