/**
 * How each fault is caused and undone. The promise settles when the fault is over, with what went wrong, if anything.
 */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readlinkSync, rmSync } from 'node:fs';
import { CLI } from '../test/support/daemon.js';
import { isAbort } from '../test/support/http-proxy.js';
import { pause } from '../test/support/wait.js';
import { limitFiles } from './disk.js';
import { type Environment, START_TIMEOUT_MS } from './environment.js';
import { isStopped } from './process-probe.js';
import type { FaultName, PlannedFault } from './schedule.js';
import { failRestart, serveOtherApi, serveWebPage } from './side-faults.js';
import type { Workload } from './workload.js';

/** `note`: what came of the fault. `broken`: the watchdog did not do what it had to do about it. */
export interface FaultEnd {
  note?: string;
  broken?: string;
}

type Fault = (
  environment: Environment,
  planned: PlannedFault,
  workload: Pick<Workload, 'begin'>,
) => Promise<FaultEnd | undefined>;

/**
 * A server that is frozen for good is replaced when its stream was silent for more than 1.2 of opencode's 10-second
 * heartbeats and three probes failed. Then its process tree is ended. If it froze while booting, `server.startTimeout`
 * comes on top. The rest is for a busy machine.
 */
const REPLACED_MS = 60_000;
const BOOT_MS = 60_000;
const HEALTH_MS = 2_000;
/**
 * The delay in each direction. Together with what the fault adds, a round trip takes 2 to 5 s (facts, section 14:
 * SQLite locked).
 */
const SLOW_MS = 900;
/** Time for a limit of 10 s, three aborts with their verification, and the dispose. */
const WEDGED_MS = 35_000;
/** From a run's prompt until it kills the server, and from there until the next server. */
const KILLED_MS = 60_000;
const TAKEN_FOR_DEAD = ['server.exited', 'session.interrupted'];
/** A second daemon decides as soon as it has read the lock. */
const REFUSED_MS = 30_000;

export const doFault: Record<FaultName, Fault> = {
  'server-kill': (environment) => signalServer(environment, 'SIGKILL'),
  'server-term': (environment) => signalServer(environment, 'SIGTERM'),

  'server-freeze': async (environment, { ms }) => {
    const pid = serverPid(environment);
    if (pid === undefined) return { note: 'no server' };
    send(pid, 'SIGSTOP');
    await pause(ms);
    const continued = !isStopped(pid);
    send(pid, 'SIGCONT');
    return continued ? { note: 'it was continued or replaced by then' } : undefined;
  },

  'server-freeze-for-good': async (environment) => {
    const pid = serverPid(environment);
    if (pid === undefined) return { note: 'no server' };
    const booting = await environment.opencode.health(HEALTH_MS).then(
      () => false,
      () => true,
    );
    const ms = REPLACED_MS + (booting ? START_TIMEOUT_MS : 0);
    const deadline = Date.now() + ms;
    while (serverPid(environment) === pid && Date.now() < deadline) {
      send(pid, 'SIGSTOP');
      await pause(100);
    }
    if (serverPid(environment) !== pid) return undefined;
    send(pid, 'SIGCONT');
    return { broken: `a frozen server was not replaced within ${ms / 1000} s` };
  },

  'server-kill-while-booting': async (environment, { amount }) => {
    const old = serverPid(environment);
    if (old === undefined) return { note: 'no server' };
    send(old, 'SIGKILL');
    const deadline = Date.now() + BOOT_MS;
    for (;;) {
      await pause(25);
      const pid = serverPid(environment);
      if (pid !== undefined && pid !== old) {
        await pause(amount);
        send(pid, 'SIGKILL');
        return { note: `killed again ${amount} ms into its boot` };
      }
      if (Date.now() > deadline) return { broken: `no new server within ${BOOT_MS / 1000} s` };
    }
  },

  'server-other-api': (environment, { ms }) =>
    takePort(environment, serveOtherApi, 'a server of the other API', ms),
  'server-stranger': (environment, { ms }) =>
    takePort(environment, serveWebPage, 'a stranger on the port', ms),

  'restart-fails': async (environment) => {
    const before = serverPid(environment);
    if (before === undefined) return { note: 'no server' };
    const { failed, lines } = await failRestart(environment);
    if (!failed) return { note: 'the second daemon did not come to it' };
    const after = serverPid(environment);
    const cut = lines.filter(({ event }) => TAKEN_FOR_DEAD.includes(event));
    // The first daemon may have had its own reason for a restart.
    if (cut.length === 0 || after !== before) return undefined;
    return {
      broken: `a failed restart was taken for a death: ${cut.map(({ msg }) => msg).join(' ')}`,
    };
  },

  'both-kill': async (environment, { amount }) => {
    const pid = serverPid(environment);
    const ended = environment.manager.end('SIGKILL', amount);
    if (pid !== undefined) send(pid, 'SIGKILL');
    await ended;
    return undefined;
  },

  'run-kills-server': async (environment, _planned, workload) => {
    const first = serverPid(environment);
    if (first === undefined) return { note: 'no server' };
    const began = workload.begin({ kind: 'killer', project: 0 });
    const second = await nextServer(environment, first);
    const third = second === undefined ? undefined : await nextServer(environment, second);
    await began;
    // If another run is continued first, the killer's continuation may come later.
    return third === undefined ? { note: 'it killed less than twice in its time' } : undefined;
  },

  'daemon-kill': async ({ manager }, { amount }) => {
    await manager.end('SIGKILL', amount * 3);
    return undefined;
  },
  'daemon-term': async ({ manager }, { amount }) => {
    await manager.end('SIGTERM', amount);
    return undefined;
  },
  'daemon-freeze': async ({ manager }, { ms }) => {
    const { pid } = manager;
    if (pid === undefined) return { note: 'no daemon' };
    send(pid, 'SIGSTOP');
    await pause(ms);
    send(pid, 'SIGCONT');
    return undefined;
  },
  'daemon-double': async (environment) => {
    if (environment.manager.pid === undefined) return { note: 'no daemon' };
    const code = await environment.secondDaemon(CLI, REFUSED_MS);
    if (code === 1) return undefined;
    // If the first daemon had ended meanwhile, the second was right.
    return { broken: `a second daemon was not refused (exit code ${code ?? 'none'})` };
  },

  'output-remove': async (environment) => {
    const pid = serverPid(environment);
    if (pid === undefined) return { note: 'no server' };
    // Only stdout and stderr (proc(5)): the daemon follows no other file.
    for (const fd of [1, 2]) {
      const file = readlinkSync(`/proc/${pid}/fd/${fd}`);
      if (file.startsWith('/') && !file.startsWith('/dev/')) rmSync(file, { force: true });
    }
    return undefined;
  },

  'net-cut': async ({ proxy }, { ms }) => {
    const until = Date.now() + ms;
    for (let n = 0; Date.now() < until; n++) {
      proxy?.cut(n % 2 === 0 ? 'close' : 'reset');
      await pause(Math.min(1_000, Math.max(0, until - Date.now())));
    }
    return undefined;
  },
  'net-refuse': (environment, { ms }) => network(environment, { kind: 'refuse' }, ms),
  'net-blackhole': (environment, { ms }) => network(environment, { kind: 'blackhole' }, ms),
  'net-delay': (environment, { ms, amount }) =>
    network(environment, { kind: 'delay', ms: amount * 2 }, ms),
  'net-slow': (environment, { ms, amount }) =>
    network(environment, { kind: 'delay', ms: SLOW_MS + amount * 2 }, ms),
  'abort-swallow': (environment, { ms }) =>
    network(environment, { kind: 'swallow', requests: isAbort }, Math.max(ms, WEDGED_MS)),
  'net-truncate': (environment, { ms, amount }) =>
    network(environment, { kind: 'truncate', bytes: amount }, ms),
  'net-reset': (environment, { ms, amount }) =>
    network(environment, { kind: 'reset', bytes: amount }, ms),

  'disk-daemon': async (environment, { ms }) => {
    const { daemonDisk } = environment;
    if (daemonDisk)
      return fullDisk(
        () => daemonDisk.fill(),
        () => daemonDisk.free(),
        ms,
      );
    const { pid } = environment.manager;
    if (environment.disks === 'none' || pid === undefined)
      return { note: 'no means to fill a disk' };
    limitFiles(pid, true);
    await pause(ms);
    // Processes that it started meanwhile have inherited the limit.
    for (const each of environment.processProbe.look(Date.now()).family)
      limitFiles(each.pid, false);
    return { note: 'by a limit on the size of files' };
  },
  'disk-server': async ({ serverDisk }, { ms }) => {
    if (!serverDisk) return { note: 'no disk of its own' };
    return fullDisk(
      () => serverDisk.fill(),
      () => serverDisk.free(),
      ms,
    );
  },

  'provider-down': async ({ provider }, { ms }) => {
    provider.override = 'down';
    await pause(ms);
    provider.override = null;
    return undefined;
  },
  'provider-flap': async ({ provider }, { ms, amount }) => {
    const until = Date.now() + ms;
    while (Date.now() < until) {
      provider.override = provider.override === 'down' ? null : 'down';
      await pause(amount * 2);
    }
    provider.override = null;
    return undefined;
  },
};

