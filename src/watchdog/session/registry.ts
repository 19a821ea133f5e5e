/**
 * The registry of sessions: who is known, who is active, in retry, wedged, and who is whose subagent. Bounded.
 */
import type { SessionInfo } from '../observation.js';
import { newSession, type Session } from './state.js';

/**
 * Sessions remembered, idle ones included. At the limit: the one that has been idle longest is forgotten, an active
 * one never: where all are active, a new one is not watched until one of them ends, and `session.unwatched` says so
 * once a minute.
 */
export const MAX_SESSIONS = 10_000;
/** Deleted sessions whose last events may still come. At the limit: the one deleted longest ago is forgotten. */
export const MAX_DELETED = 1_000;
/**
 * Depth of subagents below subagents. opencode's own nest two or three deep; a circle of parents is deeper than any
 * number. At the limit: the parent is ignored.
 */
export const MAX_DEPTH = 32;

export class SessionRegistry {
  readonly #sessions = new Map<string, Session>();
  readonly #active = new Set<Session>();
  /** Idle longest first. */
  readonly #idle = new Set<Session>();
  readonly #retrying = new Set<Session>();
  readonly #wedged = new Set<Session>();
  #episodeNews = 0;
  /** Deleted sessions that were forgotten, oldest first, and when an event told of their status last. */
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
  /** Those with an open retry episode: what a pile-up is made of. */
  get retrying(): ReadonlySet<Session> {
    return this.#retrying;
  }
  /** Counts what may change a pile-up: an episode that began, went on or ended. */
  get episodeNews(): number {
    return this.#episodeNews;
  }
  get wedged(): ReadonlySet<Session> {
    return this.#wedged;
  }

  find(id: string): Session | undefined {
    return this.#sessions.get(id);
  }

  /** The session of this id, entered now if it is new; undefined where there is no room for it. */
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

  /** A deleted session that is no more: what is still said of it is nobody's concern. */
  isGone(id: string): boolean {
    return this.#deleted.has(id) && !this.#sessions.has(id);
  }

  /** Whether an event told so of it after `startedAt`: an answer to an older question may still list its run. */
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
    // Entered at the end: the order is that of their ends.
    if (this.#active.delete(session)) this.#idle.add(session);
    if (this.#retrying.delete(session)) this.#episodeNews += 1;
    this.#wedged.delete(session);
    this.#unlink(session);
  }

  /** Keeps `retrying` and `wedged` true after the run has changed. */
  sort(session: Session): void {
    const { run } = session;
    if (run?.episode) {
      this.#retrying.add(session);
      this.#episodeNews += 1;
    } else if (this.#retrying.delete(session)) this.#episodeNews += 1;
    if (run?.abortFlow?.phase === 'wedged') this.#wedged.add(session);
    else this.#wedged.delete(session);
  }

  /** The parent, where it is known and active. */
  activeParent(session: Session): Session | undefined {
    const { parentID } = session.info;
    const parent = parentID === undefined ? undefined : this.#sessions.get(parentID);
    return parent?.run === undefined ? undefined : parent;
  }

  /** A subagent of it is active. Depth needs no walk: an active grandchild keeps its own parent active. */
  isDelegating(session: Session): boolean {
    return (this.#children.get(session.id)?.size ?? 0) > 0;
  }

  /**
   * The runs that a restart would cut and that do well: neither stuck nor about to be ended, and not waiting for nothing
   * but a subagent that is.
   */
  healthy(except: ReadonlySet<Session> = new Set()): Session[] {
    const isStuck = (session: Session): boolean => {
      if (session.run?.abortFlow !== undefined || except.has(session)) return true;
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

  /** Whether `id` is `below` itself or one of its parents: a circle would excuse all in it for ever. */
  #isAbove(id: string, below: string): boolean {
    let at: string | undefined = below;
    for (let depth = 0; at !== undefined; depth += 1) {
      if (at === id || depth >= MAX_DEPTH) return true;
      at = this.#sessions.get(at)?.info.parentID;
    }
    return false;
  }

  /** True where the session that has been idle longest was forgotten. */
  #makeRoom(): boolean {
    for (const session of this.#idle) {
      // What became of its abort is still to be said.
      if (session.aborting !== undefined) continue;
      this.forget(session);
      return true;
    }
    return false;
  }
}
