/**
 * The calls of OpenCode 2's API that the watchdog makes (opencode-2-facts). Each checks its answer and turns it into a
 * plain value.
 */
import type * as z from 'zod';
import { isId } from '../../lib/id.js';
import { eachLimited } from '../../lib/semaphore.js';
import { splitModelName } from '../../watchdog/model-name.js';
import type { PendingRequest, SessionStatus, Unsupported } from '../../watchdog/observation.js';
import { ApiClient, type ApiClientOptions, type Schema, segment } from '../api-client.js';
import { MAX_EXCERPT_MESSAGES } from '../excerpt.js';
import { endsRun } from '../finished-step.js';
import { isNotFound, messageOf, OpencodeError } from '../http/errors.js';
import type { Request } from '../http/transport.js';
import { isDirectory, normaliseDirectory } from '../monitor/directories.js';
import { betaOf, betaSchema } from '../recognise.js';
import type {
  ContinuePrompt,
  EventReader,
  Excerpt,
  Inspected,
  LastMessage,
  OpenRequestLists,
  OwnedRequest,
  ProbeResult,
  ServerApi,
  SessionSummary,
} from '../server-api.js';
import { infoOf } from '../session-info.js';
import { V2EventReader } from './event-reader.js';
import { excerptOf } from './excerpt.js';
import { ASK_AFTER_MS, type Call, KnownSessions, retryOf } from './known-sessions.js';
import * as schemas from './schemas.js';
import { type Transcript, transcriptState } from './transcript.js';

/** The server's own user, whatever is configured (section 1.4). */
const USER = 'opencode';
const STREAMS = [{ path: '/api/event', ofAllDirectories: true }] as const;
/** The last step's message and a few before it. */
const LAST_MESSAGES = 6;
/** More than are shown, because some messages of 2.x do not belong to the conversation. */
const MORE_THAN_SHOWN = 2 * MAX_EXCERPT_MESSAGES;
/** Quiet sessions whose retry one poll asks about. At the limit: the rest is asked about by the next polls. */
const MAX_ASKED = 8;
/** After a transcript could not be read, it is asked for again after this long, ms. */
const ASK_AGAIN_MS = 5_000;
/** Requests that one poll makes at a time. At the limit: the rest wait. */
const MAX_AT_ONCE = 4;
/** Sessions of one page, and active ones whose directory is looked up. At the limit: the rest is left to events. */
const MAX_PAGE = 200;

type Signal = AbortSignal | undefined;

export class OpencodeClientV2 extends ApiClient implements ServerApi {
  readonly api = 2;
  readonly streams = STREAMS;
  readonly statusScope = 'server';
  protected readonly known = new KnownSessions();
  /** The active sessions of the last poll. */
  #active: readonly string[] = [];

  constructor(options: Omit<ApiClientOptions, 'username'>) {
    super({ ...options, username: USER });
  }

  eventReader(): EventReader {
    return new V2EventReader(this.clock, this.known);
  }

