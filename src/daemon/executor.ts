/**
 * The executor: carries out each act that the watchdog decides, and reports how it really ended.
 *
 * Every act whose end the watchdog waits for ends in exactly one observation, even if it fails, is withdrawn, or is
 * only pretended (`dryRun`, a pause).
 */

import type { Config } from '../config/schema.js';
import { sharedAbort } from '../lib/abort.js';
import type { Clock } from '../lib/clock.js';
import { eachLimited, Semaphore } from '../lib/semaphore.js';
import { abortSession } from '../opencode/actions/abort.js';
import { abortEnd } from '../opencode/actions/abort-steps.js';
import { continueSession } from '../opencode/actions/continue.js';
import { disposeDirectory } from '../opencode/actions/dispose.js';
import { disposeEnd } from '../opencode/actions/dispose-steps.js';
import type { ServerApi } from '../opencode/server-api.js';
import { attached } from '../process/control/attached.js';
import {
  ControlError,
  type RestartedServer,
  type ServerAlive,
  type ServerControl,
} from '../process/control/control.js';
import type { Telemetry } from '../telemetry/logger.js';
import type { Act, ContinueReason, RestartReason } from '../watchdog/decision.js';
import type { Observation, Unsupported } from '../watchdog/observation.js';
import { isManual, skipped } from '../watchdog/skipped.js';

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

/** What the model is told before `recover.prompt`: it cannot see by itself that its last tool may have been cut off. */
const CUT_BY: Readonly<Record<ContinueReason, string>> = {
  abort: '',
  quota: '',
  restart:
    'Your last run was cut when the opencode server was restarted. A tool may have run half: look at what it has done before you do it again.\n\n',
  crash:
    'Your last run was cut when the opencode server ended unexpectedly. A tool may have run half: look at what it has done before you do it again.\n\n',
};
/** On a busy machine the first run in a directory was seen to begin later than 5 s after its prompt. */
const CONTINUE_BEGINS_MS = 30_000;

/** Interrupts of stuck runs before a restart, at a time. At the limit: the rest wait. */
const MAX_INTERRUPTS = 8;
const INTERRUPT_MS = 2_000;

/** A probe of a busy server may take this long. */
const ASK_MS = 5_000;

/** The acts that a dry run leaves undone, and a pause too if no person asked for them. */
type Leavable = Exclude<Act, { act: 'inspect' | 'withdraw' }>;

export interface ExecutorOptions {
  client: ServerApi;
  control: ServerControl;
  clock: Clock;
  telemetry: Telemetry;
  /** Read at each act: a reload may change it. */
  config: Pick<Config, 'abort' | 'recover' | 'dryRun'>;
  /** True while a person has told the daemon not to act. */
  paused(): boolean;
  observe(o: Observation): void;
  /** Inspects one session; the answer comes as an observation. */
  inspect(sessionID: string, directory: string | undefined): Promise<void>;
  /** Probes the server now instead of waiting for the next probe. */
  probe(): void;
  /** Sessions whose runs a restart for this reason is meant to end. */
  stuck(reason: RestartReason): readonly { sessionID: string; directory?: string | undefined }[];
  /** Puts the monitor to rest while the server is being restarted. */
  pauseMonitor(): Promise<void>;
  /** `fresh`: the server is a new process, of which nothing is known yet. */
  resumeMonitor(fresh: boolean): void;
  giveUp(restarts: number): void;
  /** Called before a restart. It settles within a second, and never rejects. */
  gatherEvidence?(reason: RestartReason): Promise<void>;
}

interface Continuation {
  withdraw: AbortController;
  /** Settles when it is over; undefined while it waits for its turn. */
  over?: Promise<unknown>;
}

