/**
 * Follows a prompt that was sent, or a run that is waited for, until its reply comes or it is known why there is none.
 */

import type { Clock } from '../../lib/clock.js';
import type { Policy } from '../../watchdog/policy.js';
import type { DriverApi, Withdrawal } from '../driver-api.js';
import { answers, bringToRest, unanswered } from './end-session.js';
import { asDriverError, DriverError, type DriverErrorDetails } from './error.js';
import type { SessionEvents } from './events.js';
import { failureOf, NOT_BEGUN } from './failure.js';
import { DEFAULT_MAX_ATTEMPTS } from './limits.js';
import { replyOf } from './reply.js';
import { Run, type RunEnd } from './run.js';
import type { OwnWords } from './run-outcome.js';
import type { Reply, SendOptions, SessionRef, WaitOptions } from './types.js';
import type { Wall } from './wall.js';

/** A frozen server must not double a caller's limit. */
const WITHDRAW_MS = 5_000;

export interface FollowDeps {
  client: DriverApi;
  clock: Clock;
  events: SessionEvents;
  loop: Policy['loop'];
  /** Where notices go, unless the caller has an `onNotice` of its own. */
  onNotice: ((message: string) => void) | undefined;
  /** When the driver prompted the session, on the clock. */
  sentAt(sessionID: string): number | undefined;
}

export interface Followed {
  session: SessionRef;
  /** As it was asked for; absent if the server chooses. */
  model?: string | undefined;
  /** What was sent; absent if somebody else's prompt is followed. */
  prompt?: OwnWords;
  /** The id of the last message before the prompt. */
  since?: string | undefined;
  /** The prompt was sent behind whatever the session is working on, which is somebody else's. */
  isQueued?: boolean;
  options: WaitOptions & SendOptions;
}

export class FollowedRun {
  readonly session: SessionRef;
  readonly model: string | undefined;
  readonly #deps: FollowDeps;
  readonly #mark: string | undefined;
  readonly #schema: SendOptions['schema'];
  readonly #run: Run;
  readonly #startedAt: number;
  /** The callbacks that hear of the run; `conclude` may replace them. */
  #listeners: Pick<WaitOptions, 'onText' | 'onTool' | 'onStep' | 'onNotice'>;

