/**
 * Runs the suite beside eight busy loops, three times or `--times N`, and stops at the first red run: tests that pass
 * on a quiet machine must pass on a busy one. Further arguments go to vitest.
 */
import { spawn, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const LOOPS = 8;
const args = process.argv.slice(2);
const at = args.indexOf('--times');
const times = at < 0 ? 3 : Number(args.splice(at, 2)[1]);
if (!Number.isInteger(times) || times < 1) {
  console.error('--times wants a number of runs: npm run test:loaded -- --times 3');
  process.exit(2);
}

const root = fileURLToPath(new URL('..', import.meta.url));
const loops = Array.from({ length: LOOPS }, () =>
  spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' }),
);
const endLoops = () => {
  for (const loop of loops) loop.kill('SIGKILL');
};
process.on('exit', endLoops);
// Ctrl-C reaches vitest as well, which ends by itself; the loops end with this process.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => process.exit(143));

for (let run = 1; run <= times; run += 1) {
  const began = Date.now();
  const { status } = spawnSync('npx', ['--no-install', 'vitest', 'run', ...args], {
    cwd: root,
    stdio: 'inherit',
  });
  const took = `${Math.round((Date.now() - began) / 1000)} s beside ${LOOPS} busy loops`;
  console.log(`run ${run} of ${times}: ${status === 0 ? 'green' : 'red'} after ${took}`);
  if (status !== 0) {
    process.exitCode = 1;
    break;
  }
}
endLoops();
