/** Shared by the tests of `process/` on a real opencode: a home, a free port, and the options of a control. */
import { join } from 'node:path';
import { SystemClock } from '../../src/lib/clock.js';
import type { ControlDeps } from '../../src/process/control/control.js';
import type { LocalOptions } from '../../src/process/server/local-server.js';
import { opencodeEnv, prepareHome } from './opencode.js';
import { authHeader } from './opencode-api.js';
import { freePort } from './ports.js';

/** One request with a timeout: opencode never answers the connections of its first half second. */
export async function answers(
  url: string,
  cut?: AbortSignal,
  headers?: Record<string, string>,
): Promise<boolean> {
  const timeout = AbortSignal.timeout(1_000);
  const signal = cut === undefined ? timeout : AbortSignal.any([cut, timeout]);
  return fetch(`${url}/global/health`, { signal, ...(headers && { headers }) }).then(
    (answer) => answer.ok,
    () => false,
  );
}

/** The dependencies of a control, and what the control reports through them. */
export function worldOf(url: string, password?: string) {
  const lines: string[] = [];
  const notices: string[] = [];
  const exits: unknown[] = [];
  const headers = password === undefined ? undefined : authHeader(password);
  const deps: ControlDeps = {
    isHealthy: async (cut) => ((await answers(url, cut, headers)) ? {} : null),
    onExit: (exit) => exits.push(exit),
    onSuspended: () => {},
    onOutput: ({ line }) => lines.push(line),
    onNotice: (level, message) => notices.push(`${level}: ${message}`),
  };
  return { deps, lines, notices, exits };
}

/** A home for a server that is not started yet. `home.remove()` ends everything that runs in it. */
export async function serverHome(provider: { url: string }, viaWrapper = false) {
  const home = await prepareHome(provider, { viaWrapper });
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const world = worldOf(url);
  const options: LocalOptions = {
    url,
    command: ['opencode', 'serve'],
    directory: home.directory,
    env: opencodeEnv(home.path),
    deps: world.deps,
    clock: new SystemClock(),
    startTimeoutMs: 120_000,
    stopGraceMs: 2_000,
    stateDir: join(home.path, 'state/opencode-watchdog'),
  };
  return { home, port, url, options, ...world };
}
