/** The prompts of `recover` that are under way: each is sent in its turn, and may be withdrawn until then. */

import type { Config } from '../config/schema.js';
import type { Clock } from '../lib/clock.js';
import { continueSession } from '../opencode/actions/continue.js';
import type { ServerApi } from '../opencode/server-api.js';
import type { ContinueAct, ContinueReason } from '../watchdog/decision.js';
import type { Observation } from '../watchdog/observation.js';

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

export interface ContinuationsOptions {
  client: ServerApi;
  clock: Clock;
  /** Read at each prompt: a reload may change it. */
  config: Pick<Config, 'abort' | 'recover'>;
  observe(o: Observation): void;
}

interface Continuation {
  withdraw: AbortController;
  /** Settles when it is over; undefined while it waits for its turn. */
  over?: Promise<unknown>;
}

export class Continuations {
  readonly #o: ContinuationsOptions;
  readonly #stop: AbortSignal;
  readonly #underWay = new Map<string, Continuation>();

  /** `stop`: the daemon is stopping. */
  constructor(options: ContinuationsOptions, stop: AbortSignal) {
    this.#o = options;
    this.#stop = stop;
  }

  /** Sends the prompt when `inTurn` calls it. Ends in `continue.done` or `continue.failed`. */
  async send(
    act: ContinueAct,
    inTurn: (perform: () => Promise<void>) => Promise<void>,
  ): Promise<void> {
    const continuation: Continuation = { withdraw: new AbortController() };
    this.#underWay.set(act.sessionID, continuation);
    try {
      await inTurn(() => {
        const over = this.#sendPrompt(act, continuation.withdraw.signal);
        continuation.over = over;
        return over;
      });
    } finally {
      if (this.#underWay.get(act.sessionID) === continuation) this.#underWay.delete(act.sessionID);
    }
  }

  /**
   * A person wants the session aborted. A prompt that is not sent yet is not sent any more. If it is sent, its run has
   * begun when this settles, and can be aborted.
   */
  async withdraw(sessionID: string): Promise<void> {
    const continuation = this.#underWay.get(sessionID);
    continuation?.withdraw.abort();
    await continuation?.over;
  }

  async #sendPrompt(act: ContinueAct, withdrawn: AbortSignal): Promise<void> {
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
      signal: this.#stop,
      withdrawn,
    });
    const of = { at: clock.now(), sessionID, ...(model === undefined ? {} : { model }) };
    if (end.outcome === 'started') observe({ kind: 'continue.done', ...of });
    else {
      const { outcome, ...how } = end;
      const superseded = outcome === 'superseded' ? { superseded: true } : {};
      observe({ kind: 'continue.failed', ...of, ...how, ...superseded });
    }
  }
}
