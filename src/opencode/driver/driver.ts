/**
 * The safe driver: opencode under program control that cannot wedge. Every wait is bounded, every abort and delete is
 * verified, no session is used twice by `prompt`, and nothing fails silently.
 */
import { randomUUID } from 'node:crypto';
import { BoundedMap } from '../../lib/bounded.js';
import { type Clock, SystemClock, sleep } from '../../lib/clock.js';
import { isId } from '../../lib/id.js';
import type { DriverApi } from '../driver-api.js';
import { RecognisingDriverApi } from '../recognising-driver-api.js';
import { type CheckOptions, checkAvailability, probeServer } from './availability.js';
import { type BatchOptions, type BatchResult, type BatchTask, runBatch } from './batch.js';
import { checkAgent, listModels } from './catalog.js';
import { answers, bringToRest, removeSession, UNANSWERED } from './end-session.js';

import { asDriverError, DriverError, type DriverErrorDetails } from './error.js';
import { SessionEvents } from './events.js';
import { failureOf, NOT_BEGUN } from './failure.js';
import {
  checkCount,
  checkLimits,
  checkMs,
  DEFAULT_MAX_ATTEMPTS,
  DEFAULT_TIMEOUT_MS,
} from './limits.js';
import { findSession, listSessions } from './list-sessions.js';
import { modelName } from './model.js';
import { chooseModel } from './model-choice.js';
import { type Owner, ownerOf, type SweepOptions, type Swept, sweepOrphans } from './orphans.js';
import { runPrompt } from './prompt.js';
import { promptWish, sessionWish } from './prompt-words.js';
import { replyOf } from './reply.js';
import { Run, type RunEnd, type SessionRef } from './run.js';
import type { OwnWords } from './run-outcome.js';
import { type StreamEvent, streamOf } from './stream.js';
import type { Message } from './transcript.js';
import type {
  Availability,
  ContextText,
  DriverOptions,
  DriverSession,
  ModelList,
  NewSession,
  PromptOptions,
  PromptResult,
  Reply,
  SendOptions,
  Sent,
  SessionState,
  WaitOptions,
} from './types.js';
import { orAborted, type Wall, within } from './wall.js';

export const DEFAULT_URL = 'http://localhost:4096';
/** The first request in a new directory starts an instance there, on a busy machine in many seconds (facts, section 3). */
const REQUEST_TIMEOUT_MS = 30_000;
const EVENTS_TIMEOUT_MS = 3_000;
/** A session that is made before the stream speaks proves nothing of it, which then costs its whole settling time. */
const CONNECT_MS = 500;
/** Nobody waits yet for what was sent: so long it is heard how it begins, which some errors are told only then. */
const UNAWAITED_MS = 1_000;
/** So often a session that shows nothing is checked, before it counts as one that never ran. */
const NEVER_RAN_CHECKS = 3;
const NEVER_RAN_PAUSE_MS = 500;
/** A server seen up so recently is not probed before a prompt: what the prompt asks it first tells as well. */
const UP_FOR_MS = 30_000;
const DEFAULT_LIST = 100;
/**
 * Prompts whose time is remembered. It matters for a second after each prompt. At the limit: the oldest is forgotten.
 */
export const MAX_SENT = 1_000;

export class OpencodeDriver {
  /** The server's address, without credentials. */
  readonly url: string;
  readonly #client: DriverApi;
  readonly #clock: Clock;
  readonly #events: SessionEvents;
  readonly #options: DriverOptions;
  /** When the driver itself prompted a session, on its clock. */
  readonly #sentAt = new BoundedMap<string, number>(MAX_SENT);
  /** When the server was last seen up, on the clock. */
  #upAt = Number.NEGATIVE_INFINITY;
  /** Where sessions live, as the server has said it. */
  readonly #places = new BoundedMap<string, string>(MAX_SENT);

