/** One phase of a run: a world, its schedule carried out, everything looked at throughout, and the end of it. */
import { appendFileSync } from 'node:fs';
import { pause, waitFor } from '../test/support/wait.js';
import { Actors } from './actors.js';
import { Arena, type Secrets } from './arena.js';
import type { Emit, Evidence, Process, Trouble, Violation } from './evidence.js';
import { doFault } from './faults.js';
import { Judge } from './judge.js';
import type { Limits } from './limits.js';
import { FAULTS, type FaultGroup, type Phase, type PlannedFault } from './schedule.js';
import { isStopped, type Sight } from './witness.js';

export interface PhaseOptions {
  phase: Phase;
  limits: Limits;
  secrets: Secrets;
  slackMs: number;
  /** NDJSON, every piece of evidence. */
  timeline: string;
  stop: AbortSignal;
  onProgress(words: string): void;
  onViolation(violation: Violation): void;
}

export interface PhaseResult {
  judge: Judge;
  faults: Record<string, number>;
  /** What came of them, where there is something to say. */
  notes: string[];
  sessions: { begun: number; skipped: number };
  events: Record<string, number>;
  disks: string;
  daemons: number;
}

const LOOK_MS = 150;
const PROBE_MS = 500;
const SHOWN_EVERY_MS = 5_000;
const FIRST_BOOT_MS = 120_000;
/** After the last fault: a boot after a backoff on a busy machine. */
const RECOVER_MS = 90_000;

export async function runPhase(options: PhaseOptions): Promise<PhaseResult> {
  return new PhaseRun(options).run();
}

class PhaseRun {
  readonly #o: PhaseOptions;
  readonly #judge: Judge;
  readonly #over = new AbortController();
  readonly #groups = new Map<FaultGroup, Promise<void>>();
  readonly #active = new Map<number, PlannedFault>();
  readonly #result: PhaseResult;
  #arena!: Arena;
  #actors!: Actors;
  #faultID = 0;
  #lastTroubles = '?';
  #lastServers = '?';
  #lastOld = '';
  #serverSilent = true;
  #statusSilent = true;
  #began = 0;

