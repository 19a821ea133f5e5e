/**
 * Follows one run to its end, by its events and by checks of its status. Only the status in the session's own directory
 * is believed (facts, section 6), and only the transcript says how the run ended.
 */

import type { Clock } from '../../lib/clock.js';
import type { Policy } from '../../watchdog/policy.js';
import type { DriverApi, RunEvent } from '../driver-api.js';
import { isNotFound, isOurNetwork, OpencodeError } from '../http/errors.js';
import { asDriverError, DriverError } from './error.js';
import type { SessionEvent, SessionEvents } from './events.js';
import { giveUpOn, type Retry } from './give-up-policy.js';
import { ProgressReport } from './progress-report.js';
import { type OwnPrompt, PromptOwnership } from './prompt-ownership.js';
import { type Seen, waitUntilShown } from './prompt-shown.js';
import type { RunOutcome } from './run-outcome.js';
import { type OnRequest, type RequestEvent, RunRequests } from './run-requests.js';
import { RunSteps } from './run-steps.js';
import { CHECK_TIMEOUT_MS, SessionReader } from './session-reader.js';
import { StreamedText } from './streamed-text.js';
import type { Message, RunError } from './transcript.js';
import type { SessionRef, WaitOptions } from './types.js';
import { overdue, type Wall, within } from './wall.js';

/** With events, checks are only for what the events missed. */
const CHECK_EVERY_MS = 2_000;
const CHECK_WITHOUT_EVENTS_MS = 500;
/** Used while the end is near. */
export const CHECK_AT_END_MS = 150;
/**
 * When the session is idle, the last words may still have to be written, and some errors come only then (1.18.33: 5-50
 * ms, more under load).
 */
export const LAST_WORDS_MS = 3_000;
/**
 * How long an accepted run may take until it is seen busy. On a busy machine the first run in a directory took 10 s.
 */
const BEGIN_MS = 30_000;
/** After this many failed checks in a row the server counts as gone. A run does not survive that (facts, section 1). */
const GONE_CHECKS = 4;

export interface RunOptions extends OwnPrompt, Pick<WaitOptions, 'onText' | 'onTool' | 'onStep'> {
  session: SessionRef;
  onNotice: (message: string) => void;
  onRequest: OnRequest;
}

export interface Limits {
  /** The caller's signal aborts its signal, too. */
  wall: Wall;
  maxAttempts: number;
  maxSteps: number | undefined;
}

/**
 * What ending the session's run would end now. `waiting`: only the run of somebody else, because ours has not begun.
 * `over`: ours has ended, so that what goes on is somebody else's.
 */
export type Standing = { kind: 'ours' } | { kind: 'waiting' } | { kind: 'over'; end: RunEnd };

/** How the run ended, if we did not end it. */
export type RunEnd = Exclude<RunOutcome, { kind: 'failed' }> | { kind: 'failed'; error: RunError };

export interface RunDeps {
  client: DriverApi;
  clock: Clock;
  events: SessionEvents;
  loop: Policy['loop'];
}

export class Run {
  readonly #deps: RunDeps;
  readonly #options: RunOptions;
  readonly #ownership: PromptOwnership;
  readonly #reader: SessionReader;
  readonly #text: StreamedText;
  readonly #steps: RunSteps;
  readonly #report: ProgressReport;
  #unsubscribe: () => void;
  readonly #requests: RunRequests;
  #retry: Retry | undefined;
  #attempts = 0;
  #error: RunError | undefined;
  #model: string | undefined;
  #isModelKnown = false;
  #seenBusy = false;
  #hasBegun = false;
  /**
   * Signs of a server restart since the prompt. `seen`: a check found that nobody listened. `stream lost`: only the
   * stream broke.
   */
  #away: 'no' | 'stream lost' | 'seen' = 'no';
  #isCheckDue = false;
  /** Requests may be open that no event has told us of: the run began before we listened, or the stream was lost. */
  #areRequestsDue = true;
  /** What all checks since `since` have found of a run at rest. */
  #rest: { as: string; since: number } | undefined;
  #ring: (() => void) | undefined;
  /** What we, or a callback of the caller's, threw while an event was handled. */
  #fault: { error: unknown } | undefined;
  #isListening = true;
  /** For a while nobody listened. */
  #wasResumed = false;

