/**
 * The server's process on this machine: found and proven, watched, started, measured and ended.
 *
 * The controls of processes (spawn, adopt, external, command) are thin policies over this one.
 */
import { type Clock, sleep, type Timer } from '../lib/clock.js';
import { awaitHealth } from './await-health.js';
import {
  type ControlDeps,
  ControlError,
  type ProcessIdentity,
  type StartedServer,
} from './control.js';
import { type Finding, proveServer } from './identity.js';
import { type KillReport, killTree } from './kill-tree.js';
import {
  type Exit,
  exitOf,
  type Launched,
  type LaunchOptions,
  launch,
  relaunched,
} from './launch.js';
import { findLeftovers } from './leftovers.js';
import { treeMemory } from './memory.js';
import { openProcessTable } from './open-table.js';
import { type FindHolders, isLocalHost, isPortFree } from './port.js';
import {
  ancestors,
  type ProcessInfo,
  type ProcessRef,
  type ProcessTable,
  sameProcess,
} from './process-table.js';
import { ProcessWatch } from './process-watch.js';
import type { Recipe, RecipeOptions } from './recipe.js';
import { ServerRecords } from './record.js';
import { thawTree } from './thaw.js';

export interface LocalOptions extends RecipeOptions {
  deps: ControlDeps;
  clock: Clock;
  startTimeoutMs: number;
  stopGraceMs: number;
  /** Where the record of what was started and its output are kept. */
  stateDir: string;
  table?: ProcessTable;
  holders?: FindHolders;
}

export type Proven = Extract<Finding, { kind: 'proven' }>;

interface Watched {
  server: ProcessInfo;
  wrappers: ProcessInfo[];
  watch?: ProcessWatch;
}

/** A full disk is freed by people. */
const RECORD_AGAIN_MS = 5_000;
/** A process that dies has no descriptors any more and, for a moment, still its port. */
const DYING_MS = 1_000;
const LOOK_MS = 25;
/** A wrapper ends right behind its server; its exit code is worth this short wait. */
const EXIT_CODE_WAIT_MS = 200;

export class LocalServer {
  readonly options: LocalOptions;
  readonly table: ProcessTable;
  readonly host: string;
  readonly port: number;
  readonly #records: ServerRecords;
  #watched: Watched | undefined;
  #launched: Launched | undefined;
  #recordAgain: Timer | undefined;

  constructor(options: LocalOptions) {
    this.options = options;
    this.table = options.table ?? openProcessTable();
    const { hostname, port, protocol } = new URL(options.url);
    this.host = hostname.replace(/^\[(.*)\]$/, '$1');
    this.port = Number(port || (protocol === 'https:' ? 443 : 80));
    this.#records = new ServerRecords(options.stateDir, options.url);
  }

  /** The server that is watched now. */
  get current(): ProcessInfo | undefined {
    return this.#watched?.server;
  }

  /** True where this daemon or one before it started the server. */
  get ours(): boolean {
    return this.#launched !== undefined;
  }

  /** Who serves the port now; looks, changes nothing. */
  async find(): Promise<Finding> {
    await this.#recall();
    const { clock } = this.options;
    const deadline = clock.now() + DYING_MS;
    for (;;) {
      const found = await this.#prove();
      const mayBeDying = found.kind === 'refused' && found.why === 'unreadable';
      if (!mayBeDying || clock.now() >= deadline) return found;
      await sleep(clock, LOOK_MS);
    }
  }

