/**
 * The safe driver: lets programs control opencode without wedged runs. Every wait is bounded, every abort and delete is
 * verified, `prompt` uses no session twice, and nothing fails silently.
 */
import { randomUUID } from 'node:crypto';
import { BoundedMap } from '../../lib/bounded.js';
import { type Clock, SystemClock } from '../../lib/clock.js';
import type { Policy } from '../../watchdog/policy.js';
import type { DriverApi } from '../driver-api.js';
import { OpencodeError } from '../http/errors.js';
import { RecognisingDriverApi } from '../recognising-driver-api.js';
import { type CheckOptions, checkAvailability, probeServer } from './availability.js';
import { type BatchOptions, type BatchResult, type BatchTask, runBatch } from './batch.js';
import { checkAgent, listModels } from './catalog.js';
import { assertRan, claimSession } from './claim.js';
import { answers, bringToRest, removeSession, unanswered } from './end-session.js';
import { asDriverError, DriverError } from './error.js';
import { SessionEvents } from './events.js';
import { type Followed, FollowedRun } from './followed-run.js';
import { lastAnswer } from './last-answer.js';
import { checkCount, checkedLoop, checkLimits, checkMs, DEFAULT_TIMEOUT_MS } from './limits.js';
import { findSession, listSessions } from './list-sessions.js';
import { modelName } from './model.js';
import { chooseModel } from './model-choice.js';
import { type Owner, ownerOf, type SweepOptions, type Swept, sweepOrphans } from './orphans.js';
import { runPrompt } from './prompt.js';
import { promptWish, sessionWish } from './prompt-words.js';
import { checkId, SessionPlaces, sessionRef } from './session-places.js';
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
  SessionRef,
  SessionState,
  WaitOptions,
} from './types.js';
import { orAborted, type Wall, within } from './wall.js';

export const DEFAULT_URL = 'http://localhost:4096';
/**
 * The first request in a new directory starts an instance there, which takes many seconds on a busy machine (facts,
 * section 3).
 */
const REQUEST_TIMEOUT_MS = 30_000;
const EVENTS_TIMEOUT_MS = 3_000;
/** How long `close` waits until the sessions are removed whose creation was interrupted. */
const REMOVALS_MS = 5_000;
/**
 * How long a new session waits for the stream's first event. Only then does the session's creation prove that the
 * stream works; otherwise its whole settling time has to pass.
 */
const CONNECT_MS = 500;
/**
 * For this long after `sendAsync` we listen to how the run begins, even if nobody waits for it yet: some errors are
 * only reported then.
 */
const UNAWAITED_MS = 1_000;
/**
 * If the server was up this recently, a prompt does not probe it first: the prompt's own first request shows the same.
 */
