/**
 * How slow the machine is, as measured: the one place by which the limits of the tests' waits, and the times that a test
 * gives the watchdog, grow on a busy machine. On a quiet one the factor is 1 and nothing changes.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** What `node -e 0` takes on a quiet machine, ms: 50 to 90 on two cores of 2024. */
const QUIET_ANSWER_MS = 150;
/** What a real opencode takes from its start to its first healthy answer on a quiet machine, ms: 2,000 to 4,000 (1.18.33). */
const QUIET_BOOT_MS = 6_000;
/** A machine that is slower by more than this does not finish the suite in a time that anybody waits. */
const MOST = 10;

/** The worst that this process has measured: the load of a minute ago may be back in a minute. */
let worst = 1;

function note(factor: number): number {
  worst = Math.min(MOST, Math.max(worst, factor));
  return worst;
}

/** The factor as known so far, 1 to 10. */
export const slowness = (): number => worst;

/** Takes the measure now, by the time that a small process needs; 1 to 10. */
export async function measureSlowness(): Promise<number> {
  const from = performance.now();
  const child = spawn(process.execPath, ['-e', '0'], { stdio: 'ignore' });
  await once(child, 'exit');
  return note((performance.now() - from) / QUIET_ANSWER_MS);
}

/** A boot of opencode was seen to take this long, ms. */
export const noteBoot = (ms: number): number => note(ms / QUIET_BOOT_MS);

/** Milliseconds that grow with the slowness known so far. */
export const stretched = (ms: number): number => Math.round(ms * worst);

/** `probe` for a daemon whose test is about something else: on a machine that starves the server it is not called unresponsive. */
export const patientProbes = () => ({ timeout: `${stretched(5_000)}ms`, maxFailures: 6 });
