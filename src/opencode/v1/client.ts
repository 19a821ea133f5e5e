/** The calls of opencode's HTTP API that the watchdog makes. Each checks its answer and turns it into plain values. */
import { splitModelName } from '../../watchdog/model-name.js';
import type { PendingRequest, SessionStatus } from '../../watchdog/observation.js';
import { ApiClient, type ApiClientOptions, type Schema, segment } from '../api-client.js';
import { MAX_EXCERPT_MESSAGES } from '../excerpt.js';
import { endsRun } from '../finished-step.js';
import { isNotFound, OpencodeError } from '../http/errors.js';
import type { Request } from '../http/transport.js';
import { normaliseDirectory } from '../monitor/directories.js';
import type { Notice } from '../monitor/notice.js';
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
import { V1EventReader } from './event-reader.js';
import { excerptOf } from './excerpt.js';
import { inspectSession } from './inspection.js';
import { PreviewRuns } from './preview.js';
import * as schemas from './schemas.js';
import { ServerRoutes, saysNoSuchRoute } from './server-routes.js';
import { readStatuses } from './status-list.js';
import { readMessages, type TranscriptMessage } from './transcript.js';

/** A server without `/global/health` is asked for it again once a minute, at the default interval. */
const RECHECK_EVERY_PROBES = 12;
const HEALTH = '/global/health';
/** Answers fast in every version, and lists no sessions. */
const CHEAP = '/path';
/** The newer list of the sessions of all directories; `/session` is the older one. */
const ALL_SESSIONS = '/experimental/session';
/** `/event` is the only stream of 1.0.0. */
const STREAMS = [
  { path: '/global/event', ofAllDirectories: true },
  { path: '/event', ofAllDirectories: false },
] as const;

export type { OwnedRequest, ProbeResult, SessionSummary } from '../server-api.js';

export interface PromptBody {
  /** Goes before the text, or takes its place. */
  parts?: readonly { type: string }[];
  text?: string;
  model?: { providerID: string; modelID: string };
  agent?: string;
  system?: string;
  variant?: string;
}

type Signal = AbortSignal | undefined;

/** The API of opencode 1.x. */
export class OpencodeClient extends ApiClient implements ServerApi {
  readonly api = 1;
  readonly streams = STREAMS;
  readonly statusScope = 'directory';
  /** What is known about the server's routes. */
  readonly #routes: ServerRoutes;
  readonly #preview: PreviewRuns;
  #healthRoute: typeof HEALTH | typeof CHEAP = HEALTH;
  #probes = 0;