export class Executor {
  readonly #o: ExecutorOptions;
  readonly #aborts = new Map<string, AbortController>();
  readonly #continuations = new Map<string, Continuation>();
  readonly #abortSlots = new Semaphore(MAX_ABORTS);
  readonly #promptSlots = new Semaphore(MAX_PROMPTS);
  readonly #running = new Set<Promise<void>>();
  readonly #stopping = sharedAbort();

  constructor(options: ExecutorOptions) {
    this.#o = options;
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
  #leaves(act: Leavable): boolean {
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

  #pretend(act: Leavable, because: 'dryRun' | 'paused'): void {
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

  #perform(act: Exclude<Leavable, { act: 'give_up' }>): Promise<void> {
    switch (act.act) {
      case 'abort':
        return this.#abort(act);
      case 'start':
        return this.#restart('start', undefined);
      case 'restart':
        return this.#restart('restart', act.reason);
      case 'continue_process':
        return this.#continueProcess();
      case 'dispose':
        return this.#dispose(act);
      case 'continue':
        return this.#continue(act);
      case 'reject':
        return this.#inTurn(act, () => this.#reject(act));
    }
  }

  #inTurn(act: Leavable, perform: () => Promise<void>): Promise<void> {
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
      if (act.reason === 'manual') await this.#endContinuation(sessionID);
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

