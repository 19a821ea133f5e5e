/**
 * The directories that the server has an instance for. Asking about any other directory would create an instance
 * (facts, section 3), so this set decides what is polled.
 */

import { BoundedMap } from '../../lib/bounded.js';
import { DISPOSE_HEARD_WITHIN } from '../../watchdog/group/cuts-elsewhere.js';

/**
 * A directory's path. A path on Linux is at most this long (limits.h, PATH_MAX). At the limit: the path counts as
 * absent.
 */
export const MAX_PATH_CHARS = 4_096;
/**
 * Directories polled, besides the server's own. Far more projects than anyone serves at once; each costs one request
 * per poll interval. At the limit: the one not heard of for longest is not polled until it is heard of again.
 */
export const MAX_LIVE_DIRECTORIES = 256;
/**
 * Sessions at work whose directory stays polled when a dispose is heard of. More at once than one machine runs. At the
 * limit: the oldest is forgotten, and its directory is polled again when it is heard of again.
 */
export const MAX_HEARD_AT_WORK = 1_000;
/** After an attach, sessions updated within this time may still run. */
export const RECENT_MS = 24 * 60 * 60_000;
/**
 * Directories found at an attach. Asking creates instances (5-20 MiB each): only the most recent directories are
 * worth that. At the limit: older ones are found by their events.
 */
export const MAX_RECENT_DIRECTORIES = 20;

/** Gives each directory one spelling, without trailing slashes. */
export function normaliseDirectory(directory: string): string {
  let end = directory.length;
  // Of a root its first character stays. (A pattern for slashes at the end takes quadratic time.)
  while (end > 1 && /[/\\]/.test(directory.charAt(end - 1))) end -= 1;
  return directory.slice(0, end);
}

/** Events about no directory are tagged `global` (seen on 1.18.33), so only an absolute path counts as a directory. */
export function isDirectory(value: unknown): value is string {
  return (
    typeof value === 'string' &&
    value.length <= MAX_PATH_CHARS &&
    /^(\/|[A-Za-z]:[\\/]|\\\\)/.test(value)
  );
}

export class LiveDirectories {
  #own: string | undefined;
  /** Each directory with the value of `#turn` when it was last heard of. */
  readonly #heard = new Map<string, number>();
  #turn = 0;
  /** Sessions that were heard beginning to work, and not becoming idle since: where, and when (observed clock). */
  readonly #atWork = new BoundedMap<string, { directory: string; at: number }>(MAX_HEARD_AT_WORK);
  /** Known spellings and their directories. The same few come thousands of times a second. */
  readonly #spellings = new Map<string, string>();

  get own(): string | undefined {
    return this.#own;
  }

  /** The server's own working directory: always live, never dropped. */
  setOwn(directory: string): void {
    this.#own = normaliseDirectory(directory);
    this.#heard.delete(this.#own);
  }

  /** Notes that an event named the directory. Returns true if it was not known as live before. */
  heard(directory: string): boolean {
    const key = this.#spellings.get(directory) ?? this.#learn(directory);
    if (key === undefined || key === this.#own) return false;
    const isNew = !this.#heard.has(key);
    this.#turn += 1;
    this.#heard.set(key, this.#turn);
    if (this.#heard.size > MAX_LIVE_DIRECTORIES) this.#forgetOldest();
    return isNew;
  }

  /** A session was heard being busy or retrying. */
  works(sessionID: string, directory: string, at: number): void {
    this.#atWork.set(sessionID, { directory: normaliseDirectory(directory), at });
  }

  idle(sessionID: string): void {
    this.#atWork.delete(sessionID);
  }

  /**
   * An instance is gone. This is heard late (facts, section 12): if a session has just begun to work there, the
   * directory has a new instance already.
   */
  disposed(directory: string, at: number): void {
    const key = normaliseDirectory(directory);
    for (const work of this.#atWork.values()) {
      if (work.directory === key && at - work.at <= DISPOSE_HEARD_WITHIN) return;
    }
    this.#heard.delete(key);
  }

  has(directory: string): boolean {
    const key = normaliseDirectory(directory);
    return key === this.#own || this.#heard.has(key);
  }

  /** The server's own directory first, then the most recently heard of. */
  all(): string[] {
    const heard = [...this.#heard].sort(([, a], [, b]) => b - a).map(([key]) => key);
    return this.#own === undefined ? heard : [this.#own, ...heard];
  }

  #learn(directory: string): string | undefined {
    if (!isDirectory(directory)) return undefined;
    const key = normaliseDirectory(directory);
    if (this.#spellings.size >= MAX_LIVE_DIRECTORIES) this.#spellings.clear();
    this.#spellings.set(directory, key);
    return key;
  }

  #forgetOldest(): void {
    let oldest: [key: string, turn: number] | undefined;
    for (const each of this.#heard) if (oldest === undefined || each[1] < oldest[1]) oldest = each;
    if (oldest !== undefined) this.#heard.delete(oldest[0]);
  }

  /** For a new server process: only its own directory is live, and that may be a different one now. */
  reset(): void {
    this.#own = undefined;
    this.#heard.clear();
    this.#atWork.clear();
  }

  /** For an attach: takes the directories of recently updated sessions, where runs may be going on. */
  attach(sessions: readonly { directory?: string; updated?: number }[], epochNow: number): void {
    const recent = sessions
      .filter(({ updated }) => updated !== undefined && updated >= epochNow - RECENT_MS)
      .sort((a, b) => (b.updated ?? 0) - (a.updated ?? 0))
      .flatMap(({ directory }) => (isDirectory(directory) ? [normaliseDirectory(directory)] : []));
    const distinct = [...new Set(recent)].slice(0, MAX_RECENT_DIRECTORIES);
    // The most recent one comes last, so that it is the last to be dropped.
    for (const directory of distinct.reverse()) this.heard(directory);
  }
}
