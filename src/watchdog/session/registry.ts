/** The registry of sessions: which ones are known, active, in retry or wedged, and which is whose subagent. Bounded. */
import type { SessionInfo } from '../observation.js';
import { worksAgain } from './rules.js';
import { newSession, type Session } from './state.js';

/**
 * Sessions remembered, idle ones included. At the limit: the session that has been idle longest is forgotten, but never
 * an active one; if all are active, a new one is not watched until one of them ends, and `session.unwatched` reports
 * that once a minute.
 */
export const MAX_SESSIONS = 10_000;
/** Deleted sessions whose last events may still come. At the limit: the one deleted longest ago is forgotten. */
export const MAX_DELETED = 1_000;
/**
 * Depth of subagents below subagents. opencode's own nest two or three deep; a circle of parents has no end. At the
 * limit: the parent is ignored.
 */
export const MAX_DEPTH = 32;

export class SessionRegistry {
  readonly #sessions = new Map<string, Session>();
  readonly #active = new Set<Session>();
  /** The session that has been idle longest comes first. */
  readonly #idle = new Set<Session>();
  readonly #retrying = new Set<Session>();
  readonly #unabortable = new Set<Session>();
  #episodeNews = 0;
  /** Deleted sessions that were forgotten, oldest first, with the time of the last event that told their status. */
  readonly #deleted = new Map<string, number>();
  /** Active subagents by their parent's id. */
  readonly #children = new Map<string, Set<Session>>();

  get active(): ReadonlySet<Session> {
    return this.#active;
  }
  get all(): Iterable<Session> {
    return this.#sessions.values();
  }
  get size(): number {
    return this.#sessions.size;
  }
  /** Sessions with an open retry episode. Pile-ups are made of these. */
  get retrying(): ReadonlySet<Session> {
    return this.#retrying;
  }
  /** Grows whenever a pile-up may have changed: an episode began, went on or ended. */
  get episodeNews(): number {
    return this.#episodeNews;
  }
  /** Sessions that no abort ended, also those whose attempt in flight works: it may fail like the ones before. */
  get unabortable(): ReadonlySet<Session> {
    return this.#unabortable;
  }

  find(id: string): Session | undefined {
    return this.#sessions.get(id);
  }

  /** The session of this id, entered now if it is new; undefined if there is no room for it. */
  enter(id: string, at: number): Session | undefined {
    const known = this.#sessions.get(id);
    if (known !== undefined) return known;
    if (this.#sessions.size >= MAX_SESSIONS && !this.#makeRoom()) return undefined;
    const session = newSession(id, at);
    this.#sessions.set(id, session);
    this.#idle.add(session);
    return session;
  }

  forget(session: Session): void {
    this.deactivate(session);
    this.#idle.delete(session);
    this.#sessions.delete(session.id);
    if (!session.deleted) return;
    this.#deleted.set(session.id, session.eventStatusAt);
    if (this.#deleted.size <= MAX_DELETED) return;
    const [oldest] = this.#deleted.keys();
    if (oldest !== undefined) this.#deleted.delete(oldest);
  }

  /** Whether the session was deleted and forgotten. News about it no longer matters. */
  isGone(id: string): boolean {
    return this.#deleted.has(id) && !this.#sessions.has(id);
  }

  /**
   * Whether the session is gone and an event told its status after `startedAt`. The answer to an older question may
   * still list its run.
   */
  isGoneSince(id: string, startedAt: number): boolean {
    return this.isGone(id) && (this.#deleted.get(id) ?? 0) > startedAt;
  }

  learn(session: Session, info: SessionInfo): void {
    const active = this.#active.has(session);
    if (active) this.#unlink(session);
    const { parentID, ...rest } = info;
    const believed = parentID !== undefined && !this.#isAbove(session.id, parentID);
    session.info = { ...session.info, ...rest, ...(believed ? { parentID } : {}) };
    if (active) this.#link(session);
  }

  activate(session: Session): void {
    this.#idle.delete(session);
    this.#active.add(session);
    this.#link(session);
  }

  deactivate(session: Session): void {
    // Entered at the end, so that the order is that in which their runs ended.
    if (this.#active.delete(session)) this.#idle.add(session);
    if (this.#retrying.delete(session)) this.#episodeNews += 1;
    this.#unabortable.delete(session);
    this.#unlink(session);
  }

  /** Keeps `retrying` and `wedged` true after the run has changed. */
  sort(session: Session): void {
    const { run } = session;
    if (run?.episode) {
      this.#retrying.add(session);
      this.#episodeNews += 1;
    } else if (this.#retrying.delete(session)) this.#episodeNews += 1;
    if (run?.abortFlow?.phase === 'wedged') this.#unabortable.add(session);
    else this.#unabortable.delete(session);
  }

  /** The parent, if it is known and active. */
  activeParent(session: Session): Session | undefined {
    const { parentID } = session.info;
    const parent = parentID === undefined ? undefined : this.#sessions.get(parentID);
    return parent?.run === undefined ? undefined : parent;
  }

  /**
   * Whether a subagent of the session is active. Its children are enough: an active grandchild keeps its own parent
   * active.
   */
  isDelegating(session: Session): boolean {
    return (this.#children.get(session.id)?.size ?? 0) > 0;
  }

  /**
   * The healthy runs that a restart would cut. A run is not healthy if it is stuck or is one of `except`, or if it only
   * waits for subagents that are.
   */
  healthy(except: ReadonlySet<Session> = new Set()): Session[] {
    const isStuck = (session: Session): boolean => {
      const { run } = session;
      if (except.has(session)) return true;
      if (run?.abortFlow !== undefined && !worksAgain(run)) return true;
      const children = this.#children.get(session.id);
      return (
        session.health === 'delegating' && children !== undefined && [...children].every(isStuck)
      );
    };
    return [...this.#active].filter((session) => !isStuck(session));
  }

  #link(session: Session): void {
    const { parentID } = session.info;
    if (parentID === undefined) return;
    const siblings = this.#children.get(parentID);
    if (siblings === undefined) this.#children.set(parentID, new Set([session]));
    else siblings.add(session);
  }

  #unlink(session: Session): void {
    const { parentID } = session.info;
    if (parentID === undefined) return;
    const siblings = this.#children.get(parentID);
    siblings?.delete(session);
    if (siblings?.size === 0) this.#children.delete(parentID);
  }

  /**
   * Whether `id` is `below` itself or one of its parents. A circle of parents would excuse all its sessions for ever.
   */
  #isAbove(id: string, below: string): boolean {
    let at: string | undefined = below;
    for (let depth = 0; at !== undefined; depth += 1) {
      if (at === id || depth >= MAX_DEPTH) return true;
      at = this.#sessions.get(at)?.info.parentID;
    }
    return false;
  }

  /** Forgets the session that has been idle longest. Returns true if there was one to forget. */
  #makeRoom(): boolean {
    for (const session of this.#idle) {
      // The result of its abort has yet to be reported.
      if (session.aborting !== undefined) continue;
      this.forget(session);
      return true;
    }
    return false;
  }
}
