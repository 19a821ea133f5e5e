/**
 * The executor: carries out each act that the watchdog decides, and reports how it really ended.
 *
 * Every act whose end the watchdog waits for ends in exactly one observation, even if it fails, is withdrawn, or is
 * only pretended (`dryRun`, a pause).
 */

import type { Config } from '../config/schema.js';
import { sharedAbort } from '../lib/abort.js';
import { Semaphore } from '../lib/semaphore.js';
import { abortSession } from '../opencode/actions/abort.js';
import { abortEnd } from '../opencode/actions/abort-steps.js';
import { disposeDirectory } from '../opencode/actions/dispose.js';
import { disposeEnd } from '../opencode/actions/dispose-steps.js';
import { ControlError } from '../process/control/control.js';
import type { Act, LeavableAct } from '../watchdog/decision.js';
import { isManual, skipped } from '../watchdog/skipped.js';
import { Continuations } from './continuations.js';
import { Restarter, type RestarterOptions } from './restarter.js';

/**
 * What the model is told when the daemon rejects a request in a person's place, so that the run goes on (facts, section
 * 7).
 */
const NOBODY_THERE =
  'Nobody is there to answer. Go on without it if you can, else say what you need and end.';

/** Aborts under way at a time. At the limit: the rest wait, and may still be withdrawn. */
export const MAX_ABORTS = 64;
/** Prompts of `recover` and answers of `waiting.action: reject` under way at a time. At the limit: the rest wait. */
export const MAX_PROMPTS = 16;

export interface ExecutorOptions extends RestarterOptions {
  /** Read at each act: a reload may change it. */
  config: Pick<Config, 'abort' | 'recover' | 'dryRun'>;
  /** True while a person has told the daemon not to act. */
  paused(): boolean;
  /** Inspects one session; the answer comes as an observation. */
  inspect(sessionID: string, directory: string | undefined): Promise<void>;
  /** Probes the server now instead of waiting for the next probe. */
  probe(): void;
  giveUp(restarts: number): void;
}

export class Executor {
  readonly #o: ExecutorOptions;
  readonly #aborts = new Map<string, AbortController>();
  readonly #continuations: Continuations;
  readonly #restarter: Restarter;
  readonly #abortSlots = new Semaphore(MAX_ABORTS);
  readonly #promptSlots = new Semaphore(MAX_PROMPTS);
  readonly #running = new Set<Promise<void>>();
  readonly #stopping = sharedAbort();

  constructor(options: ExecutorOptions) {
    this.#o = options;
    this.#continuations = new Continuations(options, this.#stopping.signal);
    this.#restarter = new Restarter(options, this.#stopping.signal);
  }

