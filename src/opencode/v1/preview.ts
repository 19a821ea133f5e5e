/**
 * Runs of the preview of OpenCode 2's API, which 1.18 offers beside its own API (`POST /api/session/:id/prompt`). No
 * status of 1.x shows them, and no abort and no dispose of 1.x ends them. Their messages and requests are in separate
 * lists, and their events come as `session.next.*` (all seen on 1.18.33).
 */
import { createHash } from 'node:crypto';
import * as z from 'zod';
import { BoundedMap } from '../../lib/bounded.js';
import type { Clock } from '../../lib/clock.js';
import { isId } from '../../lib/id.js';
import type { PendingRequest, RunningTool, SessionStatus } from '../../watchdog/observation.js';
import { type Schema, segment } from '../api-client.js';
import { messageOf } from '../http/errors.js';
import type { Request } from '../http/transport.js';
import { normaliseDirectory } from '../monitor/directories.js';
import type { Notice } from '../monitor/notice.js';
import type { Inspected, SessionSummary } from '../server-api.js';
import { infoOf } from '../session-info.js';
import { id } from './schemas.js';
import { type ServerRoutes, saysNoSuchRoute } from './server-routes.js';

const ACTIVE = '/api/session/active';
/** The polls of 1.x wait at most this long for the list, ms. */
const TIMEOUT_MS = 2_000;
/** How rarely the list is asked for, ms, if no such run is known and no event shows one: hardly anybody has any. */
const SELDOM_MS = 30_000;
/** After this many failures in a row, a route that has answered before is not asked for a while. */
const FAILURES_IN_ROW = 3;
/**
 * Sessions whose directory is remembered. Nobody runs this many at once. At the limit: the oldest is asked for again.
 */
const MAX_PLACES = 1_000;
/** The last step's message and a few before it. */
const LAST_MESSAGES = 6;
const BUSY: SessionStatus = Object.freeze({ type: 'busy' });
const NONE: ReadonlySet<string> = new Set();

const activeSchema = z.object({ data: z.record(z.string(), z.unknown()) });
const listSchema = z.object({ data: z.array(z.unknown()) });
const requestSchema = z.object({ id });
/** The list has the newest message first. `content` is that of an answer. */
const messageSchema = z.object({
  type: z.string(),
  time: z.object({ completed: z.number().optional() }).optional().catch(undefined),
  content: z.array(z.unknown()).catch([]),
});
const toolSchema = z.object({
  type: z.literal('tool'),
  id,
  name: z.string().catch('unknown'),
  /** The tool's argument is being written, or the tool is running. */
  state: z.object({ status: z.enum(['streaming', 'pending', 'running']) }),
  time: z.object({ created: z.number().optional(), ran: z.number().optional() }).catch({}),
});

/** What the preview's runs need of the client of 1.x. */
export interface PreviewSource {
  clock: Clock;
  routes: ServerRoutes;
  ask<T>(schema: Schema<T>, request: Request): Promise<T>;
  post(path: string, signal?: AbortSignal, timeoutMs?: number): Promise<unknown>;
  /** Asks the routes of 1.x, which know these sessions. Null if there is no such session. */
  session(sessionID: string): Promise<SessionSummary | null>;
}

export class PreviewRuns {
  notice: Notice | undefined;
  readonly #source: PreviewSource;
  readonly #places = new BoundedMap<string, string>(MAX_PLACES);
  #active = NONE;
  /** The active sessions that a status of 1.x shows as well. */
  readonly #shown = new Set<string>();
  #asking: Promise<void> | undefined;
  #askedAt = Number.NEGATIVE_INFINITY;
  #failures = 0;
  #isSaid = false;

  constructor(source: PreviewSource) {
    this.#source = source;
  }

  /** True for a run that the preview's route has started, as far as the last poll knew. */
  isActive(sessionID: string): boolean {
    return this.#active.has(sessionID);
  }

  /** True for a run that only the preview's own list shows. */
  isHidden(sessionID: string): boolean {
    return this.isActive(sessionID) && !this.#shown.has(sessionID);
  }

  /** Called when an event shows such a run: the next poll asks for the list. */
  heard(): void {
    this.#askedAt = Number.NEGATIVE_INFINITY;
  }

