/** What an idle daemon weighs: resident memory and CPU over one minute, beside a Node that does nothing. */
import { spawn } from 'node:child_process';
import { startOpencode } from '../test/support/opencode.js';
import { createWorld } from '../test/support/world.js';
import type { Row } from './figures.js';
import { cpuSeconds, residentMiB } from './proc.js';

const MINUTE = 60_000;
export async function idle(): Promise<Row> {
  const world = await createWorld();
  const bare = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6)'], { stdio: 'ignore' });
  try {
    const server = await startOpencode({
      provider: world.provider,
      home: world.home,
      port: world.port,
    });
    world.defer(() => server.stop());
    const watchdog = await world.daemon({});
    await watchdog.saw('stream.connected');
    await new Promise((resolve) => setTimeout(resolve, 10_000));
    const before = cpuSeconds(watchdog.pid);
    await new Promise((resolve) => setTimeout(resolve, MINUTE));
    const cpu = (cpuSeconds(watchdog.pid) - before) / (MINUTE / 1_000);
    const [memory, floor] = [residentMiB(watchdog.pid), residentMiB(bare.pid ?? 0)];
    return {
      measure: 'idle for one minute: memory, CPU',
      result: `${memory.toFixed(0)} MiB, ${(cpu * 100).toFixed(2)} % of a core`,
      against: `a Node that does nothing: ${floor.toFixed(0)} MiB`,
      ratio: `${(memory / floor).toFixed(2)}x`,
      goal: '≤ 60 MB, < 0.1 %',
    };
  } finally {
    bare.kill('SIGKILL');
    await world.end();
  }
}