  /** 503 means that the server boots or stops, 500 that its boot has failed. It is alive each time (section 2). */
  async probe(signal?: Signal, timeoutMs?: number): Promise<ProbeResult> {
    try {
      const info = await this.ask(schemas.info, { path: '/api/info', signal, timeoutMs });
      return { kind: 'ok', version: info.version };
    } catch (error) {
      const state =
        error instanceof OpencodeError
          ? (bootStateOf(error) ?? (await this.#betaState(error, signal, timeoutMs)))
          : undefined;
      if (state === undefined) return this.probeFailed(error, signal, timeoutMs);
      return {
        kind: 'unsupported',
        error: `${messageOf(error)} That means: ${state.means}.`,
        ...state,
      };
    }
  }

  /** Without the password, a beta does not show which routes it has (section 1.1). */
  async #betaState(
    { statusCode, answered }: OpencodeError,
    signal: Signal,
    timeoutMs: number | undefined,
  ): Promise<Unsupported | undefined> {
    if (statusCode !== 404) return undefined;
    try {
      const { version } = await this.ask(betaSchema, { path: '/api/health', signal, timeoutMs });
      return { answered, ...betaOf(version) };
    } catch {
      // It is no beta either: the identification has to find out what answers.
      return undefined;
    }
  }

  forgetVersion(): void {
    this.known.forget();
    this.#active = [];
  }

  /** The statuses of the whole server; a session that is absent is idle (section 4.2). */
  async statuses(
    _directory?: string,
    signal?: Signal,
    timeoutMs?: number,
  ): Promise<Map<string, SessionStatus>> {
    const path = '/api/session/active';
    const askedAt = this.clock.now();
    const { data } = await this.ask(schemas.active, { path, signal, timeoutMs });
    const active = Object.keys(data).filter(isId);
    this.#active = active;
    this.known.listed(new Set(active), askedAt);
    // Whoever sets a deadline waits for the list, perhaps to prove an abort. The details get half of that time.
    const askMs = timeoutMs === undefined ? undefined : (timeoutMs * MAX_AT_ONCE) / MAX_ASKED / 2;
    await this.#askForRetries(active, signal, askMs);
    const epochNow = this.clock.epoch();
    return new Map(active.map((sessionID) => [sessionID, this.known.status(sessionID, epochNow)]));
  }

  /** The list says only "running". If a session was quiet for a while, its newest message says more. */
  async #askForRetries(
    active: readonly string[],
    signal: Signal,
    timeoutMs: number | undefined,
  ): Promise<void> {
    const now = this.clock.now();
    const heardAt = (sessionID: string) => this.known.of(sessionID).heardAt;
    // The one that was heard of longest ago comes first, so that sessions whose transcript fails do not hold up others.
    const quiet = active
      .filter((sessionID) => now - heardAt(sessionID) >= ASK_AFTER_MS)
      .sort((a, b) => heardAt(a) - heardAt(b) || 0)
      .slice(0, MAX_ASKED);
    await eachLimited(quiet, MAX_AT_ONCE, async (sessionID) => {
      const known = this.known.of(sessionID);
      const before = known.heardAt;
      known.heardAt = now;
      try {
        const messages = await this.messages(sessionID, LAST_MESSAGES, signal, timeoutMs);
        // What an event said meanwhile is newer than the transcript.
        if (known.heardAt !== now) return;
        const { retry } = messages.find(({ type }) => type === 'assistant') ?? {};
        known.retry = retry && retryOf(retry.attempt, retry.at, retry.error);
      } catch {
        // The session is active anyway; only a detail about it is missing. A poll asks for it again a little later; a
        // failure within somebody's short deadline does not keep the next poll from asking.
        if (known.heardAt !== now) return;
        known.heardAt = timeoutMs === undefined ? now - ASK_AFTER_MS + ASK_AGAIN_MS : before;
      }
    });
  }

  async recentSessions(limit: number, signal?: Signal): Promise<SessionSummary[]> {
    const list = await this.#pages('/api/session', schemas.session, limit, signal);
    return list.map((each) => this.summary(each));
  }

  async session(
    sessionID: string,
    _directory?: string,
    signal?: Signal,
    timeoutMs?: number,
  ): Promise<SessionSummary | null> {
    try {
      const path = sessionPath(sessionID);
      const asked = { path, signal, timeoutMs };
      return this.summary((await this.ask(schemas.data(schemas.session), asked)).data);
    } catch (error) {
      if (isNotFound(error)) return null;
      throw error;
    }
  }

