/**
 * The server's process on this machine: finds and proves it, watches, starts, measures and ends it.
 *
 * The controls of processes (spawn, adopt, external, command) are thin policies over this class.
 */
import { type Clock, sleep } from '../../lib/clock.js';
import { addressOf } from '../../lib/server-address.js';
import {
  type ControlDeps,
  ControlError,
  type Examination,
  type OnStarting,
  type ProcessIdentity,
  type StartedServer,
} from '../control/control.js';
import { describeProcess } from '../identity/describe.js';
import { type Finding, type Owner, proveServer } from '../identity/identity.js';
import { continueTree } from '../signal/continue-process.js';
import { type KillReport, killTree } from '../signal/kill-tree.js';
import { findOrphans } from '../signal/orphans.js';
import { examineTree } from '../table/examine.js';
import { type TreeUsage, treeMemory, treeUsage } from '../table/memory.js';
import { openProcessTable } from '../table/open-table.js';
import { type FindHolders, isLocalHost, isPortFree } from '../table/port.js';
import {
  type ProcessInfo,
  type ProcessRef,
  type ProcessTable,
  sameProcess,
  tree,
} from '../table/process-table.js';
import { awaitHealth } from './await-health.js';
import { type Exit, exitOf, type Launched } from './launch.js';
import type { LaunchSpec, LaunchSpecOptions } from './launch-spec.js';
import { ProcessWatch } from './process-watch.js';
import { lastWords, SpawnedServer } from './spawned-server.js';

export interface LocalOptions extends LaunchSpecOptions {
  deps: ControlDeps;
  clock: Clock;
  startTimeoutMs: number;
  stopGraceMs: number;
  /** Where the record of the started server and its output are kept. */
  stateDir: string;
  /** For a caller that only reads: a daemon's record of its server is never changed, and its output is not followed. */
  readOnly?: boolean;
  table?: ProcessTable;
  holders?: FindHolders;
  /** Whose process may be acted on. */
  owner?: Owner;
}

export type Proven = Extract<Finding, { kind: 'proven' }>;

interface Watched {
  server: ProcessInfo;
  wrappers: ProcessInfo[];
  watch?: ProcessWatch;
  /** The server itself cannot be seen from here (sudo, a container): `server` is the command that started it. */
  unseen?: true;
}

/** A dying process has no descriptors any more, but holds its port for a moment longer. */
const DYING_MS = 1_000;
const POLL_MS = 25;
/** A wrapper ends right after its server, and its exit code is worth this short wait. */
const EXIT_CODE_WAIT_MS = 200;

export class LocalServer {
  readonly options: LocalOptions;
  readonly table: ProcessTable;
  readonly host: string;
  readonly port: number;
  readonly #own: SpawnedServer;
  #watched: Watched | undefined;

  constructor(options: LocalOptions) {
    this.options = options;
    this.table = options.table ?? openProcessTable();
    const { host, port } = addressOf(options.url);
    this.host = host;
    this.port = port;
    this.#own = new SpawnedServer({ ...options, table: this.table });
  }

  /** The server that is being watched. */
  get current(): ProcessInfo | undefined {
    return this.#watched?.server;
  }

  /** Whether this daemon or an earlier one started a server that was just found. */
  isOwn(server: ProcessInfo): Promise<boolean> {
    return this.#own.includes(server);
  }

  /** Like `find`, but does not wait for a process that is dying. */
  async findNow(): Promise<Finding> {
    await this.#own.recall();
    return this.#prove();
  }

  /** Tells who serves the port now; changes nothing. */
  async find(): Promise<Finding> {
    await this.#own.recall();
    const { clock } = this.options;
    const deadline = clock.now() + DYING_MS;
    for (;;) {
      const found = await this.#prove();
      const mayBeDying = found.kind === 'refused' && found.why === 'unreadable';
      if (!mayBeDying || clock.now() >= deadline) return found;
      await sleep(clock, POLL_MS);
    }
  }

  async #prove(): Promise<Finding> {
    const found = await this.#proveAt(this.host);
    if (found.kind === 'refused') return { ...found, isOurs: await this.#canBeOurs(found) };
    if (this.host !== 'localhost' || found.kind !== 'nobody') return found;
    // opencode listens on 127.0.0.1. An opencode that was told to use [::1] counts too, but nothing else on [::1] does.
    const other = await this.#proveAt('::1');
    return other.kind === 'proven' ? other : found;
  }