  async #continue(act: Extract<Act, { act: 'continue' }>): Promise<void> {
    const continuation: Continuation = { withdraw: new AbortController() };
    this.#continuations.set(act.sessionID, continuation);
    try {
      await this.#inTurn(act, () => {
        const over = this.#sendPrompt(act, continuation.withdraw.signal);
        continuation.over = over;
        return over;
      });
    } finally {
      if (this.#continuations.get(act.sessionID) === continuation) {
        this.#continuations.delete(act.sessionID);
      }
    }
  }

  /**
   * A person wants the session aborted. A prompt that is not sent yet is not sent any more. If it is sent, its run has
   * begun when this settles, and can be aborted.
   */
  async #endContinuation(sessionID: string): Promise<void> {
    const continuation = this.#continuations.get(sessionID);
    continuation?.withdraw.abort();
    await continuation?.over;
  }

  async #sendPrompt(act: Extract<Act, { act: 'continue' }>, withdrawn: AbortSignal): Promise<void> {
    const { client, clock, observe, config } = this.#o;
    const { sessionID, directory, model, agent, lastMessageID, cutMessageID } = act;
    const end = await continueSession(client, clock, {
      sessionID,
      directory,
      prompt: `${CUT_BY[act.because]}${config.recover.prompt}`,
      onlyIfOpen: act.onlyIfOpen ?? false,
      ...(model === undefined ? {} : { model }),
      ...(agent === undefined ? {} : { agent }),
      ...(lastMessageID === undefined ? {} : { lastMessageID }),
      ...(cutMessageID === undefined ? {} : { cutMessageID }),
      timeoutMs: Math.max(config.abort.verifyTimeout, CONTINUE_BEGINS_MS),
      signal: this.#stopping.signal,
      withdrawn,
    });
    const of = { at: clock.now(), sessionID, ...(model === undefined ? {} : { model }) };
    if (end.outcome === 'started') observe({ kind: 'continue.done', ...of });
    else {
      const superseded = end.outcome === 'superseded' ? { superseded: true } : {};
      observe({ kind: 'continue.failed', ...of, error: end.error, ...superseded });
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

  async #restart(what: 'start' | 'restart', reason: RestartReason | undefined): Promise<void> {
    const { clock, control, observe } = this.#o;
    const { signal } = this.#stopping;
    await this.#o.pauseMonitor();
    if (reason !== undefined) await this.#o.gatherEvidence?.(reason);
    if (reason !== undefined && control.resumesRuns === true) await this.#letGoOfStuck(reason);
    // The monitor is resumed before the result is observed, because what follows may put it to rest again.
    try {
      const server =
        what === 'start'
          ? await control.start(signal, this.#sayStarting)
          : reason === 'exited'
            ? await this.#bringBack(signal)
            : await control.restart(signal);
      const unsupported = await this.#notUnderstood();
      this.#o.resumeMonitor(true);
      observe({
        kind: 'restart.done',
        at: clock.now(),
        ...server,
        ...(unsupported && { unsupported }),
      });
    } catch (error) {
      if (signal.aborted) return;
      const known = error instanceof ControlError;
      const serverAlive = await this.#isAlive(known ? error.serverAlive : 'unknown');
      // The daemon was told to stop meanwhile, so the result of this act does not matter any more.
      if (signal.aborted) return;
      const version = serverAlive ? undefined : await this.#installedVersion();
      if (signal.aborted) return;
      this.#o.resumeMonitor(!serverAlive);
      observe({
        kind: 'restart.failed',
        at: clock.now(),
        error: error instanceof Error ? error.message : String(error),
        serverAlive,
        ...(version !== undefined && { version }),
      });
      if (!known) throw error;
    }
  }

  /**
   * The server has ended. By now (a pause, the breaker, a backoff) somebody may have started another one: that one is
   * taken on. If it boots, the start waits for it.
   */
  async #bringBack(signal: AbortSignal): Promise<RestartedServer> {
    const { clock, control } = this.#o;
    const began = clock.now();
    const answer = await this.#answer();
    if (answer !== undefined) {
      return attached(control, { ...answer, tookMs: clock.now() - began }, signal);
    }
    signal.throwIfAborted();
    try {
      return await control.start(signal);
    } catch (error) {
      // A process that is there has had the time of a start, and answers nothing: only now it is ended.
      const isSilent = error instanceof ControlError && (await this.#answer()) === undefined;
      if (!isSilent || signal.aborted || (await control.attach(signal)) === null) throw error;
      return control.restart(signal);
    }
  }

  readonly #sayStarting = (pid?: number): void => {
    this.#o.telemetry.emit('server.starting', pid === undefined ? {} : { pid });
  };

  /** An interrupt releases a run's claim (opencode-2-facts, section 6), so the new server does not continue the run. */
  async #letGoOfStuck(reason: RestartReason): Promise<void> {
    const { client } = this.#o;
    await eachLimited(this.#o.stuck(reason), MAX_INTERRUPTS, async ({ sessionID, directory }) => {
      // If the server does not answer, it is restarted nevertheless. If the run comes back, it is judged again.
      await client
        .abort(sessionID, directory, this.#stopping.signal, INTERRUPT_MS)
        .catch(() => undefined);
    });
  }

  /** After the restart, another version of opencode may answer: it may have been upgraded in place. */
  async #notUnderstood(): Promise<Unsupported | undefined> {
    const probe = await this.#o.client.probe(this.#stopping.signal, ASK_MS);
    if (probe.kind !== 'unsupported') return undefined;
    const { kind: _, error: __, ...unsupported } = probe;
    return unsupported;
  }

  /** Asked only after a start that failed, because it runs the program. */
  async #installedVersion(): Promise<string | undefined> {
    try {
      return await this.#o.control.installedVersion?.();
    } catch {
      // The version is only a hint. The error is reported in any case.
      return undefined;
    }
  }

  /**
   * A restart that failed does not mean that the server is dead. If the control cannot tell, the server itself is
   * asked.
   */
  async #isAlive(seen: ServerAlive): Promise<boolean> {
    return seen === 'unknown' ? (await this.#answer()) !== undefined : seen;
  }

  /** Undefined if nothing answers. Any answer shows that the server is alive. */
  async #answer(): Promise<{ version?: string } | undefined> {
    const probe = await this.#o.client.probe(this.#stopping.signal, ASK_MS);
    switch (probe.kind) {
      case 'ok':
        return probe.version === undefined ? {} : { version: probe.version };
      case 'unauthorized':
      case 'unsupported':
        return {};
      case 'failed':
      case 'aborted':
        return undefined;
    }
  }
}