  async inspect(sessionID: string, directory?: string, signal?: Signal): Promise<Inspected> {
    const session = await this.session(sessionID, directory, signal);
    if (session === null) return { result: { found: false } };
    const [messages, permissions, forms] = await Promise.all([
      this.messages(sessionID, LAST_MESSAGES, signal),
      this.#open(sessionPath(sessionID, '/permission'), 'permission', {}, signal),
      this.#open(sessionPath(sessionID, '/form'), 'question', {}, signal),
    ]);
    return {
      ...(session.directory !== undefined && { directory: session.directory }),
      result: {
        found: true,
        info: infoOf(session),
        requests: [...permissions, ...forms].map(({ requestID, on }) => ({ requestID, on })),
        ...this.#withHeard(
          sessionID,
          messages,
          transcriptState(messages, this.clock.now(), this.clock.epoch()),
        ),
      },
    };
  }

  /**
   * Adds what the events showed and the transcript does not show yet: an argument that is being written, a compaction.
   * The event of an end may have been missed. So the transcript counts if it shows the call or a compaction, and nothing
   * that was heard counts if the session has begun another message since then.
   */
  #withHeard(
    sessionID: string,
    messages: readonly schemas.WireMessage[],
    seen: Transcript,
  ): Transcript {
    const known = this.known.get(sessionID);
    if (known === undefined) return seen;
    const shown = new Set(messages.flatMap(({ content }) => content.map(({ id }) => id)));
    const newest = messages.find(({ type }) => type === 'assistant');
    const newestAgeMs = this.clock.epoch() - (newest?.time?.created ?? Number.NEGATIVE_INFINITY);
    const newestAt = this.clock.now() - newestAgeMs;
    const isOver = ({ messageID, startedAt }: Call) =>
      newest?.id !== messageID &&
      (messages.some(({ id }) => id === messageID) || newestAt > startedAt);
    const heard = [...known.calls].flatMap(([callID, call]) =>
      shown.has(callID) || isOver(call)
        ? []
        : [{ callID, tool: call.name, startedAt: call.startedAt }],
    );
    const { compactingSince } = known;
    return {
      ...seen,
      tools: [...seen.tools, ...heard],
      compacting: seen.compacting ?? (compactingSince !== undefined && newestAt <= compactingSince),
    };
  }

  async lastMessage(
    sessionID: string,
    _directory?: string,
    signal?: Signal,
  ): Promise<LastMessage | undefined> {
    const messages = await this.messages(sessionID, LAST_MESSAGES, signal);
    // A message of its own closes a turn, and changes of model and agent are messages, too.
    const last = messages.find(({ type }) => type === 'assistant' || type === 'user');
    if (last === undefined) return undefined;
    return {
      id: last.id,
      byAssistant: last.type === 'assistant',
      failed: last.error !== undefined,
      isOpen:
        last.type === 'user' ||
        (last.time?.completed === undefined &&
          last.finish === undefined &&
          last.error === undefined),
      isFinal: last.type === 'assistant' && last.error === undefined && endsRun(last.finish),
    };
  }

  async excerpt(sessionID: string, _directory?: string, signal?: Signal): Promise<Excerpt> {
    return excerptOf(await this.messages(sessionID, MORE_THAN_SHOWN, signal));
  }

  /** Without a directory, asks only about those in which sessions are active: asking boots any other (section 4.3). */
  async openRequests(directory: string | undefined, signal?: Signal): Promise<OpenRequestLists[]> {
    const places = new Set<string>();
    if (directory !== undefined) places.add(directory);
    else
      await eachLimited(this.#active.slice(0, MAX_PAGE), MAX_AT_ONCE, async (sessionID) => {
        const known = this.known.of(sessionID);
        known.directory ??= (await this.session(sessionID, undefined, signal))?.directory;
        if (known.directory !== undefined) places.add(known.directory);
      });
    const lists: OpenRequestLists[] = [];
    await eachLimited([...places], MAX_AT_ONCE, async (place) => {
      const query = { 'location[directory]': place };
      const [permissions, questions] = await Promise.all([
        this.#open('/api/permission/request', 'permission', query, signal),
        this.#open('/api/form', 'question', query, signal),
      ]);
      lists.push({ directory: place, permissions, questions });
    });
    return lists;
  }

  async serverDirectory(signal?: Signal): Promise<string> {
    const answer = await this.ask(schemas.location, { path: '/api/location', signal });
    return normaliseDirectory(answer.directory ?? answer.data?.directory ?? '');
  }

  /**
   * Answers at once and waits for nothing. `false` can also mean "already stopping". Neither is evidence (section 4.5).
   */
  async abort(
    sessionID: string,
    _directory?: string,
    signal?: Signal,
    timeoutMs?: number,
  ): Promise<'taken'> {
    const path = sessionPath(sessionID, '/interrupt');
    await this.transport.json({ method: 'POST', path, signal, timeoutMs });
    return 'taken';
  }

  /** Evicts the directory; the next request for it loads it again (section 6). */
  async dispose(directory: string, signal?: Signal, timeoutMs?: number): Promise<void> {
    const query = { 'location[directory]': directory };
    const path = '/api/debug/location';
    await this.transport.json({ method: 'DELETE', path, query, signal, timeoutMs });
  }

  /**
   * Model and agent belong to the session and are set before the prompt (section 4.5). The name of a model often lacks
   * its variant, so a model that the session has already is not set again: that would take the variant away.
   */
  async prompt(
    sessionID: string,
    _directory: string | undefined,
    { text, model, agent }: ContinuePrompt,
    signal?: Signal,
  ): Promise<void> {
    const post = (rest: string, body: unknown) =>
      this.transport.json({ method: 'POST', path: sessionPath(sessionID, rest), body, signal });
    if (agent !== undefined) await post('/agent', { agent });
    const wanted = model === undefined ? undefined : modelRef(model);
    const isNew = wanted && !isSame(wanted, await this.chosenModel(sessionID, signal));
    if (isNew) await post('/model', { model: wanted });
    await post('/prompt', { text });
  }

  /** If the rejection has a message, the model goes on; without one the turn would end (section 6). */
  async rejectRequest(
    { requestID, on, sessionID }: PendingRequest & { sessionID: string },
    _directory: string | undefined,
    message: string,
    signal?: Signal,
  ): Promise<void> {
    const request: Request =
      on === 'permission'
        ? {
            method: 'POST',
            path: sessionPath(sessionID, `/permission/${segment(requestID)}/reply`),
            body: { decision: 'reject', message },
          }
        : {
            method: 'DELETE',
            path: sessionPath(sessionID, `/form/${segment(requestID)}`),
            query: { message },
          };
    await this.transport.json({ ...request, signal });
  }

  /** The session's own model; undefined if none was chosen for it. */
  protected async chosenModel(sessionID: string, signal: Signal): Promise<Chosen | undefined> {
    const answer = await this.ask(schemas.chosenModel, { path: sessionPath(sessionID), signal });
    return answer.data.model;
  }

  /** The messages, newest first. */
  protected messages(
    sessionID: string,
    limit: number | undefined,
    signal: Signal,
    timeoutMs?: number,
  ): Promise<schemas.WireMessage[]> {
    const path = sessionPath(sessionID, '/message');
    return this.#pages(path, schemas.message, limit, signal, timeoutMs);
  }

  /** Reads a list page by page: as many entries as are wanted, or all. */
  async #pages<T>(
    path: string,
    schema: Schema<T>,
    limit: number | undefined,
    signal: Signal,
    timeoutMs?: number,
  ): Promise<T[]> {
    const list: T[] = [];
    let cursor: string | undefined;
    do {
      const size = Math.min(MAX_PAGE, (limit ?? Number.POSITIVE_INFINITY) - list.length);
      const query = { limit: size, cursor };
      const page = await this.ask(schemas.anyList, { path, query, signal, timeoutMs });
      list.push(...this.readable(page.data, schema));
      // If a page gives the same cursor again, following it would never end.
      const next = page.data.length === 0 ? undefined : page.cursor?.next;
      cursor = next === cursor ? undefined : next;
    } while (cursor !== undefined && (limit === undefined || list.length < limit));
    return list;
  }

  async #open(
    path: string,
    on: PendingRequest['on'],
    query: Record<string, string>,
    signal: Signal,
  ): Promise<OwnedRequest[]> {
    const list = await this.list({ path, query, signal }, schemas.request);
    return list.map(({ id, sessionID, source }) => ({
      requestID: id,
      sessionID,
      on,
      ...(source && { call: { messageID: source.messageID, callID: source.id } }),
    }));
  }

  protected summary({
    id,
    parentID,
    title,
    location,
    time,
    metadata,
    ...counted
  }: schemas.WireSession): SessionSummary {
    const directory = isDirectory(location?.directory)
      ? normaliseDirectory(location.directory)
      : undefined;
    if (directory !== undefined) this.known.of(id).directory = directory;
    const spent = schemas.spentOf(counted);
    return {
      id,
      ...(directory !== undefined && { directory }),
      ...(parentID !== undefined && { parentID }),
      ...(title !== undefined && { title }),
      ...(spent !== undefined && { spent }),
      ...(time?.created !== undefined && {
        ageMs: Math.max(0, this.clock.epoch() - time.created),
      }),
      ...(time?.created !== undefined && { created: time.created }),
      ...(time?.updated !== undefined && { updated: time.updated }),
      ...(metadata !== undefined && { metadata }),
    };
  }

  protected async list<T>(request: Request, schema: Schema<T>): Promise<T[]> {
    const { data } = await this.ask(schemas.anyList, request);
    return this.readable(data, schema);
  }
}

