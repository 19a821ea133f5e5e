/**
 * `healthcheck`: whether the running daemon's own loop turns, for a container's HEALTHCHECK or a probe that is a
 * command.
 */
import { healthSocketPath, healthSocketsIn } from '../config/health-socket.js';
import { defaultConfig } from '../config/schema.js';
import { lstatOf } from '../lib/file-stat.js';
import { type Answer, DaemonClient, NoDaemonError } from './daemon-client.js';
import { type ConfigOptions, complain, EXIT, loadForCommand } from './shared.js';

export type HealthcheckOptions = Pick<ConfigOptions, 'config' | 'url' | 'profile'>;

/** Docker limits a check to seconds; the answer takes milliseconds. */
const TIMEOUT_MS = 5_000;

/**
 * Exits with 1 for everything that is not good, because 2 is reserved by Docker (Dockerfile reference, HEALTHCHECK).
 */
export async function healthcheck(options: HealthcheckOptions): Promise<number> {
  try {
    const { status, body } = await askHealth(options);
    if (status === 200) return EXIT.done;
    complain(`the daemon says ${status}: ${JSON.stringify(body)}`);
  } catch (error) {
    complain(error instanceof Error ? error.message : String(error));
  }
  return EXIT.failed;
}

/**
 * Asks over the unix socket if the daemon has one: others can use up the connections of a TCP port.
 *
 * The only daemon of this user is asked before the configuration is read. The file on disk may have changed since that
 * daemon read it, and a mistake in it must not end a daemon that works.
 */
async function askHealth(options: HealthcheckOptions): Promise<Answer> {
  const only = onlySocket(options);
  const first = only === undefined ? undefined : await askSocket(only);
  if (first !== undefined) return first;
  const { config } = loadForCommand(options);
  const path = healthSocketPath(process.env, config.server.url);
  const second = path !== undefined && path !== only && isOwn(path) && (await askSocket(path));
  return second || new DaemonClient({ config }).get('/healthz', TIMEOUT_MS);
}

/** The socket of this user's only daemon. Undefined if there are several, or if the caller names a daemon. */
function onlySocket({ config, url }: HealthcheckOptions): string | undefined {
  if (config !== undefined || url !== undefined) return undefined;
  const [only, ...others] = healthSocketsIn(process.env).filter(isOwn);
  return others.length === 0 ? only : undefined;
}

function isOwn(path: string): boolean {
  const stat = lstatOf(path);
  return stat?.isSocket() === true && stat.uid === process.geteuid?.();
}

/** Undefined if nobody answers: the socket was left behind by a daemon that was killed. */
async function askSocket(path: string): Promise<Answer | undefined> {
  const config = defaultConfig();
  config.status.listen = `unix:${path}`;
  try {
    return await new DaemonClient({ config }).get('/healthz', TIMEOUT_MS);
  } catch (error) {
    if (error instanceof NoDaemonError) return undefined;
    throw error;
  }
}