const UP_FOR_MS = 30_000;
const DEFAULT_LIST = 100;
const MAY_BE_LEFT = 'a session that was being created may be left on the server';
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
  readonly #loop: Policy['loop'];
  /** When the driver itself prompted a session, on its clock. */
  readonly #sentAt = new BoundedMap<string, number>(MAX_SENT);
  /** When the server was last seen up, on the clock. */
  #upAt = Number.NEGATIVE_INFINITY;
  readonly #places: SessionPlaces;
  /** Of sessions whose creation was interrupted. */
  readonly #removals = new Set<Promise<void>>();

  /** @throws DriverError `usage` for an invalid `loop` */
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
    this.#loop = checkedLoop(options.loop);
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
    this.#places = new SessionPlaces(this.#client);
    this.url = this.#client.url;
  }

  /** Ends every connection, after a short wait for what is being removed. Runs that go on are not touched: `abort` them first. */
  async close(): Promise<void> {
    const removals = Promise.all(this.#removals);
    await within(this.#clock, { ms: REMOVALS_MS, signal: undefined }, ({ signal }) =>
      orAborted(removals, signal),
    ).catch(() => {
      this.#removals.clear();
      this.#notice({}, MAY_BE_LEFT);
    });
    await this.#events.close();
    await this.#client.close();
  }

  /**
   * Whether a prompt can be sent. A check that fails is a result, not an error. `start` starts a server where nobody
   * listens.
   */
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

  /** Always creates a new session. @throws DriverError */
  createSession(options: NewSession = {}): Promise<DriverSession> {
    return this.#create(options);
  }

  #create(
    { title = 'opencode-watchdog', directory, signal, ...options }: NewSession,
    owner?: Owner,
  ): Promise<DriverSession> {
    const wish = sessionWish({ title, ...options, owner });
    return this.#ask(async () => {
      if (options.parentID !== undefined) await this.#places.find({ id: options.parentID }, signal);
      // The request itself is not cancelled: if it still creates a session, that is deleted and not left behind.
      const making = this.#client.createSession(wish, directory);
      try {
        const { metadata: _, ...made } = await orAborted(making, signal);
        this.#places.learn(made);
        return made;
      } catch (error) {
        if (signal?.aborted) this.#removeUnwanted(making);
        else if (mayHaveArrived(error)) this.#notice({}, MAY_BE_LEFT);
        throw error;
      }
    });
  }

  /** Never rejects. Nobody waits for it but `close`. */
  #removeUnwanted(making: Promise<DriverSession>): void {
    const removal = making
      .then((session) => this.#remove(session, false))
      .catch((error: unknown) => {
        // `close` waited long enough, and has said so.
        if (!this.#removals.has(removal)) return;
        const { details, message } = asDriverError(error);
        const { sessionID } = details;
        if (sessionID) this.#notice({}, `the session ${sessionID} is left behind: ${message}`);
        else if (mayHaveArrived(error)) this.#notice({}, MAY_BE_LEFT);
      })
      .finally(() => this.#removals.delete(removal));
    this.#removals.add(removal);
  }

  /** Sends a prompt, and waits for the whole reply. On a time-out the run is aborted. @throws DriverError */
  async send(
    session: SessionRef,
    text: string,
    options: SendOptions & WaitOptions = {},
  ): Promise<Reply> {
    checkLimits(options);
    return this.#within(options, async (wall) => {
      const sent = await this.#prompted(session, text, options, wall.signal);
      return sent.conclude(options, wall);
    });
  }

  /**
   * Settles when the server has accepted the prompt and shows it. `wait` tells how its run ends. @throws DriverError,
   * also if the run has failed before it showed
   */
  async sendAsync(session: SessionRef, text: string, options: SendOptions = {}): Promise<Sent> {
    checkLimits(options);
    const sent = await this.#ask(() => this.#prompted(session, text, options, options.signal));
    const isSeen = await sent.isSeen(options.signal).catch((error: unknown) => {
      sent.end();
      throw asDriverError(error);
    });
    if (!isSeen && !options.signal?.aborted) {
      const id = sent.session.id;
      this.#notice(options, `the prompt was taken, and the session ${id} does not show it yet`);
    }
    const { model } = sent;
    // A caller that never waits must not be kept alive by a stream that it does not read.
    const unawaited = this.#clock.after(UNAWAITED_MS, () => sent.end(), { unref: true });
    return {
      session: sent.session,
      ...(model !== undefined && { model }),
      wait: async (more: WaitOptions = {}) => {
        checkLimits(more);
        unawaited.cancel();
        sent.resume();
        return this.#within(more, (wall) => sent.conclude(more, wall));
      },
    };
  }

  /** Follows the newest run of a session, whoever prompted it, to its end. @throws DriverError */
  async wait(session: SessionRef, options: WaitOptions = {}): Promise<Reply> {
    checkLimits(options);
    return this.#within(options, async (wall) => {
      const place = await this.#places.find(session, wall.signal);
      await assertRan(this.#deps, place, wall.signal);
      return this.#follow({ session: place, options }).conclude(options, wall);
    });
  }

  /** @throws DriverError `session_not_found` */
  status(session: SessionRef, signal?: AbortSignal): Promise<SessionState> {
    return this.#ask(() => findSession(this.#deps, checked(session), signal));
  }

  /** The sessions of all directories, the most recent first. Active ones and ghosts are never left out. */
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

  /** The models of connected providers. `all` lists those of every provider, and reads megabytes for that (1-5 s). */
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
      const place = await this.#places.find(session, options.signal);
      return this.#client.transcript(place.id, place.directory, options);
    });
  }

  /** Resolves to true if a run was ended and seen to be at rest; to false if there was none. @throws DriverError */
  abort(session: SessionRef): Promise<boolean> {
    return this.#ask(async () => {
      const { id, directory } = await findSession(this.#deps, checked(session));
      return bringToRest(this.#deps, sessionRef(id, directory), this.#sentAt.get(id));
    });
  }

  /**
   * Aborts the session first, so that no ghost is left, deletes it, and checks that it is gone. Ends a ghost. @throws
   * DriverError
   */
  delete(session: SessionRef): Promise<void> {
    return this.#ask(async () => {
      const { id, directory } = await findSession(this.#deps, checked(session));
      await removeSession(this.#deps, sessionRef(id, directory), { sentAt: this.#sentAt.get(id) });
      this.#sentAt.delete(id);
    });
  }

  /** One safe run: a new session, a bounded wait, the reply, and no session left behind. @throws DriverError */
  async prompt(options: PromptOptions): Promise<PromptResult> {
    // The stream opens before the session is created. The event of its creation proves that errors will be reported,
    // too.
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
          // A session that is kept stays on purpose, so it gets no owner: no sweep may end it.
          createSession: async (session) => {
            await this.#events.connected(CONNECT_MS, session.signal);
            return this.#create(session, options.keep === true ? undefined : ownerOf(this.#clock));
          },
          lastAnswer: (id, signal) => this.#lastAnswer(id, signal),
          send: async (session, text, wish, wall) => {
            const sent = await this.#prompted(session, text, wish, wall.signal, { isNew: true });
            return sent.conclude(wish, wall);
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
   * Like `prompt`, but gives the events as they happen; the last one is the reply. If the caller stops reading, the run
   * is ended.
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
        abort: (session) => this.abort(session),
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

  /**
   * Settles when the server has accepted the prompt and its run is followed. @throws DriverError; if the signal ended
   * the sending, a run that may have begun is ended first
   */
  async #prompted(
    session: SessionRef,
    text: string,
    options: SendOptions & WaitOptions,
    signal: AbortSignal | undefined,
    { isNew = false }: { isNew?: boolean } = {},
  ): Promise<FollowedRun> {
    const { agent, system, context, files, schema, queue = false } = options;
    const client = this.#client;
    const place = await this.#places.find(session, signal);
    if (schema && !client.takesSchema) {
      const says = 'this server takes no schema (OpenCode 2): ask for JSON in the prompt itself.';
      throw new DriverError('usage', says, { sessionID: place.id });
    }
    const notice = (message: string) => this.#notice(options, message);
    const wish = { ...options, ...(signal && { signal }) };
    const { ref, variant } = await chooseModel(this.#deps, wish, place, notice);
    if (agent !== undefined) await checkAgent(this.#deps, agent, place.directory, signal);
    const mark = randomUUID();
    const asked = { text, mark, model: ref, variant };
    const words = promptWish({ ...asked, agent, system, context, files, schema, queue });
    const sentAt = this.#sentAt.get(place.id);
    const release = this.#events.hold();
    let followed: FollowedRun;
    try {
      if (!(await this.#events.ready(EVENTS_TIMEOUT_MS, signal)) && !signal?.aborted) {
        notice('there is no event stream: the reply comes at its end');
      }
      // Checked last, so that hardly anybody can prompt it in between. In a session that was created for this prompt
      // nothing has happened yet.
      const since = isNew
        ? undefined
        : await claimSession(this.#deps, place, { sentAt, queue, signal });
      if (signal?.aborted) {
        throw new DriverError('aborted', 'interrupted before the prompt was sent.');
      }
      followed = this.#follow({
        session: place,
        model: ref && modelName(ref),
        prompt: { mark, text },
        since,
        isQueued: queue && !isNew,
        options,
      });
    } finally {
      release();
    }
    try {
      // Noted first, because the server may have accepted a request that fails.
      this.#sentAt.set(place.id, this.#clock.now());
      await client.send(place.id, place.directory, words, signal);
    } catch (error) {
      followed.end();
      const failure = asDriverError(error, { sessionID: place.id });
      const wasInterrupted = signal?.aborted === true;
      if (!wasInterrupted && !mayHaveArrived(error)) throw failure;
      // The run under way is somebody else's.
      if (queue) throw failure.with({}, 'The prompt may be queued all the same.');
      const { aborted, says } = await followed.bringToRest();
      throw aborted === undefined && !wasInterrupted ? failure : failure.with({ aborted }, says);
    }
    return followed;
  }

  /** @throws DriverError `usage` if the session's last run has no answer */
  async #lastAnswer(id: string, signal: AbortSignal): Promise<ContextText> {
    const { directory } = await this.#places.find({ id }, signal);
    const messages = await this.#client.transcript(id, directory, { signal });
    return { name: `answer of ${id}`, text: lastAnswer(id, messages) };
  }

  #follow(followed: Followed): FollowedRun {
    const deps = {
      ...this.#deps,
      events: this.#events,
      loop: this.#loop,
      onNotice: this.#options.onNotice,
      sentAt: (id: string) => this.#sentAt.get(id),
    };
    return new FollowedRun(deps, followed);
  }

  /** Removes a session that we created. We know what it does and need not ask. @throws DriverError */
  async #remove(session: SessionRef, isAtRest: boolean): Promise<void> {
    if (!isAtRest && !(await answers(this.#client))) {
      const says = unanswered(session.id, 'delete');
      throw new DriverError('unreachable', says, { sessionID: session.id });
    }
    const sentAt = this.#sentAt.get(session.id);
    await this.#ask(() => removeSession(this.#deps, session, { sentAt, isAtRest }));
    this.#sentAt.delete(session.id);
  }
}

/** The server may have taken a request whose answer was not heard. */
function mayHaveArrived(error: unknown): boolean {
  return error instanceof OpencodeError && (error.kind === 'timeout' || error.kind === 'network');
}

function checked(session: SessionRef): SessionRef {
  checkId(session.id);
  return session;
}
