/** One phase of a run: makes a world, carries out its schedule, observes everything throughout, and ends the world. */
import { appendFileSync } from 'node:fs';
import { pause, waitFor } from '../test/support/wait.js';
import { Environment, type Secrets } from './environment.js';
import type { Emit, Evidence, Violation } from './evidence.js';
import { doFault } from './faults.js';
import { Judge } from './judge.js';
import { PARKED_SLACK_MS } from './laws/ways-back.js';
import type { Limits } from './limits.js';
import { FAULTS, type FaultGroup, type Phase, type PlannedFault } from './schedule.js';
import { POLL_MS, plain, Watch } from './watch.js';
import { Workload } from './workload.js';

export interface PhaseOptions {
  phase: Phase;
  limits: Limits;
  secrets: Secrets;
  slackMs: number;
  /** The file for all evidence, as NDJSON. */
  timeline: string;
  stop: AbortSignal;
  onProgress(words: string): void;
  onViolation(violation: Violation): void;
}

export interface PhaseResult {
  judge: Judge;
  faults: Record<string, number>;
  /** What came of the faults, if there is something to report. */
  notes: string[];
  sessions: { begun: number; skipped: number };
  events: Record<string, number>;
  disks: string;
  daemons: number;
}

const FIRST_BOOT_MS = 120_000;
/** Time after the last fault for a boot on a busy machine, after a backoff. */
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
  #environment!: Environment;
  #workload!: Workload;
  #faultID = 0;
  #began = 0;

  constructor(options: PhaseOptions) {
    this.#o = options;
    const { limits, secrets, slackMs, phase } = options;
    const startsServer = phase.topology !== 'observed';
    this.#judge = new Judge({ limits, secrets, slackMs, recoverMs: RECOVER_MS, startsServer });
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
    this.#environment = await Environment.make({ topology, limits, secrets, emit });
    this.#result.disks = this.#environment.disks;
    this.#workload = new Workload(this.#environment, limits, emit, this.#over.signal);
    const watch = new Watch({
      environment: this.#environment,
      secrets,
      emit,
      faults: () => [...this.#active.values()].map(({ fault }) => fault),
      onGone: () => this.#workload.cutAll(),
      stop: this.#over.signal,
    });
    const watching = [watch.run(), this.#workload.watch()];
    try {
      this.#environment.manager.start();
      await waitFor(() => watch.allWell, {
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
      await this.#environment.end();
    }
    const { begun, skipped } = this.#workload;
    this.#result.sessions = { begun, skipped };
    return this.#result;
  }

  #take(e: Evidence): void {
    if (isTold(e)) appendFileSync(this.#o.timeline, `${JSON.stringify(e)}\n`);
    if (e.kind === 'log') {
      const { event, sessionID, parentID } = e.line;
      this.#result.events[event] = (this.#result.events[event] ?? 0) + 1;
      if (sessionID !== undefined && typeof parentID === 'string') {
        this.#workload.adopt(sessionID, parentID);
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
        begin: () => void this.#workload.begin(planned),
      })),
    ].sort((a, b) => a.at - b.at);
    for (const { at, begin } of all) {
      await this.#until(() => stop.aborted || Date.now() - this.#began >= at);
      if (stop.aborted) return;
      begin();
    }
  }

  /** Faults of one group come one after the other. Faults of different groups may overlap. */
  #fault(planned: PlannedFault, emit: Emit): void {
    const { fault } = planned;
    const group = FAULTS[fault];
    const before = this.#groups.get(group) ?? Promise.resolve();
    const done = before.then(async () => {
      if (this.#o.stop.aborted) return;
      const id = ++this.#faultID;
      this.#active.set(id, planned);
      emit({ kind: 'fault.begun', fault, id });
      const end = await doFault[fault](this.#environment, planned, this.#workload).catch(
        (error: unknown) => ({ note: `could not be done: ${String(error)}` }),
      );
      this.#active.delete(id);
      emit({ kind: 'fault.ended', fault, id, ...end });
      this.#result.faults[fault] = (this.#result.faults[fault] ?? 0) + 1;
      if (end?.note) this.#result.notes.push(`${fault}: ${end.note}`);
    });
    this.#groups.set(group, done);
  }

  /** Waits until everything that was begun has ended, or has had the time to. */
  async #drain(): Promise<void> {
    const { limits, slackMs } = this.#o;
    const ended = limits.toolTime + limits.verify * 3 + slackMs;
    const longest = Math.max(ended, PARKED_SLACK_MS) + RECOVER_MS;
    const deadline = Date.now() + longest;
    const { recovers, waysBack } = this.#judge;
    const settled = () => this.#workload.open === 0 && !recovers.pending && !waysBack.pending;
    await this.#until(() => settled() || Date.now() > deadline);
  }

  async #end(emit: Emit): Promise<void> {
    const { manager, processProbe, topology } = this.#environment;
    await manager.stop();
    // If the daemon only observed the server, we must end it.
    if (topology === 'observed') {
      for (const { pid } of processProbe.look(Date.now()).servers) process.kill(pid, 'SIGKILL');
    }
    const family = () => processProbe.look(Date.now()).family;
    const deadline = Date.now() + 10_000;
    while (family().length > 0 && Date.now() < deadline) await pause(POLL_MS);
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
    return `${phase.topology}: ${seconds} of ${Math.round(phase.ms / 1000)} s, ${faults} faults${now && ` (now ${now})`}, ${this.#workload.begun} sessions (${this.#workload.open} open), ${this.#judge.violations.length} violations`;
  }
}

/** What goes into the timeline: nothing that repeats many times a second, and no texts that might show a secret. */
function isTold(e: Evidence): boolean {
  if (e.kind === 'old.processes') return e.news;
  return e.kind !== 'tick' && e.kind !== 'shown';
}