  constructor(options: PhaseOptions) {
    this.#o = options;
    const { limits, secrets, slackMs } = options;
    this.#judge = new Judge({ limits, secrets, slackMs, recoverMs: RECOVER_MS });
    this.#result = {
      judge: this.#judge,
      faults: {},
      notes: [],
      sessions: { begun: 0, skipped: 0 },
      events: {},
      disks: 'none',
      daemons: 0,
    };
  }

  async run(): Promise<PhaseResult> {
    const { phase, limits, secrets, stop } = this.#o;
    const { topology } = phase;
    const emit: Emit = (e) => this.#take({ at: Date.now(), ...e } as Evidence);
    this.#arena = await Arena.make({ topology, limits, secrets, emit });
    this.#result.disks = this.#arena.disks;
    this.#actors = new Actors(this.#arena, limits, emit, this.#over.signal);
    const watching = [this.#looks(emit), this.#probes(), this.#shows(emit), this.#actors.watch()];
    try {
      this.#arena.manager.start();
      await waitFor(() => !this.#serverSilent && !this.#statusSilent, {
        what: 'the first server and daemon',
        timeout: FIRST_BOOT_MS,
      });
      this.#began = Date.now();
      const scheduled = this.#schedule(emit);
      await this.#until(() => stop.aborted || Date.now() - this.#began >= phase.ms);
      await Promise.all([...this.#groups.values()]);
      await scheduled;
      await this.#drain();
      await this.#end(emit);
    } finally {
      this.#over.abort();
      await Promise.allSettled(watching);
      await this.#arena.end();
    }
    const { begun, skipped } = this.#actors;
    this.#result.sessions = { begun, skipped };
    return this.#result;
  }

  #take(e: Evidence): void {
    if (isTold(e)) appendFileSync(this.#o.timeline, `${JSON.stringify(e)}\n`);
    if (e.kind === 'log') {
      const { event, sessionID, parentID } = e.line;
      this.#result.events[event] = (this.#result.events[event] ?? 0) + 1;
      if (sessionID !== undefined && typeof parentID === 'string') {
        this.#actors.adopt(sessionID, parentID);
      }
    }
    if (e.kind === 'daemon.started') this.#result.daemons += 1;
    this.#judge.take(e);
    for (const violation of this.#judge.news()) {
      appendFileSync(this.#o.timeline, `${JSON.stringify({ kind: 'violation', ...violation })}\n`);
      this.#o.onViolation(violation);
    }
  }

  async #schedule(emit: Emit): Promise<void> {
    const { phase, stop } = this.#o;
    const all = [
      ...phase.faults.map((planned) => ({
        at: planned.at,
        begin: () => this.#fault(planned, emit),
      })),
      ...phase.sessions.map((planned) => ({
        at: planned.at,
        begin: () => void this.#actors.begin(planned),
      })),
    ].sort((a, b) => a.at - b.at);
    for (const { at, begin } of all) {
      await this.#until(() => stop.aborted || Date.now() - this.#began >= at);
      if (stop.aborted) return;
      begin();
    }
  }

  /** Faults of one group follow each other; those of different groups may come together. */
  #fault(planned: PlannedFault, emit: Emit): void {
    const { fault } = planned;
    const group = FAULTS[fault];
    const before = this.#groups.get(group) ?? Promise.resolve();
    const done = before.then(async () => {
      if (this.#o.stop.aborted) return;
      const id = ++this.#faultID;
      this.#active.set(id, planned);
      emit({ kind: 'fault.begun', fault, id });
      const end = await doFault[fault](this.#arena, planned).catch((error: unknown) => ({
        note: `could not be done: ${String(error)}`,
      }));
      this.#active.delete(id);
      emit({ kind: 'fault.ended', fault, id, ...end });
      this.#result.faults[fault] = (this.#result.faults[fault] ?? 0) + 1;
      if (end?.note) this.#result.notes.push(`${fault}: ${end.note}`);
    });
    this.#groups.set(group, done);
  }

  /** Processes, and what is wrong just now. */
  async #looks(emit: Emit): Promise<void> {
    let doubted = '';
    while (!this.#over.signal.aborted) {
      const sight = this.#arena.witness.look(Date.now());
      const ids = sight.servers.map(({ pid }) => pid).join(' ');
      // Two that are seen once may be one that forks: they are looked at again.
      const sure = sight.servers.length <= 1 || doubted === ids;
      doubted = ids;
      if (sure && ids !== this.#lastServers) {
        const gone = this.#lastServers.split(' ').some((pid) => !ids.split(' ').includes(pid));
        this.#lastServers = ids;
        emit({ kind: 'servers', processes: sight.servers.map(plain) });
        if (gone) this.#actors.cutAll();
      }
      this.#oldProcesses(sight, emit);
      this.#troubles(sight, emit);
      emit({ kind: 'shown', where: 'the process list', text: sight.commands.join('\n') });
      emit({ kind: 'tick' });
      await pause(LOOK_MS);
    }
  }

  #oldProcesses({ servers, family }: Sight, emit: Emit): void {
    const [server] = servers;
    if (server === undefined) return;
    const old = family.filter(
      ({ start, command }) => start < server.start && !command.includes('cli.js run'),
    );
    const ids = old.map(({ pid }) => pid).join(' ');
    if (ids === '' && this.#lastOld === '') return;
    const news = ids !== this.#lastOld;
    this.#lastOld = ids;
    emit({ kind: 'old.processes', news, server: plain(server), processes: old.map(plain) });
  }

  #troubles({ servers }: Sight, emit: Emit): void {
    const { manager, proxy, provider } = this.#arena;
    const faults = new Set([...this.#active.values()].map(({ fault }) => FAULTS[fault]));
    const [server] = servers;
    const troubles: Trouble[] = [];
    const add = (trouble: Trouble, holds: boolean) => holds && troubles.push(trouble);
    add('daemon down', manager.pid === undefined || this.#statusSilent);
    add('daemon frozen', manager.pid !== undefined && isStopped(manager.pid));
    add('server down', server === undefined);
    add('server frozen', server !== undefined && isStopped(server.pid));
    add('server silent', this.#serverSilent);
    add('network', faults.has('network') || (proxy !== undefined && proxy.mode.kind !== 'pass'));
    add('disk', faults.has('disk'));
    add('provider', faults.has('provider') || provider.override !== null);
    add('fault', faults.has('process') || faults.has('daemon'));
    const words = troubles.join(', ');
    if (words === this.#lastTroubles) return;
    this.#lastTroubles = words;
    emit({ kind: 'troubles', troubles });
  }

  /** Our own look at the server's health, past the network's faults. */
  async #probes(): Promise<void> {
    while (!this.#over.signal.aborted) {
      const began = Date.now();
      this.#serverSilent = await this.#arena.opencode.health(1_500).then(
        ({ healthy }) => !healthy,
        () => true,
      );
      await pause(Math.max(0, PROBE_MS - (Date.now() - began)));
    }
  }

  /** What the daemon's endpoint says and shows. */
  async #shows(emit: Emit): Promise<void> {
    const token = this.#o.secrets['status token'];
    const ask = (path: string) =>
      fetch(`http://127.0.0.1:${this.#arena.statusPort}${path}`, {
        headers: { authorization: `Bearer ${token}` },
        signal: AbortSignal.timeout(1_500),
      });
    let shownAt = 0;
    let lastReady: boolean | undefined;
    while (!this.#over.signal.aborted) {
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

  /** Everything that was begun comes to its end, or has had the time to. */
  async #drain(): Promise<void> {
    const { limits, slackMs } = this.#o;
    const longest = limits.toolTime + limits.verify * 3 + slackMs + RECOVER_MS;
    const deadline = Date.now() + longest;
    await this.#until(() => this.#actors.open === 0 || Date.now() > deadline);
  }

  async #end(emit: Emit): Promise<void> {
    const { manager, witness, topology } = this.#arena;
    await manager.stop();
    // The server that a daemon only observed is ours to end.
    if (topology === 'observed') {
      for (const { pid } of witness.look(Date.now()).servers) process.kill(pid, 'SIGTERM');
    }
    const family = () => witness.look(Date.now()).family;
    const deadline = Date.now() + 10_000;
    while (family().length > 0 && Date.now() < deadline) await pause(LOOK_MS);
    emit({ kind: 'left.over', processes: family().map(plain) });
    this.#judge.finish(Date.now());
  }

  async #until(done: () => boolean): Promise<void> {
    let saidAt = 0;
    while (!done()) {
      if (Date.now() - saidAt > 1_000) {
        saidAt = Date.now();
        this.#o.onProgress(this.#words());
      }
      await pause(20);
    }
  }

  #words(): string {
    const { phase } = this.#o;
    const seconds = Math.round((Date.now() - this.#began) / 1000);
    const faults = Object.values(this.#result.faults).reduce((sum, count) => sum + count, 0);
    const now = [...this.#active.values()].map(({ fault }) => fault).join(', ');
    return `${phase.topology}: ${seconds} of ${Math.round(phase.ms / 1000)} s, ${faults} faults${now && ` (now ${now})`}, ${this.#actors.begun} sessions (${this.#actors.open} open), ${this.#judge.violations.length} violations`;
  }
}

/** What the timeline has: not what repeats itself many times a second, and no secret that was shown. */
function isTold(e: Evidence): boolean {
  if (e.kind === 'old.processes') return e.news;
  return e.kind !== 'tick' && e.kind !== 'shown';
}

const plain = ({ pid, start, command }: Process): Process => ({ pid, start, command });
