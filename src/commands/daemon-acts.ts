/** `pause`, `resume`, `restart`, and the daemon's part of `abort`: what a person asks of the running daemon. */
import type { LoadedConfig } from '../config/load.js';
import { SystemClock, sleep } from '../lib/clock.js';
import { serverKey } from '../lib/state-dir.js';
import { createControl } from '../process/control/auto.js';
import { LockHeldError, underLock } from '../process/lock.js';
import { LONGEST_VERIFY_MS } from '../watchdog/server/answer-times.js';
import { type Answer, DaemonClient, NoDaemonError, NoTokenError } from './daemon-client.js';
import { interruptible } from './interruptible.js';
import { apiFor, controlOptions, ensurePassword, lockOptions, onceDeps } from './server.js';
import {
  type CommonOptions,
  commonOf,
  complain,
  EXIT,
  type ExitCode,
  ExitError,
  loadToAct,
  printJson,
} from './shared.js';
import { type DaemonStatus, readStatus } from './status-schema.js';

export interface DaemonActOptions extends CommonOptions {
  json?: boolean;
}

/**
 * Time for what an act needs beyond its own limits: the decision, the end of the old process, the pace of our polling.
 */
const SLACK_MS = 15_000;
const POLL_EVERY_MS = 300;

export function pause(options: DaemonActOptions): Promise<number> {
  return ask(options, '/pause');
}

export function resume(options: DaemonActOptions): Promise<number> {
  return ask(options, '/resume');
}

/** The daemon restarts the server if one watches it. Otherwise we take the same steps ourselves. */
export async function restart(options: DaemonActOptions): Promise<number> {
  const loaded = await loadToAct(commonOf(options));
  const daemon = await daemonOf(loaded);
  if (daemon === undefined) {
    const says = 'interrupted: a restart that has begun is finished first …';
    const { code, interrupted } = await interruptible(says, async (signal) =>
      report(options, await restartOurselves(loaded, signal)),
    );
    return interrupted ?? code;
  }
  const before = readStatus((await daemon.get('/status')).body);
  const answer = await daemon.post('/restart');
  if (answer.status !== 200) return report(options, outcomeOf(answer));
  return report(options, await seeRestarted(daemon, loaded, before));
}

/**
 * Asks the running daemon to abort a session. Undefined if none watches this server, or if it cannot act (`dryRun`):
 * then the caller does it.
 */
export async function abortByDaemon(
  loaded: LoadedConfig,
  sessionID: string,
): Promise<Outcome | undefined> {
  const daemon = await daemonOf(loaded).catch((error: unknown) => {
    if (!(error instanceof ExitError) || error instanceof NoTokenError) throw error;
    // Something else listens there, so the server itself is asked.
    complain(error.message);
    return undefined;
  });
  if (daemon === undefined) return undefined;
  const path = `/sessions/${encodeURIComponent(sessionID)}/abort`;
  // Where the server answers slowly, the daemon takes longer than `abort.verifyTimeout`.
  const longestMs = Math.max(loaded.config.abort.verifyTimeout, LONGEST_VERIFY_MS);
  const answer = await daemon.post(path, longestMs + SLACK_MS);
  return answer.status === 409 ? undefined : outcomeOf(answer);
}

export interface Outcome {
  ok: boolean;
  says: string;
  [fact: string]: unknown;
}

async function ask(options: DaemonActOptions, path: string): Promise<number> {
  const client = new DaemonClient(await loadToAct(commonOf(options)));
  return report(options, outcomeOf(await client.post(path)));
}

/** The daemon that watches this very server, if one runs. */
async function daemonOf(loaded: LoadedConfig): Promise<DaemonClient | undefined> {
  if (loaded.config.status.listen === 'off') return undefined;
  const client = new DaemonClient(loaded);
  try {
    const { server } = readStatus((await client.get('/status')).body);
    return sameServer(server.url, loaded.config.server.url) ? client : undefined;
  } catch (error) {
    if (error instanceof NoDaemonError) return undefined;
    throw error;
  }
}

/** As the lock and the state directory see it: every name of loopback is one host. */
function sameServer(a: string, b: string): boolean {
  return URL.canParse(a) && URL.canParse(b) && serverKey(a) === serverKey(b);
}