  constructor(options: ApiClientOptions) {
    super(options);
    this.#routes = new ServerRoutes(this.clock);
    this.#preview = new PreviewRuns({
      clock: this.clock,
      routes: this.#routes,
      ask: (schema, request) => this.ask(schema, request),
      post: (path, signal, timeoutMs) =>
        this.transport.json({ method: 'POST', path, signal, timeoutMs }),
      session: (sessionID) => this.session(sessionID),
    });
  }

  eventReader({ notice }: { notice: Notice }): EventReader {
    this.#preview.notice = notice;
    const onPreview = () => this.#preview.heard();
    return new V1EventReader({ client: this, onPreview, clock: this.clock, notice });
  }

  /**
   * Never rejects. If the server has no health route, or only that route fails, a cheap one of its other routes is
   * asked. From then on that other route is asked first only if the server says that it has no health route.
   */
  async probe(signal?: Signal, timeoutMs?: number): Promise<ProbeResult> {
    this.#probes += 1;
    if (this.#probes % RECHECK_EVERY_PROBES === 0) this.#healthRoute = HEALTH;
    try {
      return await this.#probeBy(this.#healthRoute, signal, timeoutMs);
    } catch (error) {
      if (!failsItself(error)) return this.probeFailed(error, signal, timeoutMs);
      const other = this.#healthRoute === CHEAP ? HEALTH : CHEAP;
      try {
        const result = await this.#probeBy(other, signal, timeoutMs);
        if (other === CHEAP) this.#routes.healthFailed(error);
        this.#healthRoute = saysNoSuchRoute(error) ? other : HEALTH;
        return result;
      } catch (second) {
        // If something else serves here, `/path` answers like any web page: the first error says more.
        return this.probeFailed(other === HEALTH ? second : error, signal, timeoutMs);
      }
    }
  }

  async #probeBy(path: string, signal: Signal, timeoutMs?: number): Promise<ProbeResult> {
    const request = { path, signal, timeoutMs };
    if (path === CHEAP) {
      await this.ask(schemas.paths, request);
      return { kind: 'ok' };
    }
    const { version } = await this.ask(schemas.health, request);
    this.#routes.healthTold(version);
    return { kind: 'ok', ...(version !== undefined && { version }) };
  }

  /** Whether the error says that this server has no such route. A single 500 or 503 does not. */
  isMissingRoute(error: unknown): boolean {
    return this.#routes.isMissing(error);
  }

  /** A directory's sessions that are not idle (facts, section 5). `undefined` asks about the server's own directory. */
  async statuses(
    directory: string | undefined,
    signal?: Signal,
    timeoutMs?: number,
  ): Promise<Map<string, SessionStatus>> {
    const answer = await this.ask(schemas.statuses, {
      path: '/session/status',
      query: { directory },
      signal,
      timeoutMs,
    });
    const list = readStatuses(answer, this.clock.epoch(), this.parseStats);
    if (list.kind === 'read') {
      await this.#preview.addTo(list.statuses, directory);
      return list.statuses;
    }
    throw new OpencodeError({
      kind: 'too_large',
      request: `GET ${this.url}/session/status`,
      outcome: `listed ${list.entries} sessions`,
    });
  }

  /** The sessions of all directories, most recently updated first. */
  async recentSessions(limit: number, signal?: Signal): Promise<SessionSummary[]> {
    const read = (path: string) =>
      this.#list({ path, query: { limit }, signal }, schemas.session).then((sessions) =>
        sessions.slice(0, limit).map(summary),
      );
    if (!this.#routes.lacks(ALL_SESSIONS)) {
      try {
        return await read(ALL_SESSIONS);
      } catch (error) {
        if (!this.isMissingRoute(error)) throw error;
      }
    }
    const sessions = await read('/session');
    if (!this.#routes.lacks(ALL_SESSIONS)) this.#routes.remember(ALL_SESSIONS);
    return sessions;
  }

  /** Null if there is no such session (deleted, or it never existed). */
  async session(
    sessionID: string,
    directory?: string,
    signal?: Signal,
    timeoutMs?: number,
  ): Promise<SessionSummary | null> {
    const path = sessionPath(sessionID);
    try {
      const asked = { path, query: { directory }, signal, timeoutMs };
      return summary(await this.ask(schemas.session, asked));
    } catch (error) {
      if (isNotFound(error)) return null;
      throw error;
    }
  }

  /** The last `limit` messages, oldest first; all of them without a limit. */
  async messages(
    sessionID: string,
    directory: string | undefined,
    limit?: number,
    signal?: Signal,
    timeoutMs?: number,
  ): Promise<TranscriptMessage[]> {
    const values = await this.ask(schemas.list, {
      path: sessionPath(sessionID, '/message'),
      query: { directory, limit },
      signal,
      timeoutMs,
    });
    // Old servers ignore the limit.
    const wanted = limit === undefined ? values : values.slice(-limit);
    return readMessages(wanted, () => {
      this.parseStats.unparseable += 1;
    });
  }

  async children(
    sessionID: string,
    directory?: string,
    signal?: Signal,
  ): Promise<SessionSummary[]> {
    const path = sessionPath(sessionID, '/children');
    const sessions = await this.#list({ path, query: { directory }, signal }, schemas.session);
    return sessions.map(summary);
  }

  permissions(directory?: string, signal?: Signal): Promise<OwnedRequest[]> {
    return this.#pending('permission', directory, signal);
  }

  questions(directory?: string, signal?: Signal): Promise<OwnedRequest[]> {
    return this.#pending('question', directory, signal);
  }

  /**
   * A run of the preview is interrupted. If only the preview shows it, it is not aborted as well: the abort of 1.x does
   * not end it, and publishes a false idle. An abort's answer `true` is no evidence (facts, section 6). Before 1.1,
   * `false` means that there was no run to end; later versions always answer `true`.
   */
  async abort(
    sessionID: string,
    directory?: string,
    signal?: Signal,
    timeoutMs?: number,
  ): Promise<'taken' | 'nothing_ran'> {
    const isHidden = this.#preview.isHidden(sessionID);
    if (this.#preview.isActive(sessionID)) {
      await this.#preview.interrupt(sessionID, signal, timeoutMs);
    }
    if (isHidden) return 'taken';
    const answer = await this.transport.json({
      method: 'POST',
      path: sessionPath(sessionID, '/abort'),
      query: { directory },
      signal,
      timeoutMs,
    });
    return answer === false ? 'nothing_ran' : 'taken';
  }

  /** The server always answers `true` (facts, section 12). */
  async dispose(directory: string, signal?: Signal, timeoutMs?: number): Promise<void> {
    const path = '/instance/dispose';
    await this.transport.json({ method: 'POST', path, query: { directory }, signal, timeoutMs });
  }

  async inspect(sessionID: string, directory?: string, signal?: Signal): Promise<Inspected> {
    if (this.#preview.isHidden(sessionID)) {
      const session = await this.session(sessionID, directory, signal);
      return session === null
        ? { result: { found: false } }
        : this.#preview.inspect(session, signal);
    }
    return inspectSession(this, this.clock, sessionID, directory, signal);
  }

  async lastMessage(
    sessionID: string,
    directory?: string,
    signal?: Signal,
  ): Promise<LastMessage | undefined> {
    const last = (await this.messages(sessionID, directory, 1, signal)).at(-1);
    if (last === undefined) return undefined;
    const byAssistant = last.role === 'assistant';
    const isOpen = !byAssistant || (last.completed === undefined && !last.failed);
    // After a compaction's summary the run goes on.
    const isAnswer = byAssistant && !last.summary;
    const isFinal = isAnswer && !isOpen && !last.failed && endsRun(last.finish);
    return { id: last.id, byAssistant, failed: last.failed, isOpen, isFinal };
  }

  async excerpt(sessionID: string, directory?: string, signal?: Signal): Promise<Excerpt> {
    return excerptOf(await this.messages(sessionID, directory, MAX_EXCERPT_MESSAGES, signal));
  }

  /** Old versions have no questions. A list that is missing or broken says nothing; it does not count as empty. */
  async openRequests(directory: string | undefined, signal?: Signal): Promise<OpenRequestLists[]> {
    const [permissions, questions] = await Promise.all([
      this.#orMissing(this.permissions(directory, signal)),
      this.#orMissing(this.questions(directory, signal)),
    ]);
    const place = directory ?? (await this.serverDirectory(signal));
    return [
      { directory: place, ...(permissions && { permissions }), ...(questions && { questions }) },
    ];
  }

  async #orMissing<T>(list: Promise<T>): Promise<T | undefined> {
    try {
      return await list;
    } catch (error) {
      if (this.isMissingRoute(error)) return undefined;
      throw error;
    }
  }

  /**
   * Refuses a request in a person's place, so that the run goes on (facts, section 7). A permission is rejected with a
   * message. A question is answered with that message, because a rejection would end the run.
   */
  async rejectRequest(
    { requestID, on }: PendingRequest,
    directory: string | undefined,
    message: string,
    signal?: Signal,
  ): Promise<void> {
    const body =
      on === 'permission'
        ? { reply: 'reject', message }
        : { answers: await this.#refusals(requestID, directory, message, signal) };
    await this.transport.json({
      method: 'POST',
      path: `/${on}/${segment(requestID)}/reply`,
      query: { directory },
      body,
      signal,
    });
  }

  /** One request may ask several questions, and each of them needs an answer. */
  async #refusals(
    requestID: string,
    directory: string | undefined,
    message: string,
    signal: Signal,
  ): Promise<string[][]> {
    const request = { path: '/question', query: { directory }, signal };
    const open = await this.#list(request, schemas.pendingQuestion);
    const asked = open.find(({ id }) => id === requestID)?.questions.length ?? 1;
    return Array.from({ length: Math.max(1, asked) }, () => [message]);
  }

  /** The server's own working directory. */
  async serverDirectory(signal?: Signal): Promise<string> {
    const { directory } = await this.ask(schemas.paths, { path: '/path', signal });
    return normaliseDirectory(directory);
  }

  async remove(sessionID: string, directory?: string, signal?: Signal): Promise<void> {
    const path = sessionPath(sessionID);
    await this.transport.json({ method: 'DELETE', path, query: { directory }, signal });
  }

  /**
   * Returns once the server has taken the prompt. An unknown model fails later, by `session.error` (facts, section 8).
   */
  async promptAsync(
    sessionID: string,
    directory: string | undefined,
    { parts = [], text, ...rest }: PromptBody,
    signal?: Signal,
  ): Promise<void> {
    await this.transport.json({
      method: 'POST',
      path: sessionPath(sessionID, '/prompt_async'),
      query: { directory },
      body: { ...rest, parts: text === undefined ? parts : [...parts, { type: 'text', text }] },
      signal,
    });
  }

  prompt(
    sessionID: string,
    directory: string | undefined,
    { text, model, agent }: ContinuePrompt,
    signal?: Signal,
  ): Promise<void> {
    const body = {
      text,
      ...(model === undefined ? {} : { model: modelParts(model) }),
      ...(agent === undefined ? {} : { agent }),
    };
    return this.promptAsync(sessionID, directory, body, signal);
  }

  /** Forgets which routes this server has, because after a restart it may be another version. */
  forgetVersion(): void {
    this.#healthRoute = HEALTH;
    this.#routes.forget();
    this.#preview.forget();
  }

  async #pending(
    on: PendingRequest['on'],
    directory: string | undefined,
    signal: Signal,
  ): Promise<OwnedRequest[]> {
    const requests = await this.#list(
      { path: `/${on}`, query: { directory }, signal },
      schemas.pending,
    );
    return requests.map(({ id, sessionID, tool }) => ({
      requestID: id,
      sessionID,
      on,
      ...(tool && { call: tool }),
    }));
  }

  async #list<T>(request: Request, schema: Schema<T>): Promise<T[]> {
    return this.readable(await this.ask(schemas.list, request), schema);
  }
}

const sessionPath = (sessionID: string, rest = '') => `/session/${segment(sessionID)}${rest}`;

export function summary(session: schemas.WireSession): SessionSummary {
  const { id, directory, parentID, title, time, metadata } = session;
  const spent = schemas.spentOf(session);
  return {
    id,
    ...(directory !== undefined && { directory: normaliseDirectory(directory) }),
    ...(parentID !== undefined && { parentID }),
    ...(title !== undefined && { title }),
    ...(time?.updated !== undefined && { updated: time.updated }),
    ...(time?.created !== undefined && { created: time.created }),
    ...(spent !== undefined && { spent }),
    ...(metadata !== undefined && { metadata }),
  };
}

function modelParts(name: string): { providerID: string; modelID: string } {
  const { provider, model } = splitModelName(name);
  return { providerID: provider, modelID: model };
}

/** True if the failure is this route's own, so that it says nothing about the other routes. */
function failsItself(error: unknown): boolean {
  if (!(error instanceof OpencodeError)) return false;
  return (
    saysNoSuchRoute(error) ||
    error.kind === 'not_opencode' ||
    (error.kind === 'http' && error.statusCode !== undefined && error.statusCode >= 500)
  );
}
