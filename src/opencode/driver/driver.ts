/**
 * The safe driver: opencode under program control that cannot wedge. Every wait is bounded, every abort and delete is
 * verified, no session is used twice by `prompt`, and nothing fails silently.
 */
import { BoundedMap } from '../../lib/bounded-map.js';
import { type Clock, SystemClock } from '../../lib/clock.js';
import { isId } from '../../lib/id.js';
import { isNotFound } from '../http/errors.js';
import { OpencodeClient } from '../v1/client.js';
import { type CheckOptions, checkAvailability, probeServer } from './availability.js';
import { type BatchOptions, type BatchResult, type BatchTask, runBatch } from './batch.js';
import { checkAgent, listModels } from './catalog.js';
import { bringToRest, removeSession } from './end-session.js';
import { asDriverError, DriverError, type DriverErrorDetails } from './error.js';
import { SessionEvents } from './events.js';
import { failureOf } from './failure.js';
import { surveySession, surveySessions } from './list-sessions.js';
import { modelName } from './model.js';
import { chooseModel } from './model-choice.js';
import { runPrompt } from './prompt.js';
import { replyOf } from './reply.js';
import { promptBody, sessionBody } from './request-bodies.js';
import { type Ending, Run, type SessionRef } from './run.js';
import { type Message, readTranscript } from './transcript.js';
import type {
  Availability,
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

export const DEFAULT_URL = 'http://localhost:4096';
export const DEFAULT_TIMEOUT_MS = 60_000;
/** Contract, `retry.maxAttempts`. */
export const DEFAULT_MAX_ATTEMPTS = 5;
/** The first request in a new directory starts an instance there, on a busy machine in many seconds (facts, section 3). */
const REQUEST_TIMEOUT_MS = 30_000;
const EVENTS_TIMEOUT_MS = 3_000;
/** Nobody waits yet for what was sent: so long it is heard how it begins, which some errors are told only then. */
const UNAWAITED_MS = 1_000;
const DEFAULT_LIST = 100;
/**
 * Prompts whose time is remembered. It matters for a second after each prompt. At the limit: the oldest is forgotten.
 */
export const MAX_SENT = 1_000;

export class OpencodeDriver {
  /** The server's address, without credentials. */
  readonly url: string;
  readonly #client: OpencodeClient;
  readonly #clock: Clock;
  readonly #events: SessionEvents;
  readonly #options: DriverOptions;
  /** When the driver itself prompted a session, on its clock. */
  readonly #sentAt = new BoundedMap<string, number>(MAX_SENT);

  constructor(options: DriverOptions = {}) {
    const { url = DEFAULT_URL, username, password, clock = new SystemClock(), authorise } = options;
    this.#options = options;
    this.#clock = clock;
    this.#client = new OpencodeClient({
      url,
      clock,
      timeoutMs: REQUEST_TIMEOUT_MS,
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

  /** Whether a prompt can be sent. Never rejects for what it looks at; `start` starts a server that is down. */
  check(options: CheckOptions = {}): Promise<Availability> {
    return checkAvailability({ ...this.#options, client: this.#client }, options);
  }

  /** @throws DriverError `unreachable`, `unauthorized` */
  async assertUp(signal?: AbortSignal): Promise<void> {
    const server = await probeServer(this.#client, signal);
    if (server.kind !== 'up') throw server.failure;
  }

  /** Always a new one. @throws DriverError */
  createSession({ title, directory, agent, permission }: NewSession = {}): Promise<DriverSession> {
    const body = sessionBody(title ?? 'opencode-watchdog', agent, permission);
    // Not given the caller's signal: a session that was made and not told of could not be deleted.
    return this.#ask(async () => {
      const { id, ...made } = await this.#client.createSession(body, directory);
      return { id, ...made };
    });
  }

  /** Sends, and waits for the whole reply. On a time-out the run is aborted. @throws DriverError */
  async send(
    session: SessionRef,
    text: string,
    options: SendOptions & WaitOptions = {},
  ): Promise<Reply> {
    const sent = await this.sendAsync(session, text, options);
    return sent.wait(options);
  }

  /** Settles when the server has taken the prompt; how it ends is told by `wait`. @throws DriverError */
  async sendAsync(session: SessionRef, text: string, options: SendOptions = {}): Promise<Sent> {
    return this.#ask(async () => {
      const { signal, agent, system, context, files } = options;
      const place = await this.#placed(session);
      const notice = (message: string) => this.#notice(options, message);
      const { ref: model, variant } = await chooseModel(
        this.#client,
        options,
        place.directory,
        notice,
      );
      if (agent !== undefined) await checkAgent(this.#client, agent, place.directory);
      const body = promptBody({ text, model, agent, system, variant, context, files });
      await this.#calm(place);
      const since = await this.#lastMessage(place);
      const run = this.#follow(place, since, options);
      try {
        if (!(await this.#events.ready(EVENTS_TIMEOUT_MS, signal))) {
          notice('there is no event stream: the reply comes at its end');
        }
        if (signal?.aborted)
          throw new DriverError('aborted', 'interrupted before the prompt was sent.');
        // Noted first: a request that fails may have been taken all the same.
        this.#sentAt.set(place.id, this.#clock.now());
        await this.#client.promptAsync(place.id, place.directory, body);
      } catch (error) {
        run.run.end();
        throw error;
      }
      const name = model && modelName(model);
      // A caller that never waits must not be kept alive by a stream that it does not read.
      const unawaited = this.#clock.after(UNAWAITED_MS, () => run.run.end(), { unref: true });
      return {
        session: place,
        ...(name !== undefined && { model: name }),
        wait: (more: WaitOptions = {}) => {
          unawaited.cancel();
          run.run.resume();
          return this.#conclude(run, place, name, { ...more });
        },
      };
    });
  }

  /** Follows the newest run of a session, whoever prompted it, to its end. @throws DriverError */
  async wait(session: SessionRef, options: WaitOptions = {}): Promise<Reply> {
    const place = await this.#ask(() => this.#placed(session));
    const run = this.#follow(place, undefined, options);
    return this.#conclude(run, place, undefined, options);
  }

  /** @throws DriverError `session_not_found` */
  status(session: SessionRef, signal?: AbortSignal): Promise<SessionState> {
    return this.#ask(() => surveySession(this.#deps, checked(session), signal));
  }

  /** All directories' sessions, the most recent first; active ones and ghosts are never left out. */
  sessions({
    limit = DEFAULT_LIST,
    signal,
  }: {
    limit?: number;
    signal?: AbortSignal;
  } = {}): Promise<SessionState[]> {
    return this.#ask(() => surveySessions(this.#deps, { limit, ...(signal && { signal }) }));
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
    return this.#ask(async () => {
      const place = await this.#placed(session);
      return readTranscript(this.#client, place.id, place.directory, options);
    });
  }

  /** True where a run was ended, and seen to be; false where there was none. @throws DriverError */
  abort(session: SessionRef): Promise<boolean> {
    return this.#ask(async () => {
      const { id, directory } = await surveySession(this.#deps, checked(session));
      return bringToRest(this.#deps, place(id, directory), this.#sentAt.get(id));
    });
  }

  /** Aborts first, so that no ghost is left, and looks whether it is gone. A ghost is ended. @throws DriverError */
  delete(session: SessionRef): Promise<void> {
    return this.#ask(async () => {
      const { id, directory } = await surveySession(this.#deps, checked(session));
      await removeSession(this.#deps, place(id, directory), this.#sentAt.get(id));
      this.#sentAt.delete(id);
    });
  }

  /** One safe run: a new session, a bounded wait, the reply, and no session left behind. @throws DriverError */
  async prompt(options: PromptOptions): Promise<PromptResult> {
    // Open before the session is made: its creation is then told, which proves that errors will be told, too.
    const release = this.#events.hold();
    try {
      return await runPrompt(this, options, (message) => this.#notice(options, message));
    } finally {
      release();
    }
  }

  /** Many safe runs, a bounded number at a time; results come as the tasks end. */
  batch(
    tasks: Iterable<BatchTask>,
    options: BatchOptions = {},
  ): AsyncGenerator<BatchResult, void, void> {
    return runBatch(this, tasks, options);
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

  /** The session with its directory, without which nothing said of it can be believed. */
  async #placed({ id, directory }: SessionRef): Promise<SessionRef> {
    checkId(id);
    if (directory !== undefined) return { id, directory };
    const session = await this.#client.session(id);
    if (session) return place(id, session.directory);
    throw new DriverError(
      'session_not_found',
      `there is no session ${id}: "opencode-watchdog sessions" lists those there are.`,
      { sessionID: id },
    );
  }

  /** Before a prompt: a session that still does something is brought to rest; one in retry is not used at all. */
  async #calm(session: SessionRef): Promise<void> {
    const status = (await this.#client.statuses(session.directory)).get(session.id);
    if (status === undefined || status.type === 'idle') return;
    await bringToRest(this.#deps, session, this.#sentAt.get(session.id));
    if (status.type !== 'retry') return;
    throw new DriverError(
      'session_in_retry',
      `the session ${session.id} was in retry (attempt ${status.attempt}: ${status.message}): it was aborted, and the ` +
        'prompt was not sent. Prompt in a new session.',
      { sessionID: session.id, aborted: true },
    );
  }

  async #lastMessage({ id, directory }: SessionRef): Promise<string | undefined> {
    try {
      return (await readTranscript(this.#client, id, directory, { limit: 1 })).at(-1)?.id;
    } catch (error) {
      if (!isNotFound(error)) throw error;
      throw new DriverError('session_not_found', `there is no session ${id}.`, { sessionID: id });
    }
  }

  #follow(
    session: SessionRef,
    since: string | undefined,
    options: WaitOptions & SendOptions,
  ): Followed {
    const live: Followed['live'] = {
      onText: options.onText,
      onNotice: options.onNotice,
      startedAt: this.#clock.now(),
    };
    const run = new Run(
      { ...this.#deps, events: this.#events },
      {
        session,
        ...(since !== undefined && { since }),
        onText: (text) => live.onText?.(text),
        onNotice: (message) => this.#notice(live, message),
        onRequest: options.onRequest ?? 'reject',
      },
    );
    return { run, live };
  }

  /** The reply, or why there is none. */
  async #conclude(
    { run, live }: Followed,
    session: SessionRef,
    model: string | undefined,
    options: WaitOptions,
  ): Promise<Reply> {
    live.onText = options.onText ?? live.onText;
    live.onNotice = options.onNotice ?? live.onNotice;
    const details = () => ({
      sessionID: session.id,
      ...(session.directory !== undefined && { directory: session.directory }),
      ...((run.model ?? model) !== undefined && { model: run.model ?? model }),
      received: run.received,
    });
    const ending = await this.#ending(run, session, options, details);
    const { allowEmpty = false, allowTruncated = false } = options;
    const isReply =
      ending.kind === 'reply' ||
      (ending.kind === 'empty' && allowEmpty) ||
      (ending.kind === 'truncated' && allowTruncated);
    if (isReply) {
      const tookMs = Math.round(this.#clock.now() - live.startedAt);
      return replyOf(session, ending, { retries: run.retries, tookMs });
    }
    const { directory } = session;
    const context = { client: this.#client, directory, model: model ?? run.model };
    const failure = await failureOf(ending, context);
    const received = run.received || failure.details.received;
    throw failure.with({ ...details(), ...(received !== undefined && { received }) });
  }

  /** Waits for the end. Whatever ends the waiting before leaves no run going on. */
  async #ending(
    run: Run,
    session: SessionRef,
    options: WaitOptions,
    details: () => DriverErrorDetails,
  ): Promise<Ending> {
    const { timeoutMs = DEFAULT_TIMEOUT_MS, maxAttempts = DEFAULT_MAX_ATTEMPTS, signal } = options;
    try {
      return await run.follow({ timeoutMs, maxAttempts, ...(signal && { signal }) });
    } catch (error) {
      const failure = asDriverError(error).with(details());
      // Whatever has ended our waiting has not ended the run; without a server there is none.
      if (failure.kind === 'unreachable' || failure.kind === 'unauthorized') throw failure;
      const { aborted, says } = await this.#rest(session);
      throw failure.with({ aborted, received: run.received }, says);
    } finally {
      run.end();
    }
  }

  async #rest(session: SessionRef): Promise<{ aborted: boolean; says: string }> {
    try {
      await bringToRest(this.#deps, session, this.#sentAt.get(session.id));
      return { aborted: true, says: 'The run was aborted, and is at rest.' };
    } catch (error) {
      return { aborted: false, says: asDriverError(error).message };
    }
  }
}

interface Followed {
  run: Run;
  /** Where text and notices go, which may be told only when it is waited for. */
  live: {
    onText: ((text: string) => void) | undefined;
    onNotice: ((message: string) => void) | undefined;
    startedAt: number;
  };
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