  constructor(options: DriverOptions = {}) {
    const {
      url = DEFAULT_URL,
      api,
      username,
      password,
      clock = new SystemClock(),
      authorise,
    } = options;
    this.#options = options;
    this.#clock = clock;
    this.#client = new RecognisingDriverApi({
      url,
      clock,
      timeoutMs: REQUEST_TIMEOUT_MS,
      ...(api !== undefined && { api }),
      ...(username !== undefined && { username }),
      ...(password !== undefined && { password }),
      ...(authorise && { authorise }),
    });
    this.#events = new SessionEvents(this.#client, clock);
    this.url = this.#client.url;
  }

  /** Ends every connection. Runs that go on are not touched: `abort` them first. */
  async close(): Promise<void> {
    await this.#events.close();
    await this.#client.close();
  }

  /** Whether a prompt can be sent. Never rejects for what it checks; `start` starts a server that is down. */
  check(options: CheckOptions = {}): Promise<Availability> {
    return checkAvailability({ ...this.#options, client: this.#client }, options);
  }

  /** @throws DriverError `unreachable`, `unauthorized` */
  async assertUp(signal?: AbortSignal): Promise<void> {
    const server = await probeServer(this.#client, signal);
    this.#upAt = server.kind === 'up' ? this.#clock.now() : Number.NEGATIVE_INFINITY;
    if (server.kind === 'up') return;
    const kind = server.kind === 'unauthorized' ? 'unauthorized' : 'unreachable';
    throw new DriverError(kind, server.error);
  }

  /** Always a new one. @throws DriverError */
  createSession(options: NewSession = {}): Promise<DriverSession> {
    return this.#create(options);
  }

  #create(
    { title = 'opencode-watchdog', directory, signal, ...options }: NewSession,
    owner?: Owner,
  ): Promise<DriverSession> {
    const wish = sessionWish({ title, ...options, owner });
    return this.#ask(async () => {
      if (options.parentID !== undefined) await this.#placed({ id: options.parentID }, signal);
      // The request itself is not ended: a session that is made all the same is deleted, and not left behind.
      const making = this.#client.createSession(wish, directory);
      try {
        const { metadata: _, ...made } = await orAborted(making, signal);
        this.#learn(made);
        return made;
      } catch (error) {
        if (signal?.aborted) {
          making
            .then((session) => removeSession(this.#deps, session))
            .catch(() => {
              // Nobody waits for it any more; what is left of it, `sweep` finds.
            });
        }
        throw error;
      }
    });
  }

  /** Sends, and waits for the whole reply. On a time-out the run is aborted. @throws DriverError */
  async send(
    session: SessionRef,
    text: string,
    options: SendOptions & WaitOptions = {},
  ): Promise<Reply> {
    checkLimits(options);
    return this.#within(options, async (wall) => {
      const sent = await this.#prompted(session, text, options, wall.signal);
      return this.#conclude(sent, options, wall);
    });
  }

  /** Settles when the server has taken the prompt; how it ends is told by `wait`. @throws DriverError */
  async sendAsync(session: SessionRef, text: string, options: SendOptions = {}): Promise<Sent> {
    checkLimits(options);
    const sent = await this.#ask(() => this.#prompted(session, text, options, options.signal));
    const { run, place, model } = sent;
    // A caller that never waits must not be kept alive by a stream that it does not read.
    const unawaited = this.#clock.after(UNAWAITED_MS, () => run.end(), { unref: true });
    return {
      session: place,
      ...(model !== undefined && { model }),
      wait: async (more: WaitOptions = {}) => {
        checkLimits(more);
        unawaited.cancel();
        run.resume();
        return this.#within(more, (wall) => this.#conclude(sent, more, wall));
      },
    };
  }

  /** Follows the newest run of a session, whoever prompted it, to its end. @throws DriverError */
  async wait(session: SessionRef, options: WaitOptions = {}): Promise<Reply> {
    checkLimits(options);
    return this.#within(options, async (wall) => {
      const place = await this.#placed(session, wall.signal);
      await this.#assertRan(place, wall.signal);
      const followed = this.#follow(place, undefined, undefined, undefined, options);
      return this.#conclude(followed, options, wall);
    });
  }

  /** @throws DriverError `session_not_found` */
  status(session: SessionRef, signal?: AbortSignal): Promise<SessionState> {
    return this.#ask(() => findSession(this.#deps, checked(session), signal));
  }

  /** All directories' sessions, the most recent first; active ones and ghosts are never left out. */
  sessions({
    limit = DEFAULT_LIST,
    signal,
  }: {
    limit?: number;
    signal?: AbortSignal;
  } = {}): Promise<SessionState[]> {
    checkCount('limit', limit);
    return this.#ask(() => listSessions(this.#deps, { limit, ...(signal && { signal }) }));
  }

  /** Those of connected providers; `all` lists every provider's, and reads megabytes for it (1-5 s). */
  models({
    all = false,
    signal,
  }: {
    all?: boolean;
    signal?: AbortSignal;
  } = {}): Promise<ModelList> {
    return this.#ask(() => listModels(this.#client, { all, signal }));
  }

  /** The transcript, oldest first. @throws DriverError */
  messages(
    session: SessionRef,
    options: { limit?: number; signal?: AbortSignal } = {},
  ): Promise<Message[]> {
    checkCount('limit', options.limit);
    return this.#ask(async () => {
      const place = await this.#placed(session, options.signal);
      return this.#client.transcript(place.id, place.directory, options);
    });
  }

  /** True where a run was ended, and seen to be; false where there was none. @throws DriverError */
  abort(session: SessionRef): Promise<boolean> {
    return this.#ask(async () => {
      const { id, directory } = await findSession(this.#deps, checked(session));
      return bringToRest(this.#deps, place(id, directory), this.#sentAt.get(id));
    });
  }

  /** Aborts first, so that no ghost is left, and checks whether it is gone. A ghost is ended. @throws DriverError */
  delete(session: SessionRef): Promise<void> {
    return this.#ask(async () => {
      const { id, directory } = await findSession(this.#deps, checked(session));
      await removeSession(this.#deps, place(id, directory), { sentAt: this.#sentAt.get(id) });
      this.#sentAt.delete(id);
    });
  }

  /** One safe run: a new session, a bounded wait, the reply, and no session left behind. @throws DriverError */
  async prompt(options: PromptOptions): Promise<PromptResult> {
    // Open before the session is made: its creation is then told, which proves that errors will be told, too.
    const release = this.#events.hold();
    const notice = (message: string) => this.#notice(options, message);
    try {
      return await runPrompt(
        {
          clock: this.#clock,
          notice,
          assertUp: async (signal) => {
            if (this.#clock.now() - this.#upAt >= UP_FOR_MS) await this.assertUp(signal);
          },
          // One that is kept is left on purpose: no sweep may end it.
          createSession: async (session) => {
            await this.#events.connected(CONNECT_MS, session.signal);
            return this.#create(session, options.keep === true ? undefined : ownerOf(this.#clock));
          },
          lastAnswer: (id, signal) => this.#lastAnswer(id, signal),
          send: async (session, text, wish, wall) => {
            const sent = await this.#prompted(session, text, wish, wall.signal, { isNew: true });
            return this.#conclude(sent, wish, wall);
          },
          remove: (session, isAtRest) => this.#remove(session, isAtRest),
        },
        options,
      );
    } catch (error) {
      if (asDriverError(error).kind === 'unreachable') this.#upAt = Number.NEGATIVE_INFINITY;
      throw error;
    } finally {
      release();
    }
  }

  /**
   * As `prompt`, told as it happens; the last event is the reply. Who stops reading ends the run.
   * @throws DriverError in place of the reply
   */
  stream(
    options: Omit<PromptOptions, 'onText' | 'onTool' | 'onStep' | 'onNotice'>,
  ): AsyncGenerator<StreamEvent, void, void> {
    return streamOf((callbacks) => this.prompt({ ...options, ...callbacks }), options.signal);
  }

  /** Many safe runs, a bounded number at a time; results come as the tasks end. */
  batch(
    tasks: Iterable<BatchTask>,
    options: BatchOptions = {},
  ): AsyncGenerator<BatchResult, void, void> {
    checkCount('concurrency', options.concurrency);
    checkMs('serverWaitMs', options.serverWaitMs === 0 ? undefined : options.serverWaitMs);
    return runBatch(
      {
        clock: this.#clock,
        prompt: (task) => this.prompt(task),
        assertUp: (signal) => this.assertUp(signal),
        remove: (session) => this.delete(session),
      },
      tasks,
      options,
    );
  }

  /**
   * Ends and deletes the sessions that a `prompt` or `batch` of this machine left when its process was killed.
   * @returns those that were ended, and those that could not be. @throws DriverError
   */
  sweep(options: SweepOptions = {}): Promise<Swept> {
    return this.#ask(() => sweepOrphans(this.#deps, options));
  }

  get #deps() {
    return { client: this.#client, clock: this.#clock };
  }

  #notice(
    { onNotice = this.#options.onNotice }: { onNotice?: ((message: string) => void) | undefined },
    message: string,
  ) {
    onNotice?.(message);
  }

  async #ask<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw asDriverError(error);
    }
  }

  #within<T>(
    { timeoutMs = DEFAULT_TIMEOUT_MS, signal }: WaitOptions,
    work: (wall: Wall) => Promise<T>,
  ): Promise<T> {
    return within(this.#clock, { ms: timeoutMs, signal }, work);
  }

  /** The server has taken the prompt, and its run is followed. @throws DriverError, and ends what it may have begun */
  async #prompted(
    session: SessionRef,
    text: string,
    options: SendOptions & WaitOptions,
    signal: AbortSignal | undefined,
    { isNew = false }: { isNew?: boolean } = {},
  ): Promise<Followed> {
    const { agent, system, context, files, schema, queue = false } = options;
    const client = this.#client;
    const place = await this.#placed(session, signal);
    if (schema && !client.takesSchema) {
      const says = 'this server takes no schema (OpenCode 2): ask for JSON in the prompt itself.';
      throw new DriverError('usage', says, { sessionID: place.id });
    }
    const notice = (message: string) => this.#notice(options, message);
    const wish = { ...options, ...(signal && { signal }) };
    const { ref, variant } = await chooseModel(client, wish, place.directory, notice);
    if (agent !== undefined) await checkAgent(client, agent, place.directory, signal);
    const mark = randomUUID();
    const asked = { text, mark, model: ref, variant };
    const words = promptWish({ ...asked, agent, system, context, files, schema, queue });
    // In a session that was made for this prompt nothing has happened yet.
    const since = isNew ? undefined : await this.#claim(place, queue, signal);
    const followed = this.#follow(place, ref && modelName(ref), { mark, text }, since, options);
    let isSent = false;
    try {
      if (!(await this.#events.ready(EVENTS_TIMEOUT_MS, signal)) && !signal?.aborted) {
        notice('there is no event stream: the reply comes at its end');
      }
      if (signal?.aborted) {
        throw new DriverError('aborted', 'interrupted before the prompt was sent.');
      }
      // Noted first: a request that fails may have been taken all the same.
      this.#sentAt.set(place.id, this.#clock.now());
      isSent = true;
      await client.send(place.id, place.directory, words, signal);
    } catch (error) {
      followed.run.end();
      const failure = asDriverError(error, { sessionID: place.id });
      if (!isSent || !signal?.aborted) throw failure;
      const { aborted, says } = await this.#rest(place, followed.run);
      throw failure.with({ aborted }, says);
    }
    return followed;
  }

  /** The session in its own directory, as the server says it: nothing said of it elsewhere can be believed. */
  async #placed({ id }: SessionRef, signal?: AbortSignal): Promise<SessionRef> {
    checkId(id);
    const known = this.#places.get(id);
    if (known !== undefined) return { id, directory: known };
    const session = await this.#client.session(id, undefined, signal);
    if (!session) {
      throw new DriverError(
        'session_not_found',
        `there is no session ${id}: "opencode-watchdog sessions" lists those there are.`,
        { sessionID: id },
      );
    }
    this.#learn(session);
    return place(id, session.directory);
  }

  /** @throws DriverError `usage` where the session has no answer */
  async #lastAnswer(id: string, signal: AbortSignal): Promise<ContextText> {
    const { directory } = await this.#placed({ id }, signal);
    const messages = await this.#client.transcript(id, directory, { signal });
    const last = messages.findLast(
      ({ role, text, summary }) => role === 'assistant' && summary !== true && text.trim() !== '',
    );
    if (last) return { name: `answer of ${id}`, text: last.text };
    throw new DriverError('usage', `the session ${id} has no answer to take along.`);
  }

  #learn({ id, directory }: SessionRef): void {
    if (directory !== undefined) this.#places.set(id, directory);
  }

  /**
   * Before a prompt: one that is at work or in retry takes none, and neither does one whose last run failed in retry.
   * @returns its last message
   */
  async #claim(
    session: SessionRef,
    queue: boolean,
    signal?: AbortSignal,
  ): Promise<string | undefined> {
    const { id, directory } = session;
    const status = (await this.#client.statuses(directory, signal)).get(id);
    if (status?.type === 'retry') {
      await bringToRest(this.#deps, session, this.#sentAt.get(id));
      throw inRetry(
        id,
        `is in retry (attempt ${status.attempt}: ${status.message}): it was aborted`,
      );
    }
    if (status?.type === 'busy' && !queue) {
      throw new DriverError(
        'session_busy',
        `the session ${id} is at work on another prompt, and this one was not sent: wait for it ` +
          `("opencode-watchdog wait ${id}"), abort it, or send behind it with --queue (queue).`,
        { sessionID: id },
      );
    }
    const messages = await this.#client.transcript(id, directory, {
      limit: 1,
      ...(signal && { signal }),
    });
    const last = messages.at(-1);
    if (status === undefined && failedInRetry(last)) {
      throw inRetry(id, 'failed in retry the last time');
    }
    return last?.id;
  }

  /** Waiting for what was never begun would only end with the time. @throws DriverError `usage` */
  async #assertRan(session: SessionRef, signal: AbortSignal): Promise<void> {
    for (let checks = 0; checks < NEVER_RAN_CHECKS; checks += 1) {
      // A prompt that was just taken may not be written yet.
      if (checks > 0) await sleep(this.#clock, NEVER_RAN_PAUSE_MS, signal);
      const [statuses, messages] = await Promise.all([
        this.#client.statuses(session.directory, signal),
        this.#client.transcript(session.id, session.directory, { limit: 1, signal }),
      ]);
      if (statuses.has(session.id) || messages.length > 0) return;
    }
    throw new DriverError(
      'usage',
      `the session ${session.id} has never run: there is nothing to wait for. "opencode-watchdog send" prompts it.`,
      { sessionID: session.id },
    );
  }

  #follow(
    session: SessionRef,
    model: string | undefined,
    prompt: OwnWords | undefined,
    since: string | undefined,
    options: WaitOptions & SendOptions,
  ): Followed {
    const live: Followed['live'] = {
      onText: options.onText,
      onTool: options.onTool,
      onStep: options.onStep,
      onNotice: options.onNotice,
      startedAt: this.#clock.now(),
    };
    const run = new Run(
      { ...this.#deps, events: this.#events },
      {
        session,
        ...(prompt && { prompt }),
        ...(since !== undefined && { since }),
        onText: (text) => live.onText?.(text),
        onTool: (tool) => live.onTool?.(tool),
        onStep: (step) => live.onStep?.(step),
        onNotice: (message) => this.#notice(live, message),
        onRequest: options.onRequest ?? 'reject',
      },
    );
    const { schema } = options;
    const more = { ...(model !== undefined && { model }), ...(schema && { schema }) };
    return { run, live, place: session, ...more };
  }

  /** The reply, or why there is none. */
  async #conclude(
    { run, live, place: session, model, schema }: Followed,
    options: WaitOptions,
    wall: Wall,
  ): Promise<Reply> {
    live.onText = options.onText ?? live.onText;
    live.onTool = options.onTool ?? live.onTool;
    live.onStep = options.onStep ?? live.onStep;
    live.onNotice = options.onNotice ?? live.onNotice;
    const details = () => ({
      sessionID: session.id,
      ...(session.directory !== undefined && { directory: session.directory }),
      ...((run.model ?? model) !== undefined && { model: run.model ?? model }),
      received: run.received,
    });
    const end = await this.#runEnd(run, session, options, wall, details);
    const { allowEmpty = false, allowTruncated = false } = options;
    const isReply =
      end.kind === 'reply' ||
      (end.kind === 'empty' && allowEmpty) ||
      (end.kind === 'truncated' && allowTruncated);
    if (isReply && schema && end.message.structured === undefined) {
      const says =
        'the answer has not the form of the schema: this opencode may be too old for it.';
      throw new DriverError('run_failed', says, { ...details(), received: end.message.text });
    }
    if (isReply) {
      const tookMs = Math.round(this.#clock.now() - live.startedAt);
      return replyOf(session, end, { retries: run.retries, tookMs });
    }
    const { directory } = session;
    const context = { client: this.#client, directory, model: model ?? run.model };
    const failure = await failureOf(end, context);
    const received = run.received || failure.details.received;
    throw failure.with({ ...details(), ...(received !== undefined && { received }) });
  }

  /** Waits for the end. Whatever ends the waiting before leaves no run going on. */
  async #runEnd(
    run: Run,
    session: SessionRef,
    { maxAttempts = DEFAULT_MAX_ATTEMPTS, maxSteps }: WaitOptions,
    wall: Wall,
    details: () => DriverErrorDetails,
  ): Promise<RunEnd> {
    try {
      return await run.follow({ wall, maxAttempts, maxSteps });
    } catch (error) {
      const failure = asDriverError(error).with(details());
      // Whatever has ended our waiting has not ended the run; without a server there is none.
      if (failure.kind === 'unreachable' || failure.kind === 'unauthorized') throw failure;
      const { aborted, says } = await this.#rest(session, run);
      throw failure.with({ aborted, received: run.received }, says);
    } finally {
      run.end();
    }
  }

  /** A session that we made, without asking what it does: we know. @throws DriverError */
  async #remove(session: SessionRef, isAtRest: boolean): Promise<void> {
    if (!isAtRest && !(await answers(this.#client))) {
      throw new DriverError('unreachable', UNANSWERED, { sessionID: session.id });
    }
    const sentAt = this.#sentAt.get(session.id);
    await this.#ask(() => removeSession(this.#deps, session, { sentAt, isAtRest }));
    this.#sentAt.delete(session.id);
  }

  /** `aborted` is left out where there was no run yet to abort. */
  async #rest(session: SessionRef, run: Run): Promise<{ aborted?: boolean; says: string }> {
    if (!(await answers(this.#client))) return { aborted: false, says: UNANSWERED };
    try {
      const wasRunning = await bringToRest(this.#deps, session, this.#sentAt.get(session.id));
      if (!wasRunning && !run.hasBegun) {
        return {
          says: `It had not begun: the prompt was taken, and nothing followed. ${NOT_BEGUN}`,
        };
      }
      return { aborted: true, says: 'The run was aborted, and is at rest.' };
    } catch (error) {
      return { aborted: false, says: asDriverError(error).message };
    }
  }
}

interface Followed {
  run: Run;
  place: SessionRef;
  /** As it was asked for; absent where the server chooses. */
  model?: string;
  schema?: SendOptions['schema'];
  /** Where text and notices go, which may be told only when it is waited for. */
  live: {
    onText: WaitOptions['onText'];
    onTool: WaitOptions['onTool'];
    onStep: WaitOptions['onStep'];
    onNotice: ((message: string) => void) | undefined;
    startedAt: number;
  };
}

function inRetry(sessionID: string, how: string): DriverError {
  return new DriverError(
    'session_in_retry',
    `the session ${sessionID} ${how}, and the prompt was not sent. Prompt in a new session.`,
    { sessionID, aborted: true },
  );
}

/**
 * The last answer's trace of a retry: opencode gave up an error that may pass, or the retry was aborted, which ends the
 * answer without finish and error (facts, section 6; seen on 1.18.33). Other processes see it as well.
 */
function failedInRetry(last: Message | undefined): boolean {
  if (last?.role !== 'assistant') return false;
  if (last.error !== undefined) return last.error.isRetryable === true;
  const isBlank = last.text === '' && last.tools.length === 0;
  return last.completed !== undefined && last.finish === undefined && isBlank;
}

/** @throws DriverError `usage` */
function checkId(id: string): void {
  if (isId(id)) return;
  throw new DriverError(
    'usage',
    `the session ${JSON.stringify(id.slice(0, 80))}: expected an id such as ses_6f0a1b2c.`,
  );
}

function checked(session: SessionRef): SessionRef {
  checkId(session.id);
  return session;
}

const place = (id: string, directory: string | undefined): SessionRef => ({
  id,
  ...(directory !== undefined && { directory }),
});