  #prove(): Promise<Finding> {
    return proveServer({
      host: this.host,
      port: this.port,
      table: this.table,
      command: this.options.command,
      started: this.#launched ? [this.#launched.root] : [],
      ...(this.options.holders && { holders: this.options.holders }),
    });
  }

  /** Watches a proven server for its end. */
  async take({ server, wrappers }: Proven): Promise<ProcessIdentity> {
    if (this.#watched && sameProcess(this.#watched.server, server)) return this.#watched.server;
    this.#watched?.watch?.stop();
    const watched: Watched = { server, wrappers };
    this.#watched = watched;
    if (this.#launched && !(await this.#descends(server, this.#launched))) this.#forget();
    watched.watch = new ProcessWatch(this.table, this.options.clock, server, {
      onGone: () => void this.#gone(watched),
      onSuspended: () => this.options.deps.onSuspended({ pid: server.pid }),
    });
    return server;
  }

  /** What this watchdog started and what still lives of it: also a server that boots and does not listen yet. */
  async booting(): Promise<Launched | undefined> {
    await this.#recall();
    if (this.#launched && (await this.table.isAlive(this.#launched.root))) return this.#launched;
    return undefined;
  }

  /** Starts the recipe and waits for health. @throws ControlError */
  async launch(recipe: Recipe, signal: AbortSignal): Promise<StartedServer> {
    const { clock } = this.options;
    const began = clock.now();
    if (!(await isLocalHost(this.host))) {
      throw new ControlError(
        `cannot start opencode: the host of ${this.options.url} (server.url) is not this machine`,
        { serverAlive: false },
      );
    }
    if (!(await isPortFree(this.host, this.port))) {
      const found = await this.find();
      const holder = found.kind === 'refused' ? found.message : `port ${this.port} is taken`;
      throw new ControlError(`cannot start opencode: ${holder}`, { serverAlive: false });
    }
    this.#forget();
    const launched = await launch(recipe, this.#launchOptions());
    this.#launched = launched;
    this.#record(launched, null);
    launched.ended.addEventListener('abort', () => this.#rootEnded(launched), { once: true });
    const started = await this.awaitLaunched(launched, signal);
    return { ...started, tookMs: clock.now() - began };
  }

  /** Waits until what was launched is healthy; ends it where it does not get so in time. @throws ControlError */
  async awaitLaunched(launched: Launched, signal: AbortSignal): Promise<StartedServer> {
    const { startTimeoutMs, deps, clock } = this.options;
    const { ended } = launched;
    const timeoutMs = startTimeoutMs;
    const outcome = await awaitHealth({ deps, clock, timeoutMs, signal, ended });
    if (outcome.kind === 'healthy') {
      const pid = await this.#takeLaunched(launched);
      const { version, tookMs } = outcome;
      const diedUnwatched = ended.aborted && this.#watched?.server.pid === launched.root.pid;
      if (!diedUnwatched) return { pid, tookMs, ...(version !== undefined && { version }) };
      this.letGo();
    }
    const exit = exitOf(launched);
    if (!exit) await this.#kill([launched.root], undefined);
    const why = exit
      ? `it ended at once (${describeExit(exit)})`
      : `it did not get healthy within ${startTimeoutMs} ms (server.startTimeout), and was ended`;
    const last = this.#lastWords(launched);
    this.#forget();
    throw new ControlError(`cannot start opencode: ${why}${last}`, { serverAlive: false });
  }

  /** Ends the server and its whole family. Returns the report, or undefined where nothing ran. @throws ControlError */
  async end(
    signal?: AbortSignal,
    { awaitPort = true } = {},
  ): Promise<(KillReport & { oldPid: number }) | undefined> {
    const found = await this.find();
    if (found.kind === 'refused') {
      const answers = await this.options.deps.isHealthy(signal ?? new AbortController().signal);
      throw new ControlError(`the server is not ended: ${found.message}`, {
        serverAlive: answers !== null && found.why !== 'stranger',
      });
    }
    const booting = await this.booting();
    const proven = found.kind === 'proven' ? [found.server, ...found.wrappers] : [];
    const roots = [...proven, ...(booting ? [booting.root] : [])].filter(
      (ref, index, all) => all.findIndex((other) => other.pid === ref.pid) === index,
    );
    const [first] = roots;
    if (first === undefined) {
      this.letGo();
      await this.endLeftovers(signal);
      return undefined;
    }
    // From here its end is no news.
    this.letGo();
    const report = await this.#kill(roots, signal, awaitPort);
    if (report.survivors.length > 0 || !report.portFree) {
      if (found.kind === 'proven' && (await this.table.isAlive(first))) await this.take(found);
      throw new ControlError(this.#killFailed(report), {
        serverAlive: await this.table.isAlive(first),
      });
    }
    this.#forget();
    return { ...report, oldPid: first.pid };
  }

  /** Lets the server run on where a signal has stopped it. @throws ControlError */
  async thaw(): Promise<void> {
    const found = await this.find();
    const { clock } = this.options;
    const why =
      found.kind === 'proven'
        ? await thawTree({ table: this.table, clock, roots: [found.server, ...found.wrappers] })
        : found.kind === 'refused'
          ? found.message
          : `nobody listens on port ${this.port}`;
    if (why !== undefined) throw new ControlError(why, { serverAlive: true });
  }

  /** Ends what a server of ours that died by itself has left running: it would work on beside the next one. */
  async endLeftovers(signal?: AbortSignal): Promise<void> {
    const mark = this.#launched?.mark ?? this.#records.read()?.mark;
    if (mark === undefined) return;
    const roots = await findLeftovers(mark, this.table);
    if (roots.length === 0) return;
    const { killed, survivors } = await this.#kill(roots, signal, false);
    const { deps } = this.options;
    deps.onNotice('info', `ended what the last server left running: ${killed.length} processes`, {
      pids: killed,
    });
    if (survivors.length > 0) {
      deps.onNotice('warn', `of the last server still run: ${survivors.join(', ')}`);
    }
  }

  poke(): void {
    void this.#watched?.watch?.look();
  }

  async memory(): Promise<number | undefined> {
    const roots = [this.#watched?.server.pid, this.#launched?.root.pid].filter(
      (pid) => pid !== undefined,
    );
    return roots.length === 0 ? undefined : treeMemory(this.table, roots);
  }

  /** Stops watching and reading; the server runs on. */
  release(): void {
    this.letGo();
    this.#recordAgain?.cancel();
    this.#launched?.tail?.stop();
    this.#launched?.child?.unref();
    this.#launched = undefined;
  }

  #launchOptions(): LaunchOptions {
    return { ...this.options, table: this.table, records: this.#records };
  }

  async #kill(roots: readonly ProcessRef[], signal: AbortSignal | undefined, awaitPort = true) {
    const { clock, stopGraceMs } = this.options;
    return killTree({
      table: this.table,
      clock,
      roots,
      stopGraceMs,
      ...(awaitPort && { isPortFree: () => isPortFree(this.host, this.port) }),
      ...(signal && { signal }),
    });
  }

  /** Learns from disk what an earlier daemon started. */
  async #recall(): Promise<void> {
    if (this.#launched) return;
    const record = this.#records.read();
    if (!record) return;
    // The wrapper may have been killed alone: then the server below it is what is left of what was started.
    for (const root of [record.root, record.server]) {
      if (root === null || !(await this.table.isAlive(root))) continue;
      this.#launched ??= relaunched(root, record, this.#launchOptions());
      return;
    }
  }

  /** Writes down what was started, for the daemon that comes after this one; where a full disk refuses, again later. */
  #record(launched: Launched, server: ProcessRef | null, again = false): void {
    this.#recordAgain?.cancel();
    const { root, mark, files } = launched;
    // No directory: that was said when it was started.
    if (files === null) return;
    const { clock, deps } = this.options;
    try {
      this.#records.write({ root, server, files, ...(mark !== undefined && { mark }) });
    } catch (error) {
      if (!again) {
        deps.onNotice(
          'warn',
          `until it can be written down, a restart of this daemon would not know the server as its own: ${this.#records.dir} cannot be written (${String(error)})`,
        );
      }
      const retry = () => this.#record(launched, server, true);
      this.#recordAgain = clock.after(RECORD_AGAIN_MS, retry, { unref: true });
    }
  }

  async #takeLaunched(launched: Launched): Promise<number> {
    const found = await this.find();
    if (found.kind === 'proven' && (await this.#descends(found.server, launched))) {
      await this.take(found);
      this.#record(launched, found.server);
      return found.server.pid;
    }
    if (found.kind === 'nobody') {
      // It answers, so it listens, but where we cannot see it (a container, sudo): its end is that of the command.
      const info = await this.table.read(launched.root.pid);
      if (info) await this.take({ kind: 'proven', server: info, wrappers: [], role: 'server' });
      return launched.root.pid;
    }
    const who = found.kind === 'refused' ? found.message : `pid ${found.server.pid} was faster`;
    await this.#kill([launched.root], undefined);
    this.#forget();
    throw new ControlError(`another process took port ${this.port} during the start: ${who}`, {
      serverAlive: false,
    });
  }

  async #descends(server: ProcessInfo, launched: Launched): Promise<boolean> {
    if (sameProcess(server, launched.root)) return true;
    const above = ancestors(server.pid, await this.table.list());
    return above.some((parent) => sameProcess(parent, launched.root));
  }

  #rootEnded(launched: Launched): void {
    if (launched !== this.#launched) return;
    const watched = this.#watched;
    // While it starts nobody is watched yet, and `awaitLaunched` tells.
    if (!watched) return;
    if (watched.server.pid === launched.root.pid) this.#report(watched, exitOf(launched));
    else void watched.watch?.look();
  }

  async #gone(watched: Watched): Promise<void> {
    const launched = this.#launched;
    if (launched?.child && !launched.ended.aborted) {
      await sleep(this.options.clock, EXIT_CODE_WAIT_MS, launched.ended).catch(() => undefined);
    }
    this.#report(watched, launched && exitOf(launched));
  }

  #report(watched: Watched, exit: Exit | undefined): void {
    if (this.#watched !== watched) return;
    this.letGo();
    this.#launched?.tail?.flush();
    const { code = null, signal = null } = exit ?? {};
    this.options.deps.onExit({ pid: watched.server.pid, code, signal });
  }

  /** Stops watching: from here the server's end is no news. */
  letGo(): void {
    this.#watched?.watch?.stop();
    this.#watched = undefined;
  }

  /** What was started is gone, or is not what serves: its record and its output mean nothing any more. */
  #forget(): void {
    this.#recordAgain?.cancel();
    this.#launched?.tail?.stop();
    this.#launched = undefined;
    this.#records.remove();
  }

  #lastWords(launched: Launched): string {
    launched.tail?.flush();
    const lines = launched.tail?.lastLines() ?? [];
    return lines.length === 0 ? '; it wrote nothing' : `; its last output:\n${lines.join('\n')}`;
  }

  #killFailed({ survivors, denied, portFree }: KillReport): string {
    const who = survivors.length > 0 ? `still alive: ${survivors.join(', ')}` : '';
    const why = denied.length > 0 ? ` (${denied.join('; ')})` : '';
    const port = portFree ? '' : `port ${this.port} is still taken`;
    return `the server could not be ended: ${[who + why, port].filter(Boolean).join('; ')}`;
  }
}

function describeExit({ code, signal }: Exit): string {
  return signal ? `by ${signal}` : `exit code ${code}`;
}
