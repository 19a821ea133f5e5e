/** A machine with 20 busy processes: how often a healthy server or session is touched, against the curl loop's count. */
import { type ChildProcess, spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { api } from '../test/support/opencode.js';
import { createWorld } from '../test/support/world.js';
import { startCurlLoop } from './curl-loop.js';
import type { Row } from './figures.js';

const HOGS = 20;
const SESSIONS = 3;
const STREAM = '[[stream 300 100]]';
const BOOT_MS = 120_000;

export async function busy(minutes = 10): Promise<Row> {
  const world = await createWorld();
  const hogs: ChildProcess[] = [];
  try {
    const { url, directory, env } = world;
    const watchdog = await world.daemon();
    await watchdog.saw('server.healthy', {}, BOOT_MS);
    for (let i = 0; i < HOGS; i++) {
      hogs.push(spawn('sh', ['-c', 'while :; do :; done'], { stdio: 'ignore' }));
    }
    const loop = startCurlLoop({ url, env, cwd: directory });
    world.defer(() => process.kill(-(loop.child.pid ?? 0), 'SIGKILL'));
    const until = performance.now() + minutes * 60_000;
    let runs = 0;
    const work = async () => {
      while (performance.now() < until) {
        await run(url, directory);
        runs += 1;
      }
    };
    await Promise.all(Array.from({ length: SESSIONS }, work));
    const touched = ['server.restarting', 'server.unresponsive', 'session.aborting'].map(
      (event) => `${watchdog.events(event).length} ${event}`,
    );
    return {
      measure: `${HOGS} busy processes on ${availableParallelism()} cores for ${minutes} min, ${runs} healthy runs`,
      result: touched.join(', '),
      against: `curl loop every 5 s, time-out 3 s: would have killed ${loop.late()} times`,
      ratio: '',
      goal: 'no false kill',
    };
  } finally {
    for (const hog of hogs) hog.kill('SIGKILL');
    await world.end();
  }
}

/** One streaming run to its end. */
async function run(url: string, directory: string): Promise<void> {
  const opencode = api(url);
  const session = await opencode.createSession({ directory });
  await opencode.promptAsync(session.id, directory, STREAM);
  for (let seen = false; ; ) {
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    const [last] = (await opencode.messages(session.id, directory)).slice(-1);
    if (last?.info.role === 'assistant') seen = true;
    if (seen && last?.info.time?.completed !== undefined) return;
  }
}
