/**
 * `healthcheck`: whether the running daemon's own loop turns, for a container's HEALTHCHECK or a probe that is a
 * command.
 */
import { healthSocketPath } from '../config/health-socket.js';
import type { Config } from '../config/schema.js';
import { lstatOf } from '../lib/file-stat.js';
import { type Answer, DaemonClient, NoDaemonError } from './daemon-client.js';
import { complain, EXIT, loadForCommand } from './shared.js';

export interface HealthcheckOptions {
  config?: string;
}

/** Docker limits a check to seconds; the answer takes milliseconds. */
const TIMEOUT_MS = 5_000;

/**
 * Exits with 1 for everything that is not good, because 2 is reserved by Docker (Dockerfile reference, HEALTHCHECK).
 */
export async function healthcheck({ config }: HealthcheckOptions): Promise<number> {
  try {
    const loaded = loadForCommand(config === undefined ? {} : { config });
    const { status, body } = await askHealth(loaded.config);
    if (status === 200) return EXIT.done;
    complain(`the daemon says ${status}: ${JSON.stringify(body)}`);
  } catch (error) {
    complain(error instanceof Error ? error.message : String(error));
  }
  return EXIT.failed;
}

/** Asks over the unix socket if the daemon has one: others can use up the connections of a TCP port. */
async function askHealth(config: Config): Promise<Answer> {
  const path = healthSocketPath(process.env, config.server.url);
  const stat = path === undefined ? undefined : lstatOf(path);
  if (stat?.isSocket() && stat.uid === process.geteuid?.()) {
    const status = { ...config.status, listen: `unix:${path}` };
    try {
      return await new DaemonClient({ config: { ...config, status } }).get('/healthz', TIMEOUT_MS);
    } catch (error) {
      // The socket was left behind by a daemon that was killed.
      if (!(error instanceof NoDaemonError)) throw error;
    }
  }
  return new DaemonClient({ config }).get('/healthz', TIMEOUT_MS);
}
