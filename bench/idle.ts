/** What an idle daemon weighs: resident memory and CPU over one minute, beside a Node that does nothing. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { startOpencode } from '../test/support/opencode.js';
import { createWorld } from '../test/support/world.js';
import type { Row } from './figures.js';

const MINUTE = 60_000;
/** proc(5): utime and stime are in clock ticks, 100 a second on Linux. */
const TICKS_PER_SECOND = 100;

function rss(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(line?.[1] ?? 0) / 1024;
}

function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

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
    const [memory, floor] = [rss(watchdog.pid), rss(bare.pid ?? 0)];
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