/** The body of `/api/info`, or of the other routes while the server boots (section 2). */
const OPENCODE_SAYS = /"version"\s*:|"code"\s*:\s*"service_/;

/**
 * `/api/info` answers 503 while the server boots or stops, and 500 if its boot has failed (section 2). A proxy in front
 * answers so as well, but not in opencode's words.
 */
function bootStateOf({
  statusCode,
  answered,
  detail = '',
}: OpencodeError): Unsupported | undefined {
  if (!OPENCODE_SAYS.test(detail)) return undefined;
  switch (statusCode) {
    case 503:
      return { answered, means: 'it is OpenCode 2, starting or stopping', starting: true };
    case 500:
      return {
        answered,
        means: 'it is OpenCode 2, and its start has failed: look at its own log',
        certain: true,
      };
    default:
      return undefined;
  }
}

export const sessionPath = (sessionID: string, rest = '') =>
  `/api/session/${segment(sessionID)}${rest}`;

type Chosen = NonNullable<z.infer<typeof schemas.chosenModel>['data']['model']>;

/** Whether the session has the wanted model, with any variant unless a certain one is wanted. */
function isSame({ id, providerID, variant }: Chosen, chosen: Chosen | undefined): boolean {
  const isModel = chosen?.id === id && chosen.providerID === providerID;
  return isModel && (variant === undefined || variant === chosen.variant);
}

/** `provider/model#variant` (section 8). */
export function modelRef(name: string): { id: string; providerID: string; variant?: string } {
  const { provider, model } = splitModelName(name);
  const [id = '', variant] = model.split('#', 2);
  return { id, providerID: provider, ...(variant !== undefined && { variant }) };
}
