/** Observes the world all the time, bypassing the network faults: processes, health, and what the daemon shows. */
import { pause } from '../test/support/wait.js';
import type { Environment, Secrets } from './environment.js';
import type { Emit, Excuse, Process } from './evidence.js';
import { isStopped, type Sight } from './process-probe.js';
import { FAULTS, type FaultName } from './schedule.js';

export interface WatchOptions {
  environment: Environment;
  secrets: Secrets;
  emit: Emit;
  /** The faults in force. */
  faults(): readonly FaultName[];
  /** Called when a server process is gone. */
  onGone(): void;
  stop: AbortSignal;
}

export const POLL_MS = 150;
const PROBE_MS = 500;
/** Longer than a busy opencode needs to answer. */
const PROBE_TIMEOUT_MS = 1_500;
const SHOWN_EVERY_MS = 5_000;

export class Watch {
  readonly #o: WatchOptions;
  #lastExcuses = '?';
  #lastServers = '?';
  #lastOld = '';
  #lastStart = 0;
  #serverSilent = true;
  #statusSilent = true;

  constructor(options: WatchOptions) {
    this.#o = options;
  }

  /** Both the server and the daemon answer. */
  get allWell(): boolean {
    return !this.#serverSilent && !this.#statusSilent;
  }

  /** Settles when it is told to stop. */
  async run(): Promise<void> {
    await Promise.all([this.#looks(), this.#probes(), this.#shows()]);
  }

  /** Observes the processes, and what is wrong at the moment. */
  async #looks(): Promise<void> {
    const { emit } = this.#o;
    let doubted = '';
    while (!this.#o.stop.aborted) {
      const sight = this.#o.environment.processProbe.look(Date.now());
      const ids = sight.servers.map(({ pid }) => pid).join(' ');
      // Two servers seen only once may be one that forks, so they are checked again.
      const sure = sight.servers.length <= 1 || doubted === ids;
      doubted = ids;
      if (sure && ids !== this.#lastServers) {
        const gone = this.#lastServers.split(' ').some((pid) => !ids.split(' ').includes(pid));
        this.#lastServers = ids;
        emit({ kind: 'servers', processes: sight.servers.map(plain) });
        if (gone) this.#o.onGone();
      }
      this.#oldProcesses(sight);
      this.#excuses(sight);
      emit({ kind: 'shown', where: 'the process list', text: sight.commands.join('\n') });
      emit({ kind: 'tick' });
      await pause(POLL_MS);
    }
  }

  #oldProcesses({ servers, family }: Sight): void {
    const [server] = servers;
    if (server === undefined) return;
    const old = family.filter(
      ({ start, command }) => start < server.start && !command.includes('cli.js run'),
    );
    const ids = old.map(({ pid }) => pid).join(' ');
    // For each new server the older processes are listed, even if there are none.
    const isNew = server.start !== this.#lastStart;
    this.#lastStart = server.start;
    if (ids === '' && this.#lastOld === '' && !isNew) return;
    const news = isNew || ids !== this.#lastOld;
    this.#lastOld = ids;
    this.#o.emit({ kind: 'old.processes', news, server: plain(server), processes: old.map(plain) });
  }

  #excuses({ servers }: Sight): void {
    const { manager, proxy, provider } = this.#o.environment;
    const faults = new Set(this.#o.faults().map((fault) => FAULTS[fault]));
    const [server] = servers;
    const excuses: Excuse[] = [];
    const add = (excuse: Excuse, holds: boolean) => holds && excuses.push(excuse);
    add('daemon down', manager.pid === undefined || this.#statusSilent);
    add('daemon frozen', manager.pid !== undefined && isStopped(manager.pid));
    add('server down', server === undefined);
    add('server frozen', server !== undefined && isStopped(server.pid));
    add('server silent', this.#serverSilent);
    add('network', faults.has('network') || (proxy !== undefined && proxy.mode.kind !== 'pass'));
    add('disk', faults.has('disk'));
    add('provider', faults.has('provider') || provider.override !== null);
    add('fault', faults.has('process') || faults.has('daemon'));
    const words = excuses.join(', ');
    if (words === this.#lastExcuses) return;
    this.#lastExcuses = words;
    this.#o.emit({ kind: 'excuses', excuses });
  }

  /** Our own health probes of the server, which bypass the network faults. */
  async #probes(): Promise<void> {
    while (!this.#o.stop.aborted) {
      const began = Date.now();
      this.#serverSilent = await this.#o.environment.opencode.health(PROBE_TIMEOUT_MS).then(
        ({ healthy }) => !healthy,
        () => true,
      );
      await pause(Math.max(0, PROBE_MS - (Date.now() - began)));
    }
  }

  /** What the daemon's endpoint answers and shows. */
  async #shows(): Promise<void> {
    const { emit } = this.#o;
    const token = this.#o.secrets['status token'];
    const ask = (path: string) =>
      fetch(`http://127.0.0.1:${this.#o.environment.statusPort}${path}`, {
        headers: { authorization: `Bearer ${token}` },
        signal: AbortSignal.timeout(PROBE_TIMEOUT_MS),
      });
    let shownAt = 0;
    let lastReady: boolean | undefined;
    while (!this.#o.stop.aborted) {
      try {
        const ready = (await ask('/readyz')).status === 200;
        this.#statusSilent = false;
        if (ready || ready !== lastReady) emit({ kind: 'ready', ready });
        lastReady = ready;
        if (Date.now() - shownAt > SHOWN_EVERY_MS) {
          shownAt = Date.now();
          for (const path of ['/status', '/metrics', '/', '/readyz', '/no-such-page']) {
            const answer = await ask(path);
            emit({ kind: 'shown', where: path, text: await answer.text() });
          }
        }
      } catch {
        this.#statusSilent = true;
      }
      await pause(PROBE_MS);
    }
  }
}

export const plain = ({ pid, start, command }: Process): Process => ({ pid, start, command });
