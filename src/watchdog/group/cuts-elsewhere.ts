/**
 * Runs that somebody else cut: by a dispose of their directory, or by a reload of opencode's configuration (facts,
 * section 12).
 *
 * opencode reports their end as an abort, as if a person had aborted them. Two things tell the difference: an event
 * says afterwards that the directory was disposed, or several runs of one directory end like this at once, not counting
 * each other's subagents.
 */
import type { Decision, Health, SessionFields } from '../decision.js';
import type { Session } from '../session/state.js';

/**
 * Ends within this time (ms) of each other are one cut. By then everything else that belongs to the cut has been seen.
 */
const AT_ONCE = 3_000;
const MIN_AT_ONCE = 2;
/**
 * A dispose is heard of within this time (ms): `server.instance.disposed` follows the ends of its runs after 1.5–1.8 s
 * (facts, section 12), later on a busy machine. So ends this old belong to it, and a run this young may have begun after
 * it.
 */
export const DISPOSE_HEARD_WITHIN = 10_000;
/**
 * Runs aborted by others that may have been cut together. More within seconds are certainly one cut. At the limit: the
 * oldest is forgotten.
 */
export const MAX_ENDS = 1_000;

interface End {
  session: Session;
  fields: SessionFields;
  health: Health;
  directory: string | undefined;
  at: number;
  /**
   * `open`: more evidence may come. `alone`: it was judged, and may have been a person's own abort. `cut`: it was said to
   * be cut, and stays known as long as others of that cut may follow.
   */
  state: 'open' | 'alone' | 'cut';
  onJudged: CutListener;
}

/**
 * Called once for each end, with who cut the run and how many runs ended like this at once. A run that ended alone
 * (`by` is undefined) may be a person's own abort.
 */
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

  /** A run was aborted, but not by us. */
  aborted(
    session: Session,
    fields: SessionFields,
    directory: string | undefined,
    at: number,
    onJudged: CutListener = () => {},
  ): void {
    if (this.#ends.length >= MAX_ENDS) this.#giveUp(this.#ends.shift());
    const { health } = session;
    this.#ends.push({ session, fields, health, directory, at, state: 'open', onJudged });
    this.#options.wakeAt(at + AT_ONCE);
  }

  /** There is no room to wait for more evidence about this end. */
  #giveUp(end: End | undefined): void {
    if (end?.state === 'open') end.onJudged(undefined, 1);
  }

  /** The directory's instance is gone. This is what cut the runs that were aborted there just now. */
  disposed(directory: string, at: number): void {
    const ends = this.#ends.filter(
      (end) => end.directory === directory && at - end.at <= DISPOSE_HEARD_WITHIN,
    );
    for (const end of ends) {
      const { state } = end;
      if (state === 'cut') continue;
      this.#say(end, 'dispose');
      if (state === 'open') end.onJudged('dispose', ends.length);
    }
  }

  review(at: number): void {
    if (this.#ends.length === 0) return;
    this.#ends = this.#ends.filter(
      (end) => end.state === 'open' || at - end.at <= DISPOSE_HEARD_WITHIN,
    );
    for (const end of this.#ends) {
      if (end.state !== 'open') continue;
      if (at - end.at < AT_ONCE) {
        this.#options.wakeAt(end.at + AT_ONCE);
        continue;
      }
      const together = this.#ends.filter(
        ({ directory, at: other }) =>
          directory === end.directory && Math.abs(other - end.at) <= AT_ONCE,
      );
      const isOneCut = this.#isOneCut(together);
      if (isOneCut) this.#say(end, 'elsewhere');
      else end.state = 'alone';
      end.onJudged(isOneCut ? 'elsewhere' : undefined, isOneCut ? together.length : 1);
    }
  }

  /**
   * A person who aborts a session aborts its subagents too, and a client deletes the sessions that it has aborted
   * itself. Neither of these counts.
   */
  #isOneCut(ends: readonly End[]): boolean {
    const ids = new Set(ends.map(({ session }) => session.id));
    const own = ends.filter(({ session }) => {
      const { parentID } = session.info;
      return !session.deleted && (parentID === undefined || !ids.has(parentID));
    });
    return own.length >= MIN_AT_ONCE;
  }

  #say(end: End, by: 'dispose' | 'elsewhere'): void {
    end.state = 'cut';
    this.#options.emit({ note: 'session.interrupted', ...end.fields, by, health: end.health });
  }
}