  constructor(
    deps: FollowDeps,
    { session, model, prompt, since, isQueued = false, options }: Followed,
  ) {
    this.#deps = deps;
    this.session = session;
    this.model = model;
    this.#mark = prompt?.mark;
    this.#schema = options.schema;
    this.#startedAt = deps.clock.now();
    this.#listeners = options;
    this.#run = new Run(deps, {
      session,
      ...(prompt && { prompt }),
      ...(since !== undefined && { since }),
      isQueued,
      onText: (text) => this.#listeners.onText?.(text),
      onTool: (tool) => this.#listeners.onTool?.(tool),
      onStep: (step) => this.#listeners.onStep?.(step),
      onNotice: (message) => (this.#listeners.onNotice ?? deps.onNotice)?.(message),
      onRequest: options.onRequest ?? 'reject',
    });
  }

  /**
   * Whether the prompt shows in its session. Waits for that, within limits. @throws DriverError if its run has failed,
   * and left no trace in the session
   */
  async isSeen(signal: AbortSignal | undefined): Promise<boolean> {
    const seen = await this.#run.isSeen(signal);
    const { error } = this.#run;
    if (seen === 'failed' && error) throw await this.#failure({ kind: 'failed', error });
    return seen === 'shown';
  }

  /** Stops listening. The run goes on. */
  end(): void {
    this.#run.end();
  }

  /** Listens again after `end`, and reads what was said meanwhile. */
  resume(): void {
    this.#run.resume();
  }

  /**
   * Resolves to the reply. @throws DriverError that says why there is none; then no run goes on, unless the error says
   * so
   */
  async conclude(options: WaitOptions, wall: Wall): Promise<Reply> {
    const { onText, onTool, onStep, onNotice } = options;
    this.#listeners = {
      onText: onText ?? this.#listeners.onText,
      onTool: onTool ?? this.#listeners.onTool,
      onStep: onStep ?? this.#listeners.onStep,
      onNotice: onNotice ?? this.#listeners.onNotice,
    };
    const { end, says } = await this.#runEnd(options, wall);
    if (end.kind !== 'reply' && !isAllowed(end, options)) {
      throw (await this.#failure(end)).with({}, says);
    }
    if (this.#schema && end.message.structured === undefined) {
      const missing =
        'the answer has not the form of the schema: this opencode may be too old for it.';
      throw new DriverError('run_failed', missing, {
        ...this.#details(),
        received: end.message.text,
      });
    }
    const tookMs = Math.round(this.#deps.clock.now() - this.#startedAt);
    return replyOf(this.session, end, { retries: this.#run.retries, tookMs });
  }

  /** Ends a run that may have begun. `aborted` is left out if there was no run to abort yet. */
  async bringToRest(): Promise<{ aborted?: boolean; says: string }> {
    if (!(await answers(this.#deps.client)))
      return { aborted: false, says: unanswered(this.session.id) };
    return this.#abort();
  }

  /** As `bringToRest`, for a server that answers. */
  async #abort(): Promise<{ aborted?: boolean; says: string }> {
    const { sentAt } = this.#deps;
    try {
      const wasRunning = await bringToRest(this.#deps, this.session, sentAt(this.session.id));
      if (!wasRunning && !this.#run.hasBegun) {
        return {
          says: `It had not begun: the prompt was taken, and nothing followed. ${NOT_BEGUN}`,
        };
      }
      return { aborted: true, says: 'The run was aborted, and is at rest.' };
    } catch (error) {
      return { aborted: false, says: asDriverError(error).message };
    }
  }

  /**
   * Waits for the run's end. If something else ends the wait, the run is ended, too, if it is ours. `says`: what became
   * of a prompt that was not begun.
   */
  async #runEnd(
    { maxAttempts = DEFAULT_MAX_ATTEMPTS, maxSteps }: WaitOptions,
    wall: Wall,
  ): Promise<{ end: RunEnd; says?: string }> {
    try {
      const end = await this.#run.follow({ wall, maxAttempts, maxSteps });
      // A prompt that another run took in waits no more.
      if (!this.#run.isBehind || end.kind === 'superseded') return { end };
      const withdrawal = await this.#withdraw();
      return withdrawal === 'delivered' ? { end } : { end, says: GIVEN_UP[withdrawal] };
    } catch (error) {
      const failure = asDriverError(error).with(this.#details());
      // What ended our wait has not ended the run. Without a server there is no run.
      if (failure.kind === 'unreachable' || failure.kind === 'unauthorized') throw failure;
      // A frozen server must not cost a time limit for each of the requests below.
      if (!(await answers(this.#deps.client))) {
        throw failure.with(
          { aborted: false, received: this.#run.received },
          unanswered(this.session.id),
        );
      }
      const standing = await this.#run.standing();
      if (standing.kind === 'over') {
        // A fault of the caller's, or its wish to end, is no reply.
        if (failure.kind === 'internal' || failure.kind === 'aborted') throw failure;
        return { end: this.#run.told(standing.end) };
      }
      if (standing.kind === 'waiting') {
        const withdrawal = await this.#withdraw();
        if (withdrawal !== 'delivered') {
          throw failure.with({}, `The run before it goes on. ${GIVEN_UP[withdrawal]}`);
        }
      }
      const { aborted, says } = await this.#abort();
      throw failure.with({ aborted, received: this.#run.received }, says);
    } finally {
      this.#run.end();
    }
  }

  async #withdraw(): Promise<Withdrawal> {
    if (this.#mark === undefined) return 'unknown';
    try {
      return await this.#deps.client.withdraw(this.session.id, this.#mark, WITHDRAW_MS);
    } catch {
      return 'unknown';
    }
  }

  async #failure(end: Exclude<RunEnd, { kind: 'reply' }>): Promise<DriverError> {
    const { directory } = this.session;
    const model = this.model ?? this.#run.model;
    const failure = await failureOf(end, { client: this.#deps.client, directory, model });
    const received = this.#run.received || failure.details.received;
    return failure.with({ ...this.#details(), ...(received !== undefined && { received }) });
  }

  #details(): DriverErrorDetails {
    const { id, directory } = this.session;
    const model = this.#run.model ?? this.model;
    return {
      sessionID: id,
      ...(directory !== undefined && { directory }),
      ...(model !== undefined && { model }),
      received: this.#run.received,
    };
  }
}

/** What becomes of a prompt that is given up while it waits behind another run. */
const GIVEN_UP: Readonly<Record<Exclude<Withdrawal, 'delivered'>, string>> = {
  withdrawn: 'The prompt was taken back.',
  unknown: 'The prompt may be queued all the same.',
};

/** Whether the caller accepts such an end as a reply. */
function isAllowed(
  end: RunEnd,
  { allowEmpty = false, allowTruncated = false }: WaitOptions,
): end is Extract<RunEnd, { kind: 'empty' | 'truncated' }> {
  return (end.kind === 'empty' && allowEmpty) || (end.kind === 'truncated' && allowTruncated);
}