  do(act: Act): void {
    if (this.#stopping.signal.aborted) return;
    switch (act.act) {
      case 'inspect':
        this.#start(this.#o.inspect(act.sessionID, act.directory), 'inspecting a session');
        return;
      case 'withdraw':
        this.#aborts.get(act.sessionID)?.abort();
        return;
      case 'give_up':
        if (!this.#leaves(act)) this.#o.giveUp(act.restarts);
        return;
      default:
        if (!this.#leaves(act)) this.#start(this.#perform(act), act.act);
    }
  }

  /**
   * Whether the act is left undone, in a dry run or a pause; if so, it is pretended. Asked again when an act that waited
   * gets its turn.
   */
  #leaves(act: LeavableAct): boolean {
    const { config, paused } = this.#o;
    const because = config.dryRun ? 'dryRun' : paused() && !isManual(act) ? 'paused' : undefined;
    if (because !== undefined) this.#pretend(act, because);
    return because !== undefined;
  }

  /** Cancels everything that is under way and waits until it has ended. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error('the daemon is stopping'));
    for (const abort of this.#aborts.values()) abort.abort();
    await Promise.allSettled([...this.#running]);
  }

  #pretend(act: LeavableAct, because: 'dryRun' | 'paused'): void {
    const { clock, observe, telemetry } = this.#o;
    const { act: name, ...fields } = act;
    telemetry.emit('act.skipped', {
      act: name,
      ...('sessionID' in fields ? { sessionID: fields.sessionID } : {}),
      ...('directory' in fields && fields.directory ? { directory: fields.directory } : {}),
      ...('reason' in fields ? { reason: fields.reason } : {}),
      because,
    });
    // The watchdog is still deciding, so it gets the answer afterwards.
    queueMicrotask(() => {
      const answer = skipped(act, clock.now());
      if (answer !== undefined) observe(answer);
    });
  }

  #perform(act: Exclude<LeavableAct, { act: 'give_up' }>): Promise<void> {
    switch (act.act) {
      case 'abort':
        return this.#abort(act);
      case 'start':
        return this.#restarter.run();
      case 'restart':
        return this.#restarter.run(act.reason);
      case 'continue_process':
        return this.#continueProcess();
      case 'dispose':
        return this.#dispose(act);
      case 'continue':
        return this.#continuations.send(act, (perform) => this.#inTurn(act, perform));
      case 'reject':
        return this.#inTurn(act, () => this.#reject(act));
    }
  }

  #inTurn(act: LeavableAct, perform: () => Promise<void>): Promise<void> {
    return this.#promptSlots.take(async () => {
      this.#stopping.signal.throwIfAborted();
      if (!this.#leaves(act)) await perform();
    });
  }

  #start(work: Promise<void>, doing: string): void {
    const tracked = work
      .catch((err: unknown) => {
        if (!this.#stopping.signal.aborted) this.#o.telemetry.emit('error', { err, doing });
      })
      .finally(() => this.#running.delete(tracked));
    this.#running.add(tracked);
  }

  async #abort(act: Extract<Act, { act: 'abort' }>): Promise<void> {
    const { client, clock, observe } = this.#o;
    const { sessionID } = act;
    const withdraw = new AbortController();
    this.#aborts.set(sessionID, withdraw);
    try {
      if (act.reason === 'manual') await this.#continuations.withdraw(sessionID);
      const end = await this.#abortSlots.take(async () => {
        this.#stopping.signal.throwIfAborted();
        if (this.#leaves(act)) return undefined;
        return abortSession(client, clock, {
          sessionID,
          directory: act.directory,
          expect: act.expect,
          waits: act.waits,
          verifyTimeoutMs: act.verifyTimeoutMs,
          signal: withdraw.signal,
          stop: this.#stopping.signal,
        });
      });
      // A restart cut this run, and another abort of the same session is under way by now: this result is not that
      // abort's.
      if (end === undefined || this.#aborts.get(sessionID) !== withdraw) return;
      observe(abortEnd(end, sessionID, clock.now()));
    } catch (err) {
      // This should not happen, but without an answer the session would stay in `aborting` for ever.
      observe({ kind: 'abort.failed', at: clock.now(), sessionID, error: String(err) });
      throw err;
    } finally {
      if (this.#aborts.get(sessionID) === withdraw) this.#aborts.delete(sessionID);
    }
  }

  async #dispose(act: Extract<Act, { act: 'dispose' }>): Promise<void> {
    const { client, clock, observe } = this.#o;
    const end = await disposeDirectory(client, clock, { ...act, stop: this.#stopping.signal });
    // A dispose that the stop cut short has neither worked nor failed, and nothing is decided any more.
    if (!this.#stopping.signal.aborted) observe(disposeEnd(end, act.directory, clock.now()));
  }

  async #continueProcess(): Promise<void> {
    const { clock, control, observe } = this.#o;
    try {
      await control.continueProcess();
      observe({ kind: 'continue_process.done', at: clock.now() });
      this.#o.probe();
    } catch (error) {
      const known = error instanceof ControlError;
      observe({
        kind: 'continue_process.failed',
        at: clock.now(),
        error: known ? error.message : String(error),
      });
      if (!known) throw error;
    }
  }

  async #reject(act: Extract<Act, { act: 'reject' }>): Promise<void> {
    const { client, clock, observe } = this.#o;
    const { sessionID, directory, request } = act;
    const { signal } = this.#stopping;
    try {
      await client.rejectRequest({ ...request, sessionID }, directory, NOBODY_THERE, signal);
    } catch (err) {
      const { requestID } = request;
      observe({ kind: 'reject.failed', at: clock.now(), sessionID, requestID, error: String(err) });
      throw err;
    }
  }
}
