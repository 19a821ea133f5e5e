/**
 * Runs many prompts, a bounded number at a time, each in a safe run of its own, and gives each result as its run ends.
 * If the server restarts in between, the batch waits for it and repeats the runs that were cut.
 */
import { type Clock, sleep } from '../../lib/clock.js';
import { MAX_NOTICES } from '../monitor/notice.js';
import { asDriverError, type DriverError } from './error.js';
import type { PromptOptions, PromptResult, SessionRef } from './types.js';

export interface BatchTask extends Omit<PromptOptions, 'onText' | 'onNotice' | 'signal'> {
  /** Names the task in its result. Default: its number, from 1. */
  id?: string;
}

export type BatchResult = { id: string; index: number; notices: string[] } & (
  | { ok: true; reply: PromptResult }
  | { ok: false; error: DriverError }
);

export interface BatchOptions {
  /** Default: 4. */
  concurrency?: number;
  /** How long to wait for a server that went away, ms. No task begins meanwhile. Default: 2 minutes; 0 = not at all. */
  serverWaitMs?: number;
  /** Aborts and deletes the current runs. Tasks that have not begun do not begin, and have no result. */
  signal?: AbortSignal;
  onStart?: (id: string) => void;
}

/** The steps that the driver provides. */
export interface BatchDeps {
  clock: Clock;
  prompt(options: PromptOptions): Promise<PromptResult>;
  assertUp(signal: AbortSignal): Promise<void>;
  abort(session: SessionRef): Promise<unknown>;
  /** Aborts it first. */
  remove(session: SessionRef): Promise<void>;
}

const DEFAULT_CONCURRENCY = 4;
const DEFAULT_SERVER_WAIT_MS = 120_000;
const SERVER_CHECK_MS = 500;
/** A task that is cut this often may itself be what brings the server down. */
const RUNS_PER_TASK = 3;

/** Results come in the order in which the tasks end. If the caller stops reading, the current runs are ended. */
export async function* runBatch(
  deps: BatchDeps,
  tasks: Iterable<BatchTask>,
  options: BatchOptions = {},
): AsyncGenerator<BatchResult, void, void> {
  const { concurrency = DEFAULT_CONCURRENCY, signal, onStart } = options;
  const stop = new AbortController();
  const onAbort = () => stop.abort();
  signal?.addEventListener('abort', onAbort, { once: true });
  if (signal?.aborted) onAbort();
  const gate = new ServerGate(deps, options.serverWaitMs ?? DEFAULT_SERVER_WAIT_MS, stop.signal);
  const waiting = [...tasks].entries();
  const running = new Map<number, Promise<BatchResult>>();
  const begin = () => {
    while (running.size < Math.max(1, concurrency) && !stop.signal.aborted) {
      const { done, value } = waiting.next();
      if (done) return;
      const [index, task] = value;
      const id = task.id ?? String(index + 1);
      onStart?.(id);
      running.set(index, runTask(deps, gate, task, id, index, stop.signal));
    }
  };
  try {
    for (begin(); running.size > 0; begin()) {
      const result = await Promise.race(running.values());
      running.delete(result.index);
      yield result;
    }
  } finally {
    stop.abort();
    signal?.removeEventListener('abort', onAbort);
    await Promise.all(running.values());
  }
}

/** Never rejects. */
async function runTask(
  deps: BatchDeps,
  gate: ServerGate,
  { id: _, ...task }: BatchTask,
  id: string,
  index: number,
  signal: AbortSignal,
): Promise<BatchResult> {
  const notices: string[] = [];
  const base = { id, index, notices };
  const onNotice = (message: string) => {
    if (notices.length < MAX_NOTICES) notices.push(message);
  };
  for (let runs = 1; ; runs += 1) {
    await gate.passed();
    try {
      const reply = await deps.prompt({ ...task, signal, onNotice });
      gate.noteUp();
      return { ...base, ok: true, reply };
    } catch (error) {
      const failure = asDriverError(error);
      const wasCut = failure.kind === 'unreachable' || failure.details.cut === true;
      const again = wasCut && runs < RUNS_PER_TASK && !signal.aborted;
      if (!again || !(await gate.isUpAgain())) return { ...base, ok: false, error: failure };
      const left = await endRun(deps, failure, task.keep === true);
      if (left !== undefined) {
        onNotice(`the session ${left.id} is left behind: ${left.says}`);
        // Two runs of one task would disturb each other in its directory.
        if (left.mayRun) return { ...base, ok: false, error: failure };
      }
      onNotice(`the server went away and is back: the task runs again (${failure.message})`);
    }
  }
}

/** Ends what a cut run left. A session that the caller keeps is not deleted. @returns what could not be ended */
async function endRun(
  deps: BatchDeps,
  { details: { sessionID: id, deleted } }: DriverError,
  keep: boolean,
): Promise<{ id: string; says: string; mayRun: boolean } | undefined> {
  if (id === undefined || deleted === true) return undefined;
  try {
    await (keep ? deps.abort({ id }) : deps.remove({ id }));
    return undefined;
  } catch (error) {
    const { kind, message } = asDriverError(error);
    if (kind === 'session_not_found') return undefined;
    return { id, says: message, mayRun: kind !== 'delete_failed' };
  }
}

/** Closed while the server is away. All tasks that find it closed share one wait for the server's return. */
class ServerGate {
  readonly #deps: BatchDeps;
  readonly #waitMs: number;
  readonly #signal: AbortSignal;
  #coming: Promise<boolean> | undefined;
  /** A whole wait was in vain. The tasks that are left ask once, each. */
  #gaveUp = false;

  constructor(deps: BatchDeps, waitMs: number, signal: AbortSignal) {
    this.#deps = deps;
    this.#waitMs = waitMs;
    this.#signal = signal;
  }

  /** Settles at once if no task has found the server away. */
  async passed(): Promise<void> {
    await this.#coming;
  }

  /** The next time that the server goes away is worth a whole wait. */
  noteUp(): void {
    this.#gaveUp = false;
  }

  /** Resolves to false if the server is not back in time, or if the batch is stopped. */
  isUpAgain(): Promise<boolean> {
    if (this.#waitMs === 0) return Promise.resolve(false);
    this.#coming ??= this.#wait().finally(() => {
      this.#coming = undefined;
    });
    return this.#coming;
  }

  async #wait(): Promise<boolean> {
    const { clock, assertUp } = this.#deps;
    const end = clock.now() + this.#waitMs;
    while (!this.#signal.aborted) {
      try {
        await assertUp(this.#signal);
        this.noteUp();
        return true;
      } catch {
        this.#gaveUp ||= clock.now() >= end;
        if (this.#gaveUp) return false;
        // The server is still away, or the batch is stopped: the loop's own conditions decide.
        await sleep(clock, SERVER_CHECK_MS, this.#signal).catch(() => {});
      }
    }
    return false;
  }
}
