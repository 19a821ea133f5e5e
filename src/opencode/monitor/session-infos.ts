/** Fetches what is not known about active sessions (title, parent), once for each, when it is first seen. */
import { BoundedSet } from '../../lib/bounded.js';
import type { Clock } from '../../lib/clock.js';
import { Throttle } from '../../lib/throttle.js';
import type { Observation } from '../../watchdog/observation.js';
import { messageOf } from '../http/errors.js';
import type { ServerApi, SessionSummary } from '../server-api.js';
import { infoOf } from '../session-info.js';
import type { Notice } from './notice.js';

/** If a session's information cannot be read, it is asked for again at most this often. */
const RETRY_MS = 60_000;
/** Requests for a session's title and parent at a time. At the limit: the rest wait. */
export const MAX_CONCURRENT = 2;
/**
 * Sessions whose title and parent are known or waited for. As many as the watchdog remembers. At the limit: the oldest
 * is forgotten and asked for again; one that finds no room is asked for at the next poll.
 */
export const MAX_KNOWN = 10_000;

export interface SessionInfosOptions {
  client: ServerApi;
  clock: Clock;
  emit(observation: Observation): void;
  notice: Notice;
}

const DAY_MS = 24 * 60 * 60_000;

export class SessionInfos {
  readonly #options: SessionInfosOptions;
  /** Sessions whose information was emitted or came with an event. */
  readonly #told = new BoundedSet<string>(MAX_KNOWN);
  /** Information that came with a list. It is emitted when its session turns out to be active. */
  readonly #listed = new Map<string, SessionSummary>();
  /** When the list was asked for. */
  #listedAt = 0;
  readonly #tries: Throttle;
  readonly #queue = new Map<string, string | undefined>();
  #running = 0;
  #control = new AbortController();

  constructor(options: SessionInfosOptions) {
    this.#options = options;
    this.#tries = new Throttle(options.clock, RETRY_MS);
  }

  /** Sessions whose information waits to be fetched. */
  get waiting(): number {
    return this.#queue.size;
  }

  /** The session's information is known already, for instance from an event. */
  told(sessionID: string): void {
    this.#told.add(sessionID);
  }

  /** The list of all sessions. */
  listed(sessions: readonly SessionSummary[], askedAt: number): void {
    this.#listed.clear();
    this.#listedAt = askedAt;
    const yesterday = this.#options.client.epoch() - DAY_MS;
    // What a subagent has spent counts for its parent too, which must be known by then. The list has the newest first.
    for (const session of sessions.toSorted((a, b) => (a.created ?? 0) - (b.created ?? 0))) {
      this.#listed.set(session.id, session);
      const { spent, updated = 0 } = session;
      // What was spent while we did not listen counts for the day.
      const hasSpent = spent !== undefined && (spent.costUsd > 0 || spent.tokens > 0);
      if (hasSpent && updated >= yesterday)
        this.#tell(session.id, session.directory, session, askedAt);
    }
  }

  /** The session is active: emits its information, now or once it is fetched. */
  want(sessionID: string, directory: string | undefined): void {
    if (this.#told.has(sessionID)) return;
    const listed = this.#listed.get(sessionID);
    if (listed) {
      this.#tell(sessionID, directory, listed, this.#listedAt);
      return;
    }
    // If there is no room, the next poll asks again.
    if (this.#queue.has(sessionID) || this.#queue.size >= MAX_KNOWN) return;
    if (!this.#tries.passes(sessionID)) return;
    this.#queue.set(sessionID, directory);
    this.#work();
  }

  /** Drops the queue and ends requests in flight. */
  reset(): void {
    this.#control.abort();
    this.#control = new AbortController();
    this.#queue.clear();
    this.#listed.clear();
  }

  #work(): void {
    while (this.#running < MAX_CONCURRENT) {
      const [next] = this.#queue;
      if (!next) return;
      this.#queue.delete(next[0]);
      this.#running += 1;
      void this.#fetch(...next).finally(() => {
        this.#running -= 1;
        this.#work();
      });
    }
  }

  async #fetch(sessionID: string, directory: string | undefined): Promise<void> {
    const { client, clock, emit, notice } = this.#options;
    const { signal } = this.#control;
    const startedAt = clock.now();
    try {
      const session = await client.session(sessionID, directory, signal);
      if (signal.aborted) return;
      if (session) {
        this.#tell(sessionID, directory, session, startedAt);
        return;
      }
      // The session was said to be active, but does not exist. If it is not listed either, it does not run, and the
      // next poll ends it.
      if (directory !== undefined && !(await this.#isListed(sessionID, directory, signal))) return;
      if (signal.aborted) return;
      // A ghost (facts, section 6).
      emit({
        kind: 'session.inspected',
        at: clock.now(),
        startedAt,
        sessionID,
        ...(directory !== undefined && { directory }),
        result: { found: false },
      });
    } catch (error) {
      if (signal.aborted) return;
      notice('info', 'a session could not be read', { sessionID, error: messageOf(error) });
    }
  }

  /** Also true if the server does not answer: then what it said before still counts. */
  async #isListed(sessionID: string, directory: string, signal: AbortSignal): Promise<boolean> {
    try {
      return (await this.#options.client.statuses(directory, signal)).has(sessionID);
    } catch {
      return true;
    }
  }

  #tell(
    sessionID: string,
    directory: string | undefined,
    session: SessionSummary,
    askedAt: number,
  ): void {
    const { client, clock, emit } = this.#options;
    this.told(sessionID);
    const { created } = session;
    const info = {
      ...infoOf(session),
      ...(created !== undefined && { ageMs: Math.max(0, client.epoch() - created) }),
    };
    const place = directory ?? session.directory;
    emit({
      kind: 'session.info',
      at: clock.now(),
      askedAt,
      sessionID,
      ...(place !== undefined && { directory: place }),
      info,
    });
  }
}
