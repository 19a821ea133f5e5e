/** Runs that outlive the MCP call that began them. They go on until they end, are ended, or the client goes away. */
import { randomUUID } from 'node:crypto';
import type { Clock } from '../lib/clock.js';
import { asDriverError, DriverError } from '../opencode/driver/error.js';
import { MAX_NOTICES } from '../opencode/monitor/notice.js';

/**
 * Runs of the MCP server, with their results. At the limit: the oldest result is forgotten; if all runs still go on, no
 * new one is begun.
 */
export const MAX_RUNS = 100;
/**
 * The end of an unfinished reply that `result` shows. At the limit: what came before is left out until the reply is
 * whole.
 */
export const MAX_SHOWN_CHARS = 2_000;

/** The result of a run, in the form that `--json` prints. */
export type Outcome = Record<string, unknown> & { ok: boolean };

/** How a run is stopped, and what it reports, while it goes on. */
export interface RunCallbacks {
  signal: AbortSignal;
  onText: (text: string) => void;
  onNotice: (message: string) => void;
  /** For a batch: how many tasks have ended. */
  onEnded: (count: number) => void;
}

export class BackgroundRun {
  readonly id = `run_${randomUUID().slice(0, 8)}`;
  /** Never rejects. */
  readonly ended: Promise<Outcome>;
  readonly #clock: Clock;
  readonly #startedAt: number;
  readonly #stop = new AbortController();
  readonly #notices: string[] = [];
  #outcome: Outcome | undefined;
  #text = '';
  #tasksEnded = 0;

  constructor(clock: Clock, work: (callbacks: RunCallbacks) => Promise<Outcome>) {
    this.#clock = clock;
    this.#startedAt = clock.now();
    this.ended = this.#end(work);
  }

  /** Undefined while it goes on. */
  get outcome(): Outcome | undefined {
    return this.#outcome;
  }

  get elapsedMs(): number {
    return Math.round(this.#clock.now() - this.#startedAt);
  }

  get tasksEnded(): number {
    return this.#tasksEnded;
  }

  /** How far the run is. */
  state(): Record<string, unknown> {
    return {
      run: this.id,
      elapsedMs: this.elapsedMs,
      ...(this.#text !== '' && { received: this.#text }),
      ...(this.#tasksEnded > 0 && { tasksEnded: this.#tasksEnded }),
      ...(this.#notices.length > 0 && { notices: this.#notices }),
    };
  }

  /** Aborts what runs, and deletes its session. `ended` settles when that is done. */
  stop(): void {
    this.#stop.abort();
  }

  async #end(work: (callbacks: RunCallbacks) => Promise<Outcome>): Promise<Outcome> {
    const outcome = await this.#outcomeOf(work);
    const notices = this.#notices.length > 0 ? { notices: this.#notices } : {};
    this.#outcome = { ...outcome, ...notices };
    this.#text = '';
    return this.#outcome;
  }

  async #outcomeOf(work: (callbacks: RunCallbacks) => Promise<Outcome>): Promise<Outcome> {
    try {
      return await work({
        signal: this.#stop.signal,
        onText: (text) => {
          this.#text = (this.#text + text).slice(-MAX_SHOWN_CHARS);
        },
        onNotice: (message) => {
          if (this.#notices.length < MAX_NOTICES) this.#notices.push(message);
        },
        onEnded: (count) => {
          this.#tasksEnded = count;
        },
      });
    } catch (error) {
      return { ok: false, error: asDriverError(error) };
    }
  }
}

export class BackgroundRuns {
  readonly #clock: Clock;
  readonly #runs = new Map<string, BackgroundRun>();
  #isEnding = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @throws DriverError `usage` if too many go on, `aborted` after `end` */
  begin(work: (callbacks: RunCallbacks) => Promise<Outcome>): BackgroundRun {
    if (this.#isEnding) throw new DriverError('aborted', 'the MCP server is stopping.');
    if (this.#runs.size >= MAX_RUNS) this.#forgetOldest();
    const run = new BackgroundRun(this.#clock, work);
    this.#runs.set(run.id, run);
    return run;
  }

  /** @throws DriverError `usage` */
  get(id: string): BackgroundRun {
    const run = this.#runs.get(id);
    if (run) return run;
    const known = [...this.#runs.keys()].join(', ') || 'none';
    throw new DriverError(
      'usage',
      `there is no run ${JSON.stringify(id.slice(0, 80))}; there are: ${known}. "start" begins one.`,
    );
  }

  /** Ends all runs that go on, and begins no more. Settles when nothing is left of them. */
  async end(): Promise<void> {
    this.#isEnding = true;
    const runs = [...this.#runs.values()];
    for (const run of runs) run.stop();
    await Promise.all(runs.map(({ ended }) => ended));
  }

  #forgetOldest(): void {
    const oldest = [...this.#runs.values()].find(({ outcome }) => outcome !== undefined);
    if (oldest) {
      this.#runs.delete(oldest.id);
      return;
    }
    throw new DriverError(
      'usage',
      `${MAX_RUNS} runs go on already: wait for one with "result", or end one with "end".`,
    );
  }
}