function serverPid({ processProbe }: Environment): number | undefined {
  return processProbe.look(Date.now()).servers[0]?.pid;
}

/** Waits for a server other than `old`. Undefined if none comes in time. */
async function nextServer(environment: Environment, old: number): Promise<number | undefined> {
  const deadline = Date.now() + KILLED_MS;
  while (Date.now() < deadline) {
    const pid = serverPid(environment);
    if (pid !== undefined && pid !== old) return pid;
    await pause(100);
  }
  return undefined;
}

async function signalServer(
  environment: Environment,
  signal: NodeJS.Signals,
): Promise<FaultEnd | undefined> {
  const pid = serverPid(environment);
  if (pid === undefined) return { note: 'no server' };
  send(pid, signal);
  return undefined;
}

/** Another program takes the server's port for `ms`, and must survive that. */
async function takePort(
  environment: Environment,
  serve: (environment: Environment) => Promise<ChildProcess | undefined>,
  who: string,
  ms: number,
): Promise<FaultEnd | undefined> {
  await signalServer(environment, 'SIGKILL');
  const other = await serve(environment);
  if (other === undefined) return { note: 'the port was taken first' };
  await pause(ms);
  const alive = other.exitCode === null && other.signalCode === null;
  if (!alive) return { broken: `${who} was ended (${other.signalCode})` };
  const gone = once(other, 'exit');
  other.kill('SIGKILL');
  await gone;
  return undefined;
}

/** A process that is already gone needs no signal. */
function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

async function network(
  { proxy }: Environment,
  mode: Parameters<NonNullable<Environment['proxy']>['set']>[0],
  ms: number,
): Promise<undefined> {
  await proxy?.set(mode);
  await pause(ms);
  await proxy?.set({ kind: 'pass' });
}

async function fullDisk(fill: () => void, free: () => void, ms: number): Promise<undefined> {
  const until = Date.now() + ms;
  while (Date.now() < until) {
    fill();
    await pause(100);
  }
  free();
}
