/** `healthcheck`: whether the running daemon's own loop turns, for a container's HEALTHCHECK or a probe that is a command. */
import { DaemonClient } from './daemon-client.js';
import { complain, EXIT, loadForCommand } from './shared.js';

export interface HealthcheckOptions {
  config?: string;
}

/** Docker's own limit for a check is seconds; the answer takes milliseconds. */
const TIMEOUT_MS = 5_000;

/** Exits with 1 for everything that is not good: 2 is reserved by Docker (Dockerfile reference, HEALTHCHECK). */
export async function healthcheck({ config }: HealthcheckOptions): Promise<number> {
  try {
    const client = new DaemonClient(loadForCommand(config === undefined ? {} : { config }));
    const { status, body } = await client.get('/healthz', TIMEOUT_MS);
    if (status === 200) return EXIT.done;
    complain(`the daemon says ${status}: ${JSON.stringify(body)}`);
  } catch (error) {
    complain(error instanceof Error ? error.message : String(error));
  }
  return EXIT.failed;
}