  /** Adds the sessions that a directory's status of 1.x leaves out; undefined adds those of all. Never rejects. */
  async addTo(statuses: Map<string, SessionStatus>, directory: string | undefined): Promise<void> {
    for (const sessionID of await this.#activeNow()) {
      if (statuses.has(sessionID)) this.#shown.add(sessionID);
      else {
        this.#shown.delete(sessionID);
        const isThere = directory === undefined || (await this.#isIn(sessionID, directory));
        if (isThere) statuses.set(sessionID, BUSY);
      }
    }
  }

  async interrupt(sessionID: string, signal?: AbortSignal, timeoutMs?: number): Promise<void> {
    await this.#source.post(`/api/session/${segment(sessionID)}/interrupt`, signal, timeoutMs);
  }

  /** Inspects a session that exists. The lists of 1.x hold neither the messages of such a run nor its requests. */
  async inspect(summary: SessionSummary, signal?: AbortSignal): Promise<Inspected> {
    const { ask, clock } = this.#source;
    const { id: sessionID } = summary;
    const list = async (rest: string, query?: Request['query']) => {
      const path = `/api/session/${segment(sessionID)}${rest}`;
      return (await ask(listSchema, { path, query, signal })).data;
    };
    const open = async (on: PendingRequest['on']): Promise<PendingRequest[]> =>
      (await list(`/${on}`)).flatMap((value) => {
        const { data } = requestSchema.safeParse(value);
        return data === undefined ? [] : [{ requestID: data.id, on }];
      });
    const [values, permissions, questions] = await Promise.all([
      list('/message', { limit: LAST_MESSAGES }),
      open('permission'),
      open('question'),
    ]);
    const messages = values.flatMap((value) => messageSchema.safeParse(value).data ?? []);
    const answer = messages.find(({ type }) => type === 'assistant');
    return {
      ...(summary.directory !== undefined && { directory: summary.directory }),
      result: {
        found: true,
        info: infoOf(summary),
        requests: [...permissions, ...questions],
        tools: answer?.time?.completed === undefined ? toolsOf(answer?.content ?? [], clock) : [],
        preparing: messages[0]?.type === 'user',
        compacting: false,
        mark: createHash('sha1').update(JSON.stringify(values)).digest('hex'),
      },
    };
  }

  forget(): void {
    this.#active = NONE;
    this.#shown.clear();
    this.#places.clear();
    this.#askedAt = Number.NEGATIVE_INFINITY;
    this.#failures = 0;
    this.#isSaid = false;
  }

  async #activeNow(): Promise<ReadonlySet<string>> {
    const { clock, routes } = this.#source;
    if (routes.lacks(ACTIVE)) return NONE;
    // If a run is known, each answer matters, because it may prove an abort.
    const counts = this.#active.size > 0 || this.#askedAt === Number.NEGATIVE_INFINITY;
    if (counts || clock.now() - this.#askedAt >= SELDOM_MS) {
      this.#asking ??= this.#ask().finally(() => {
        this.#asking = undefined;
      });
      // A routine check keeps nobody waiting, because an abort may be waiting behind it. The next poll has its answer.
      if (counts) await this.#asking;
    }
    return this.#active;
  }

  async #ask(): Promise<void> {
    const { clock, routes, ask } = this.#source;
    this.#askedAt = clock.now();
    try {
      const { data } = await ask(activeSchema, { path: ACTIVE, timeoutMs: TIMEOUT_MS });
      this.#active = new Set(Object.keys(data).filter(isId));
      this.#failures = 0;
    } catch (error) {
      this.#failures += 1;
      // One bad answer of a route that exists does not prove the end of a run: what was known stays.
      const isThere = !saysNoSuchRoute(error) && !routes.isMissing(error);
      if (isThere && this.#failures < FAILURES_IN_ROW) return;
      routes.remember(ACTIVE);
      this.#active = NONE;
      this.#failures = 0;
      if (this.#isSaid) return;
      this.#isSaid = true;
      this.notice?.('debug', 'runs of the preview of the API of OpenCode 2 are not looked for', {
        reason: messageOf(error),
      });
    }
  }

  async #isIn(sessionID: string, directory: string): Promise<boolean> {
    let place = this.#places.get(sessionID);
    if (place === undefined) {
      place = await this.#source.session(sessionID).then(
        (session) => session?.directory,
        // The next poll asks again.
        () => undefined,
      );
      if (place === undefined) return false;
      this.#places.set(sessionID, place);
    }
    return place === normaliseDirectory(directory);
  }
}

function toolsOf(content: readonly unknown[], clock: Clock): RunningTool[] {
  return content.flatMap((value) => {
    const { data } = toolSchema.safeParse(value);
    if (data === undefined) return [];
    const { id: callID, name, time } = data;
    const since = time.ran ?? time.created;
    const ranMs = since === undefined ? 0 : Math.max(0, clock.epoch() - since);
    return [{ callID, tool: name, startedAt: clock.now() - ranMs }];
  });
}
