/**
 * Measures how slow the machine is. On a busy machine the timeouts of the tests' waits, and the times that a test gives
 * the watchdog, grow by this one factor. On a quiet machine it is 1 and nothing changes.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** Above what `node -e 0` takes on a quiet machine, ms: 50 to 90 on two cores of 2024. */
const QUIET_ANSWER_MS = 150;
/**
 * Above what a real opencode takes from its start to its first healthy answer on a quiet machine, ms: 2,000 to 4,000
 * (1.18.33).
 */
const QUIET_BOOT_MS = 6_000;
/**
 * The highest factor. A machine that is slower than this does not finish the suite in a time that anybody would wait.
 */
const MOST = 10;

/** The worst factor that this process has measured: the load of a minute ago may be back in a minute. */
let worst = 1;

function note(factor: number): number {
  worst = Math.min(MOST, Math.max(worst, factor));
  return worst;
}

/** The factor as far as it is known, 1 to 10. */
export const slowness = (): number => worst;

/** Measures now, by the time that a small process takes. Returns 1 to 10. */
export async function measureSlowness(): Promise<number> {
  const from = performance.now();
  const child = spawn(process.execPath, ['-e', '0'], { stdio: 'ignore' });
  await once(child, 'exit');
  return note((performance.now() - from) / QUIET_ANSWER_MS);
}

/** Takes into account how long a boot of opencode took, ms. */
export const noteBoot = (ms: number): number => note(ms / QUIET_BOOT_MS);

/** Milliseconds, longer by the slowness known so far. */
export const stretched = (ms: number): number => Math.round(ms * worst);

/**
 * `probe` for a daemon whose test is about something else: the server is not called unresponsive on a machine that
 * starves it.
 */
export const patientProbes = () => ({ timeout: `${stretched(5_000)}ms`, maxFailures: 6 });