  constructor(deps: RunDeps, options: RunOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#ownership = new PromptOwnership(options);
    this.#reader = new SessionReader(deps.client, options.session);
    this.#text = new StreamedText(options.onText);
    this.#steps = new RunSteps(deps.loop);
    this.#report = new ProgressReport(options);
    this.#requests = new RunRequests(deps, options);
    this.#unsubscribe = deps.events.subscribe(options.session.id, (event) => this.#hear(event));
  }

  /** The reply as far as it has come. */
  get received(): string {
    return this.#text.text;
  }

  /** `provider/model`, as opencode names it once the model is asked. */
  get model(): string | undefined {
    return this.#model;
  }

  /** Failed attempts of the provider, as opencode counts them. */
  get retries(): number {
    return this.#attempts;
  }

  /** Whether our prompt still waits behind the run of somebody else, as far as we know. */
  get isBehind(): boolean {
    return this.#ownership.isBehind;
  }

  /** What was heard to fail, if it is not the run before ours. */
  get error(): RunError | undefined {
    return this.#ownership.isBehind ? undefined : this.#error;
  }

  /** Whether an answer was begun, as far as we know. */
  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  end(): void {
    this.#isListening = false;
    this.#unsubscribe();
  }

  /** Listens again after `end`, and reads what was said meanwhile. */
  resume(): void {
    if (this.#isListening) return;
    this.#isListening = true;
    this.#wasResumed = true;
    this.#text.gap();
    this.#steps.missed();
    this.#isCheckDue = true;
    this.#areRequestsDue = true;
    const { events } = this.#deps;
    this.#unsubscribe = events.subscribe(this.#options.session.id, (event) => this.#hear(event));
  }

  /**
   * @throws DriverError `timeout`, `aborted`, `unreachable`, `unauthorized`, `loop`, `step_limit`, or the provider's.
   * The run may still go on then
   */
  async follow({ wall, maxAttempts, maxSteps }: Limits): Promise<RunEnd> {
    const { clock, events } = this.#deps;
    const { signal } = wall;
    const end = clock.now() + wall.leftMs();
    // If there are events, we have heard everything since the prompt, and the run's end makes a check due.
    const isHeard = this.#options.prompt !== undefined && events.isOpen;
    let checkedAt = isHeard ? clock.now() : Number.NEGATIVE_INFINITY;
    let misses = 0;
    for (;;) {
      if (this.#fault) throw this.#fault.error;
      const leftMs = wall.leftMs();
      if (wall.isOver || leftMs <= 0) throw this.#timeout(wall.ms);
      if (signal.aborted) {
        throw new DriverError('aborted', 'the prompt was interrupted.').with({}, this.#heldUpBy);
      }
      this.#giveUpIfHopeless(leftMs, maxAttempts);
      const loop = this.#steps.loopToReport();
      if (loop !== undefined) this.#options.onNotice(loop);
      const runaway = this.#steps.runaway(maxSteps);
      if (runaway) throw new DriverError(runaway.kind, `${runaway.words}.`);
      await this.#requests.answer(this.#options.session.directory, signal);
      const pause = this.#pause(this.#rest !== undefined || misses > 0, events.isOpen);
      if (this.#isCheckDue || clock.now() - checkedAt >= pause) {
        this.#isCheckDue = false;
        checkedAt = clock.now();
        const seen = await this.#checkStatus(signal);
        misses = seen instanceof DriverError ? misses + 1 : 0;
        if (seen instanceof DriverError && misses >= GONE_CHECKS) throw seen;
        if (seen === 'active' && this.#areRequestsDue && !this.#ownership.isBehind) {
          await this.#readRequests(signal);
        }
        if (seen === 'idle' || (seen === 'active' && this.#ownership.mayGoOn)) {
          const end = await this.#runEnd(signal, seen === 'active');
          if (end) return end;
        }
        continue;
      }
      await this.#wait(Math.min(end, checkedAt + pause) - clock.now(), signal);
    }
  }

  #pause(isClose: boolean, hasEvents: boolean): number {
    if (isClose) return CHECK_AT_END_MS;
    return hasEvents ? CHECK_EVERY_MS : CHECK_WITHOUT_EVENTS_MS;
  }

  #wait(ms: number, signal: AbortSignal): Promise<void> {
    if (this.#isCheckDue || this.#fault || this.#requests.hasUnanswered) return Promise.resolve();
    return this.#nextEvent(ms, signal);
  }

  #nextEvent(ms: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const ring = () => {
        this.#ring = undefined;
        timer.cancel();
        signal?.removeEventListener('abort', ring);
        resolve();
      };
      const timer = this.#deps.clock.after(Math.max(1, ms), ring);
      signal?.addEventListener('abort', ring, { once: true });
      this.#ring = ring;
    });
  }

  /** Called by the connection. The run reports what is thrown here, not the connection. */
  #hear(event: SessionEvent): void {
    try {
      this.#take(event);
    } catch (error) {
      this.#fault ??= { error };
      this.#ring?.();
    }
  }

  #take({ sessionID, directory, event }: SessionEvent): void {
    const { session } = this.#options;
    if (event.kind === 'gap') {
      this.#text.gap();
      this.#steps.missed();
      this.#isCheckDue = true;
      this.#areRequestsDue = true;
      if (this.#away === 'no') this.#away = 'stream lost';
    } else if (event.kind === 'silence') {
      this.#isCheckDue = true;
      this.#areRequestsDue = true;
    } else if (event.kind === 'asked' || event.kind === 'answered') {
      if (this.#ownership.isBehind) return;
      // This includes a subagent's requests: its questions to a person concern the whole run.
      this.#requests.hear(sessionID, event);
      if (!this.#requests.hasUnanswered) return;
    } else if (sessionID === session.id && !this.#hearOwn(event, directory)) return;
    this.#ring?.();
  }

  /** @returns whether the event may require something to be done */
  #hearOwn(event: Exclude<RunEvent, RequestEvent>, directory: string | undefined): boolean {
    switch (event.kind) {
      case 'status': {
        // A wrong abort by somebody else causes false status events (facts, section 6).
        const { directory: own } = this.#options.session;
        if (directory !== undefined && own !== undefined && directory !== own) return false;
        const { status } = event;
        if (status.type === 'idle') this.#isCheckDue = true;
        if (status.type === 'busy') this.#noteActive();
        if (status.type === 'retry') this.#noteRetry(status);
        return true;
      }
      case 'error':
        // The same error comes twice, the second time with a stack.
        this.#error ??= event.error;
        this.#isCheckDue = true;
        return true;
      case 'prompt':
        this.#ownership.hearPrompt(event.messageID, event.mark);
        return true;
      case 'answer': {
        const { messageID, parentID, model } = event;
        const { owner, endsWait } = this.#ownership.hearAnswer(messageID, parentID);
        if (endsWait) this.#noteTurn();
        if (owner === 'foreign') return false;
        if (owner === 'unplaced') this.#isCheckDue = true;
        this.#model = model ?? this.#model;
        this.#hasBegun = true;
        this.#text.answer(messageID);
        return this.#isCheckDue;
      }
      case 'text':
        if (this.#ownership.isForeign(event.messageID)) return false;
        this.#text.whole(event.partID, event.messageID, event.of, event.text);
        return false;
      case 'text_added':
        if (this.#ownership.isForeign(event.messageID)) return false;
        this.#text.added(event.partID, event.messageID, event.added);
        return false;
      case 'step':
        if (this.#ownership.isForeign(event.step.messageID)) return false;
        this.#steps.finished(event.step);
        this.#report.step(event.step, this.#steps.count);
        return true;
      case 'tool':
        if (this.#ownership.isForeign(event.messageID)) return false;
        this.#report.tool(event.callID, event.use);
        return false;
      case 'compacted':
        if (!this.#ownership.isBehind) this.#steps.compacted();
        return true;
    }
  }

  /** The run before ours is over. What was heard until now concerned only that one. */
  #noteTurn(): void {
    this.#error = undefined;
    this.#areRequestsDue = true;
    this.#noteActive();
  }

  #noteActive(): void {
    this.#rest = undefined;
    if (this.#ownership.isBehind) return;
    this.#seenBusy = true;
    this.#hasBegun = true;
  }

  #noteRetry(retry: Retry): void {
    this.#noteActive();
    if (this.#ownership.isBehind) return;
    this.#retry = retry;
    if (retry.attempt <= this.#attempts) return;
    this.#attempts = retry.attempt;
    const { nextInMs, message: said } = retry;
    const next = nextInMs === undefined ? '' : `; the next in ${Math.ceil(nextInMs / 1000)} s`;
    this.#options.onNotice(`attempt ${retry.attempt} failed: ${said || 'no reason given'}${next}`);
  }

  #giveUpIfHopeless(leftMs: number, maxAttempts: number): void {
    const retry = this.#retry;
    this.#retry = undefined;
    const giveUp = retry && giveUpOn(retry, { leftMs, maxAttempts });
    if (giveUp) {
      const said = retry.message || 'no reason given';
      const who = this.#model ?? 'the provider';
      throw new DriverError(giveUp.kind, `${who} said "${said}": ${giveUp.words}.`);
    }
  }

  async #checkStatus(signal: AbortSignal): Promise<'idle' | 'active' | 'unseen' | DriverError> {
    try {
      const status = await this.#reader.status(signal);
      if (status.type === 'idle') return 'idle';
      this.#noteActive();
      if (status.type === 'retry') this.#noteRetry(status);
      this.#steps.text(this.#text.current);
      return 'active';
    } catch (error) {
      if (!(error instanceof OpencodeError)) throw error;
      if (error.kind === 'unauthorized') throw asDriverError(error);
      // A slow answer says nothing, nor does our own network. If nobody listens, and that lasts, the server is gone.
      const isGone = error.kind === 'refused' || error.kind === 'network';
      if (!isGone || isOurNetwork(error)) return 'unseen';
      this.#away = 'seen';
      // opencode-2-facts, section 6.
      const after =
        this.#deps.client.api === 2
          ? 'only the background service of OpenCode 2 goes on with it by itself when it is back'
          : 'nothing resumes by itself';
      return new DriverError(
        'unreachable',
        `the server went away during the run, and with it the run: ${after}. ${error.message}`,
        { cause: error },
      );
    }
  }

  /**
   * Whether the stream told of every subagent of the run. The requests of one that was there before, or that came
   * unheard, come by no event that we know as ours.
   */
  get #hasHeardAll(): boolean {
    return this.#options.prompt !== undefined && this.#away === 'no' && !this.#wasResumed;
  }

  async #readRequests(caller: AbortSignal): Promise<void> {
    const { clock, events } = this.#deps;
    const { id, directory } = this.#options.session;
    // What is asked after the list was read must come by an event. Otherwise each check reads the list.
    const isHeard = events.isOpen;
    try {
      await within(clock, { ms: CHECK_TIMEOUT_MS, signal: caller }, ({ signal }) =>
        this.#requests.read(id, directory, signal),
      );
      if (isHeard && this.#hasHeardAll) this.#areRequestsDue = false;
    } catch (error) {
      // The next check reads the list again.
      if (asDriverError(error).kind === 'internal') throw error;
    }
  }

  /** Waits until our prompt shows in its session, for `BEGIN_MS` at most. Never rejects. */
  isSeen(signal: AbortSignal | undefined): Promise<Seen> {
    const run = {
      clock: this.#deps.clock,
      reader: this.#reader,
      ownership: this.#ownership,
      hasFailed: () => this.error !== undefined,
      nextEvent: this.#nextEvent.bind(this),
    };
    return waitUntilShown(run, BEGIN_MS, signal);
  }

  /**
   * How long all checks have found the run at rest in the state `as`. The status that says idle is older than the
   * transcript that is read after it, by seconds on a busy machine. The run may have begun in between, so only later
   * checks confirm that it is at rest.
   */
  #restedMs(as: string): number {
    const now = this.#deps.clock.now();
    if (this.#rest?.as !== as) this.#rest = { as, since: now };
    return now - this.#rest.since;
  }

  /** What the transcript says about our own run. */
  #outcomeOf(messages: readonly Message[]): RunOutcome {
    const { outcome, endsWait } = this.#ownership.outcomeOf(messages, this.#error);
    if (endsWait) this.#noteTurn();
    return outcome;
  }

  /** Never rejects: if the transcript cannot be read, what was heard until now counts. */
  async standing(): Promise<Standing> {
    try {
      // No event need have told of somebody else's run.
      const outcome = this.#outcomeOf(await this.#reader.transcript());
      if (this.#ownership.isOver(outcome)) return { kind: 'over', end: outcome };
    } catch {
      // A run that we know nothing of is not touched.
    }
    return { kind: this.#ownership.isBehind ? 'waiting' : 'ours' };
  }

  /** Tells what was not told of the text yet. Throws what the caller's callback throws. */
  told(end: RunEnd): RunEnd {
    if (end.kind === 'reply' || end.kind === 'truncated') this.#text.finish(end.message.text);
    return end;
  }

  /**
   * The end of a run whose status says idle; undefined while it may still come. If the session goes on with somebody
   * else's prompt (`isActive`), only a complete answer counts.
   */
  async #runEnd(signal: AbortSignal, isActive: boolean): Promise<RunEnd | undefined> {
    const { client } = this.#deps;
    const { directory } = this.#options.session;
    let messages: Message[];
    let outcome: RunOutcome;
    try {
      messages = await this.#reader.transcript(signal);
      this.#model ??= messages.findLast(({ model }) => model !== undefined)?.model;
      outcome = this.#outcomeOf(messages);
    } catch (error) {
      if (signal.aborted) return undefined;
      if (this.#restedMs('unreadable') < LAST_WORDS_MS) return undefined;
      // A server that ended in the middle of the run may have lost the session as well.
      if (isNotFound(error) && this.#away !== 'no') return { kind: 'cut' };
      throw asDriverError(error);
    }
    if (isActive) return this.#ownership.isOver(outcome) ? this.told(outcome) : undefined;
    const restedMs = this.#restedMs(`${outcome.kind} ${messages.at(-1)?.id}`);
    if (outcome.kind === 'reply') return this.told(outcome);
    // The error of the run before ours may only mean that ours begins.
    if (this.#error && (!this.#ownership.isBehind || restedMs >= LAST_WORDS_MS)) {
      return { kind: 'failed', error: this.#error };
    }
    if (outcome.kind === 'empty' || outcome.kind === 'truncated') return this.told(outcome);
    if (restedMs < LAST_WORDS_MS) return undefined;
    if (outcome.kind !== 'nothing') return outcome;
    // Nothing resumes by itself (facts, section 1), and a service that does resume a run shows it as active. So a run
    // that a restart cut before its answer began will never begin it.
    if (this.#away === 'seen') return { kind: 'cut' };
    const never: RunEnd = this.#away === 'stream lost' ? { kind: 'cut' } : outcome;
    if (this.#seenBusy) return never;
    // The reason why it never began may have been reported before anyone listened.
    if (!this.#isModelKnown && this.#model !== undefined) {
      const catalog = await client.catalog(directory, signal);
      this.#isModelKnown = catalog?.models.some(({ id }) => id === this.#model) ?? true;
      const said = `Model not found: ${this.#model}.`;
      if (!this.#isModelKnown) return { kind: 'failed', error: { name: 'Error', message: said } };
    }
    return restedMs >= BEGIN_MS ? never : undefined;
  }

  #timeout(timeoutMs: number): DriverError {
    return new DriverError('timeout', `${overdue(timeoutMs)}.`).with({}, this.#heldUpBy);
  }

  get #heldUpBy(): string | undefined {
    const waits = this.#requests.waitsFor;
    if (waits !== undefined) return `It waits for ${waits}.`;
    return this.#attempts > 0 ? `The provider had failed ${this.#attempts} times.` : undefined;
  }
}