/** Waits for the end of the restart that was asked for, or of the one that was under way already. */
async function seeRestarted(
  daemon: DaemonClient,
  { config }: LoadedConfig,
  before: DaemonStatus,
): Promise<Outcome> {
  complain('the daemon restarts the server …');
  const clock = new SystemClock();
  const { startTimeout, stopGrace, restartTimeout } = config.server;
  const end = clock.now() + restartTimeout + startTimeout + stopGrace + SLACK_MS;
  while (clock.now() < end) {
    const now = readStatus((await daemon.get('/status')).body);
    const outcome = outcomeOfRestart(before, now);
    if (outcome !== undefined) return outcome;
    await sleep(clock, POLL_EVERY_MS);
  }
  return { ok: false, says: 'the server was not seen healthy again; the daemon’s log says why' };
}

/** The result of the restart; undefined while it is under way. `restarts` is newest first. */
export function outcomeOfRestart(
  before: Pick<DaemonStatus, 'server' | 'restarts'>,
  { server, restarts }: Pick<DaemonStatus, 'server' | 'restarts'>,
): Outcome | undefined {
  const [newest] = before.restarts;
  const newer = restarts.filter(({ at }) => newest === undefined || at > newest.at);
  const underWay = newest !== undefined && !isOver(newest) && before.server.health === 'restarting';
  const ours = underWay ? restarts.find(({ at }) => at === newest.at) : newer.at(-1);
  const pid = server.pid === undefined ? '' : `, pid ${server.pid}`;
  const says = `the server is healthy again${pid}`;
  if (ours?.error !== undefined) {
    return { ok: false, says: `the restart failed: ${ours.error}`, error: ours.error };
  }
  if (ours?.tookMs !== undefined && server.health === 'healthy') {
    return { ok: true, says, tookMs: ours.tookMs };
  }
  // If the server was not there, it was started, and that is not counted as a restart.
  const started = ours === undefined && before.server.health !== 'healthy';
  return started && server.health === 'healthy' ? { ok: true, says } : undefined;
}

function isOver({ tookMs, error }: DaemonStatus['restarts'][number]): boolean {
  return tookMs !== undefined || error !== undefined;
}

/** A daemon that cannot be asked would take our restart for a crash, so the lock must be free. */
async function restartOurselves(loaded: LoadedConfig, signal: AbortSignal): Promise<Outcome> {
  if (loaded.config.dryRun) {
    return { ok: false, says: 'dryRun is on: the server would be restarted' };
  }
  const clock = new SystemClock();
  try {
    const lock = lockOptions(loaded, clock);
    const waitMs = loaded.config.server.startTimeout;
    return await underLock({ ...lock, caller: 'command', waitMs, signal }, async () => {
      signal.throwIfAborted();
      return await restartLocked(loaded, clock);
    });
  } catch (error) {
    if (error === signal.reason) {
      return { ok: false, says: 'the server was not restarted: interrupted before it began' };
    }
    if (!(error instanceof LockHeldError)) throw error;
    const { pid, caller, message } = error;
    if (caller === 'command')
      return { ok: false, says: `the server was not restarted: ${message}` };
    const { listen } = loaded.config.status;
    const says = `the server was not restarted: opencode-watchdog (pid ${pid}) watches it, and cannot be asked at ${listen} (status.listen). Give that daemon an address there, or stop it`;
    return { ok: false, says };
  }
}

/** Once begun it is finished, because half a restart would leave no server. */
async function restartLocked(loaded: LoadedConfig, clock: SystemClock): Promise<Outcome> {
  complain('no daemon watches this server: restarting it here …');
  ensurePassword(loaded);
  const client = apiFor(loaded, clock);
  const { signal } = new AbortController();
  const { control } = await createControl(controlOptions(loaded, clock, onceDeps(client)), signal);
  try {
    await control.attach(signal);
    const { pid, tookMs } = await control.restart(signal);
    const words = pid === undefined ? '' : `, pid ${pid}`;
    return { ok: true, says: `the server is healthy again${words}`, tookMs };
  } catch (error) {
    return { ok: false, says: error instanceof Error ? error.message : String(error) };
  } finally {
    await control.dispose('leave');
    await client.close();
  }
}

function outcomeOf({ status, body }: Answer): Outcome {
  if (typeof body !== 'object' || body === null) {
    throw new ExitError(EXIT.failed, `the daemon answered ${status} and nothing to read`);
  }
  const { says, error, ...rest } = body as Record<string, unknown>;
  return { ...rest, ok: status === 200, says: String(says ?? error ?? `status ${status}`) };
}

function report({ json }: DaemonActOptions, outcome: Outcome): ExitCode {
  if (json) printJson(outcome);
  else complain(outcome.says);
  return outcome.ok ? EXIT.done : EXIT.failed;
}
