/**
 * `healthcheck`: whether the running daemon's own loop turns, for a container's HEALTHCHECK or a probe that is a
 * command.
 */
import { healthSocketPath, healthSocketsIn } from '../config/health-socket.js';
import { ConfigError } from '../config/problem.js';
import { type Config, defaultConfig } from '../config/schema.js';
import { lstatOf } from '../lib/file-stat.js';
import { type Answer, DaemonClient, NoDaemonError } from './daemon-client.js';
import { type CommonOptions, complain, EXIT, loadForCommand } from './shared.js';

/** Docker limits a check to seconds; the answer takes milliseconds. */
const TIMEOUT_MS = 5_000;

/**
 * Exits with 1 for everything that is not good, because 2 is reserved by Docker (Dockerfile reference, HEALTHCHECK).
 */
export async function healthcheck(options: CommonOptions): Promise<number> {
  try {
    const { status, body } = await askHealth(options);
    if (status === 200) return EXIT.done;
    complain(`the daemon says ${status}: ${JSON.stringify(body)}`);
  } catch (error) {
    complain(error instanceof Error ? error.message : String(error));
  }
  return EXIT.failed;
}

/** Asks over the unix socket if the daemon has one: others can use up the connections of a TCP port. */
async function askHealth(options: CommonOptions): Promise<Answer> {
  let config: Config;
  try {
    config = loadForCommand(options).config;
  } catch (error) {
    // The file may have changed since the daemon read it, and a mistake in it must not end a daemon that works.
    const answer = error instanceof ConfigError ? await askOnlySocket(options) : undefined;
    if (answer === undefined) throw error;
    return answer;
  }
  const path = healthSocketPath(process.env, config.server.url);
  const answer = path !== undefined && isOwn(path) ? await askSocket(path) : undefined;
  return answer ?? new DaemonClient({ config }).get('/healthz', TIMEOUT_MS);
}

/** Asks this user's only daemon. Undefined if there are none or several, or if a flag may mean another one. */
async function askOnlySocket(flags: CommonOptions): Promise<Answer | undefined> {
  const { config, url, profile } = flags;
  if (config !== undefined || url !== undefined || profile !== undefined) return undefined;
  const [only, ...others] = healthSocketsIn(process.env).filter(isOwn);
  return only !== undefined && others.length === 0 ? askSocket(only) : undefined;
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
