/**
 * Runs that somebody else cut: a dispose of their directory, or a reload of opencode's configuration (facts, section 12).
 *
 * opencode calls their end an abort, as it calls a person's. What tells them apart: the directory is said to be disposed
 * afterwards, or several runs of one directory end so at once, not counting the subagents of one another.
 */
import type { Decision, Health, SessionFields } from '../decision.js';
import type { Session } from '../session/state.js';

/** Ends within this time (ms) of each other are one cut; whatever else is to tell of it has come by then. */
const AT_ONCE = 3_000;
const MIN_AT_ONCE = 2;
/** `server.instance.disposed` follows the ends after 1.5–1.8 s (facts, section 12), later on a busy machine. */
const DISPOSED_WITHIN = 10_000;
/**
 * Runs aborted by others that may have been cut together. More within seconds are one cut for certain. At the limit:
 * the oldest is forgotten.
 */
export const MAX_ENDS = 1_000;

interface End {
  session: Session;
  fields: SessionFields;
  health: Health;
  directory: string | undefined;
  at: number;
  isJudged: boolean;
  onJudged: CutListener;
}

/** Told once of each end: who cut the run, and how many ended so at once; one alone may be a person's own abort. */
export type CutListener = (by: 'dispose' | 'elsewhere' | undefined, together: number) => void;

export interface CutsElsewhereOptions {
  emit(decision: Decision): void;
  wakeAt(at: number): void;
}

export class CutsElsewhere {
  readonly #options: CutsElsewhereOptions;
  #ends: End[] = [];

  constructor(options: CutsElsewhereOptions) {
    this.#options = options;
  }

  /** A run was aborted, and not by us. */
  aborted(
    session: Session,
    fields: SessionFields,
    directory: string | undefined,
    at: number,
    onJudged: CutListener = () => {},
  ): void {
    if (this.#ends.length >= MAX_ENDS) this.#giveUp(this.#ends.shift());
    const { health } = session;
    this.#ends.push({ session, fields, health, directory, at, isJudged: false, onJudged });
    this.#options.wakeAt(at + AT_ONCE);
  }

  /** There is no room to wait for what else is to tell of it. */
  #giveUp(end: End | undefined): void {
    if (end !== undefined && !end.isJudged) end.onJudged(undefined, 1);
  }

  /** The directory's instance is gone: whatever was aborted there just now was cut by that. */
  disposed(directory: string, at: number): void {
    const cut = (end: End) => end.directory === directory && at - end.at <= DISPOSED_WITHIN;
    const ends = this.#ends.filter(cut);
    for (const end of ends) {
      this.#say(end, 'dispose');
      if (!end.isJudged) end.onJudged('dispose', ends.length);
    }
    this.#ends = this.#ends.filter((end) => !cut(end));
  }

  review(at: number): void {
    if (this.#ends.length === 0) return;
    this.#ends = this.#ends.filter((end) => at - end.at <= DISPOSED_WITHIN);
    for (const end of this.#ends) {
      if (end.isJudged) continue;
      if (at - end.at < AT_ONCE) {
        this.#options.wakeAt(end.at + AT_ONCE);
        continue;
      }
      const together = this.#ends.filter(
        ({ directory, at: other }) =>
          directory === end.directory && Math.abs(other - end.at) <= AT_ONCE,
      );
      end.isJudged = true;
      const isOneCut = this.#isOneCut(together);
      if (isOneCut) this.#say(end, 'elsewhere');
      end.onJudged(isOneCut ? 'elsewhere' : undefined, isOneCut ? together.length : 1);
    }
    this.#ends = this.#ends.filter((end) => !this.#said.has(end));
  }
  readonly #said = new WeakSet<End>();

  /** A person who aborts a session aborts its subagents with it, and a client deletes what it has aborted itself. */
  #isOneCut(ends: readonly End[]): boolean {
    const ids = new Set(ends.map(({ session }) => session.id));
    const own = ends.filter(({ session }) => {
      const { parentID } = session.info;
      return !session.deleted && (parentID === undefined || !ids.has(parentID));
    });
    return own.length >= MIN_AT_ONCE;
  }

  #say(end: End, by: 'dispose' | 'elsewhere'): void {
    this.#said.add(end);
    this.#options.emit({ note: 'session.interrupted', ...end.fields, by, health: end.health });
  }
}