  /**
   * Whether a server that cannot be seen can be that of our command: it is root's (docker-proxy), or of a user as whom the
   * command runs something (sudo). Any other user may have a server of his own there.
   */
  async #canBeOurs({ uids }: { uids?: readonly number[] }): Promise<boolean> {
    const launched = uids && (await this.#own.alive());
    if (!launched) return false;
    const family = tree([launched.root.pid], await this.table.list());
    const infos = await Promise.all(family.map(({ pid }) => this.table.read(pid)));
    const theirs = new Set([0, process.geteuid?.(), ...infos.map((info) => info?.uid)]);
    return uids.every((uid) => theirs.has(uid));
  }

  #proveAt(host: string): Promise<Finding> {
    const { launched } = this.#own;
    const { command, holders, owner, user } = this.options;
    return proveServer({
      host,
      port: this.port,
      table: this.table,
      command,
      started: launched ? [launched.root] : [],
      ...(holders && { holders }),
      ...(owner && { owner }),
      ...(user && { user }),
    });
  }

  /** Watches a proven server for its end. */
  async take({ server, wrappers }: Proven): Promise<ProcessIdentity> {
    if (this.#watched && sameProcess(this.#watched.server, server)) return this.#watched.server;
    this.#watched?.watch?.stop();
    const watched: Watched = { server, wrappers };
    this.#watched = watched;
    if (this.#own.launched && !(await this.#own.includes(server))) this.#own.forget();
    watched.watch = new ProcessWatch(this.table, this.options.clock, server, {
      onGone: () => void this.#gone(watched),
      onSuspended: () => this.options.deps.onSuspended({ pid: server.pid }),
    });
    return server;
  }

  /** The process that this watchdog started, if it is still alive, even if it boots and does not listen yet. */
  booting(): Promise<Launched | undefined> {
    return this.#own.alive();
  }

  /** True if what `booting` gives is only the wrapper of a server that has ended. */
  hasServed(): Promise<boolean> {
    return this.#own.hasServed();
  }

  /** Starts the spec and waits until the server is healthy. @throws ControlError */
  async launch(
    spec: LaunchSpec,
    signal: AbortSignal,
    onStarting?: OnStarting,
  ): Promise<StartedServer> {
    const { clock } = this.options;
    const began = clock.now();
    // A kill before this start is brought to its end also where the daemon stops meanwhile.
    signal.throwIfAborted();
    if (!(await isLocalHost(this.host))) {
      throw new ControlError(
        `cannot start opencode: the host of ${this.options.url} (server.url) is not this machine`,
        { serverAlive: 'unknown' },
      );
    }
    if (!(await isPortFree(this.host, this.port))) {
      const found = await this.find();
      const holder = found.kind === 'refused' ? found.message : `port ${this.port} is taken`;
      // The process that holds the port may be the server itself, if it cannot be seen from here.
      throw new ControlError(`cannot start opencode: ${holder}`, { serverAlive: 'unknown' });
    }
    const launched = await this.#own.launch(spec);
    onStarting?.(launched.root.pid);
    launched.ended.addEventListener('abort', () => this.#rootEnded(launched), { once: true });
    const started = await this.awaitLaunched(launched, signal);
    return { ...started, tookMs: clock.now() - began };
  }

  /** Waits until the launched server is healthy, and ends it if that takes too long. @throws ControlError */
  async awaitLaunched(launched: Launched, signal: AbortSignal): Promise<StartedServer> {
    const { startTimeoutMs, deps, clock } = this.options;
    const timeoutMs = startTimeoutMs;
    const { ended, stop } = this.#endOf(launched);
    const outcome = await awaitHealth({ deps, clock, timeoutMs, signal, ended }).finally(stop);
    if (outcome.kind === 'healthy') {
      const pid = await this.#takeLaunched(launched);
      const { version, tookMs } = outcome;
      const diedUnwatched = ended.aborted && this.#watched?.server.pid === launched.root.pid;
      if (!diedUnwatched) return { pid, tookMs, ...(version !== undefined && { version }) };
      this.letGo();
    }
    const exit = exitOf(launched);
    const hasEnded = ended.aborted;
    const survived = hasEnded ? undefined : await this.#endLaunched(launched);
    const why = hasEnded
      ? `it ended at once${exit ? ` (${describeExit(exit)})` : ''}`
      : `it did not get healthy within ${startTimeoutMs} ms (server.startTimeout), and ${survived ?? 'was ended'}`;
    const last = lastWords(launched);
    if (survived === undefined) this.#own.forget();
    throw new ControlError(`cannot start opencode: ${why}${last}`, {
      serverAlive: survived === undefined ? false : 'unknown',
    });
  }

  /** Nothing reports the end of a process that an earlier daemon started: it is watched for. */
  #endOf(launched: Launched): { ended: AbortSignal; stop: () => void } {
    if (launched.child) return { ended: launched.ended, stop: () => {} };
    const ended = new AbortController();
    const watch = new ProcessWatch(this.table, this.options.clock, launched.root, {
      onGone: () => ended.abort(),
      onSuspended: () => {},
    });
    return { ended: ended.signal, stop: () => watch.stop() };
  }

  /** Ends the server and its whole family. Returns the report, or undefined if nothing ran. @throws ControlError */
  async end(
    signal?: AbortSignal,
    { awaitPort = true } = {},
  ): Promise<(KillReport & { oldPid: number }) | undefined> {
    const found = await this.find();
    if (found.kind === 'refused' && !found.isOurs) {
      const answers = await this.options.deps.isHealthy(signal ?? new AbortController().signal);
      throw new ControlError(`the server is not ended: ${found.message}`, {
        serverAlive: answers !== null && found.why !== 'stranger',
      });
    }
    if (found.kind === 'proven') await this.#refusePerson(found);
    const booting = await this.booting();
    const proven = found.kind === 'proven' ? [found.server, ...found.wrappers] : [];
    const roots = [...proven, ...(booting ? [booting.root] : [])].filter(
      (ref, index, all) => all.findIndex((other) => other.pid === ref.pid) === index,
    );
    const [first] = roots;
    if (first === undefined) {
      this.letGo();
      await this.endOrphans();
      return undefined;
    }
    // From here on its end is expected and not reported.
    this.letGo();
    const report = await this.#kill(roots, awaitPort);
    if (report.survivors.length > 0 || !report.portFree) {
      if (found.kind === 'proven' && (await this.table.isAlive(first))) await this.take(found);
      throw new ControlError(this.#killFailed(report), {
        serverAlive: await this.table.isAlive(first),
      });
    }
    this.#own.forget();
    // A server that had ended before has left its tools to nobody's tree, whoever started the server that ends now.
    await this.endOrphans();
    return { ...report, oldPid: first.pid };
  }

  /** Continues the server if a signal has stopped it. @throws ControlError */
  async continueProcess(): Promise<void> {
    const found = await this.find();
    if (found.kind === 'proven') await this.#refusePerson(found);
    const { clock } = this.options;
    const why =
      found.kind === 'proven'
        ? await continueTree({ table: this.table, clock, roots: [found.server, ...found.wrappers] })
        : found.kind === 'refused'
          ? found.message
          : `nobody listens on port ${this.port}`;
    if (why !== undefined) throw new ControlError(why, { serverAlive: true });
  }

  /** An opencode with its terminal interface is touched by nobody but its person. @throws ControlError */
  async #refusePerson({ server, role }: Proven): Promise<void> {
    if (role !== 'tui' || (await this.isOwn(server))) return;
    throw new ControlError(
      `${describeProcess(server)} is opencode with its terminal face, which only the person in front of it can restart; for a server without one start \`opencode serve\``,
      { serverAlive: true },
    );
  }

  /** Ends what our earlier servers have left running; otherwise it would work on beside the next server. */
  async endOrphans(): Promise<void> {
    const { deps, readOnly = false, user } = this.options;
    if (readOnly) return;
    const marks = new Set(await this.#own.marksOfTheGone());
    // As root also its own server's, which was adopted beside that of `server.user`.
    const uids = new Set([process.geteuid?.(), ...(user ? [user.uid] : [])]);
    const roots = await findOrphans(marks, this.table, uids);
    if (roots.length > 0) {
      const { killed, survivors } = await this.#kill(roots, false);
      const ended = `ended what an earlier server left running: ${killed.length} processes`;
      deps.onNotice('info', ended, { pids: killed });
      if (survivors.length > 0) {
        deps.onNotice('warn', `of an earlier server still run: ${survivors.join(', ')}`);
        return;
      }
    }
    this.#own.forgetEarlier(marks);
  }

  poke(): void {
    this.#watched?.watch?.check();
  }

  async memory(): Promise<number | undefined> {
    const roots = this.#roots();
    return roots.length === 0 ? undefined : treeMemory(this.table, roots);
  }

  async usage(): Promise<TreeUsage | undefined> {
    const roots = this.#roots();
    return roots.length === 0 ? undefined : treeUsage(this.table, roots);
  }

  async examine(): Promise<Examination> {
    const processes = await examineTree(this.table, this.#roots());
    return { ...(processes && { processes }), output: this.#own.lastLines() };
  }

  #roots(): number[] {
    return [this.#watched?.server.pid, this.#own.launched?.root.pid].filter(
      (pid) => pid !== undefined,
    );
  }

  /** Stops watching the server and reading its output; the server runs on. */
  release(): void {
    this.letGo();
    this.#own.release();
  }

  async #kill(roots: readonly ProcessRef[], awaitPort = true) {
    const { clock, stopGraceMs } = this.options;
    return killTree({
      table: this.table,
      clock,
      roots,
      stopGraceMs,
      ...(awaitPort && { isPortFree: () => isPortFree(this.host, this.port) }),
    });
  }

  async #takeLaunched(launched: Launched): Promise<number> {
    const found = await this.find();
    if (found.kind === 'proven' && (await this.#own.includes(found.server))) {
      await this.take(found);
      this.#own.serves(found.server);
      return found.server.pid;
    }
    if (found.kind === 'nobody' || (found.kind === 'refused' && found.isOurs)) {
      // The server answers, so it listens, but we cannot see it (a container, sudo): the command is watched instead. The
      // port was free right before the start, so what holds it now without being seen is what the command started.
      const info = await this.table.read(launched.root.pid);
      if (info) await this.take({ kind: 'proven', server: info, wrappers: [], role: 'server' });
      if (this.#watched && info) this.#watched.unseen = true;
      return launched.root.pid;
    }
    const who = found.kind === 'refused' ? found.message : `pid ${found.server.pid} was faster`;
    const survived = await this.#endLaunched(launched);
    if (survived === undefined) this.#own.forget();
    throw new ControlError(
      `another process took port ${this.port} during the start: ${who}${survived ? `; what was started ${survived}` : ''}`,
      { serverAlive: survived === undefined ? false : 'unknown' },
    );
  }

  /**
   * Ends a server whose start has failed. Says in words what survived (sudo's process takes no signal of ours), which must
   * then not be forgotten: a second one would be started beside it.
   */
  async #endLaunched({ root }: Launched): Promise<string | undefined> {
    const report = await this.#kill([root]);
    return report.survivors.length === 0 ? undefined : `could not be ended: ${whatIsLeft(report)}`;
  }

  #rootEnded(launched: Launched): void {
    if (launched !== this.#own.launched) return;
    const watched = this.#watched;
    // During a start no process is watched yet, and `awaitLaunched` reports the end.
    if (!watched) return;
    if (watched.server.pid === launched.root.pid) void this.#report(watched, exitOf(launched));
    else void watched.watch?.check();
  }

  async #gone(watched: Watched): Promise<void> {
    const { launched } = this.#own;
    if (launched?.child && !launched.ended.aborted) {
      await sleep(this.options.clock, EXIT_CODE_WAIT_MS, launched.ended).catch(() => undefined);
    }
    await this.#report(watched, this.#own.exit);
  }

  async #report(watched: Watched, exit: Exit | undefined): Promise<void> {
    if (this.#watched !== watched) return;
    this.letGo();
    this.#own.flush();
    const { deps } = this.options;
    const { pid } = watched.server;
    if (watched.unseen && (await deps.isHealthy(new AbortController().signal)) !== null) {
      const how = exit ? ` (${describeExit(exit)})` : '';
      deps.onNotice(
        'warn',
        `the command that started the server has ended${how}, and a server answers on: it cannot be seen from here, so that only its answers tell when it ends`,
        { pid },
      );
      return;
    }
    const { code = null, signal = null } = exit ?? {};
    deps.onExit({ pid, code, signal });
  }

  /** Stops watching: from here on the server's end is not reported. */
  letGo(): void {
    this.#watched?.watch?.stop();
    this.#watched = undefined;
  }

  #killFailed(report: KillReport): string {
    const port = report.portFree ? '' : `port ${this.port} is still taken`;
    return `the server could not be ended: ${[whatIsLeft(report), port].filter(Boolean).join('; ')}`;
  }
}

function whatIsLeft({ survivors, denied }: KillReport): string {
  const who = survivors.length > 0 ? `still alive: ${survivors.join(', ')}` : '';
  return denied.length > 0 ? `${who} (${denied.join('; ')})` : who;
}

function describeExit({ code, signal }: Exit): string {
  return signal ? `by ${signal}` : `exit code ${code}`;
}
