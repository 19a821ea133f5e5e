/**
 * The directories that the server has an instance for. Asking about any other would create one (facts, section 3),
 * so this set decides what is polled.
 */

import { MAX_PATH_CHARS } from './schemas.js';

/** Far more projects than anyone serves at once; each costs one request per poll interval. */
export const MAX_LIVE_DIRECTORIES = 256;
/** After an attach, sessions updated within this time may still run. */
export const RECENT_MS = 24 * 60 * 60_000;
/** Asking creates instances (5-20 MiB each): only the most recent directories are worth that. */
export const MAX_RECENT_DIRECTORIES = 20;

/** One spelling for one directory: without trailing slashes. */
export function normaliseDirectory(directory: string): string {
  const trimmed = directory.replace(/[/\\]+$/, '');
  return trimmed === '' ? directory.slice(0, 1) : trimmed;
}

/** Events about no directory are tagged `global` (seen on 1.18.33): only an absolute path is one. */
export function isDirectory(value: unknown): value is string {
  return (
    typeof value === 'string' &&
    value.length <= MAX_PATH_CHARS &&
    /^(\/|[A-Za-z]:[\\/]|\\\\)/.test(value)
  );
}

export class LiveDirectories {
  #own: string | undefined;
  /** Least recently heard first: a Map keeps the order of insertion. */
  readonly #heard = new Map<string, true>();

  get own(): string | undefined {
    return this.#own;
  }

  /** The server's own working directory: always live, never dropped. */
  setOwn(directory: string): void {
    this.#own = normaliseDirectory(directory);
    this.#heard.delete(this.#own);
  }

  /** An event named it. True when it was not known as live before. */
  heard(directory: string): boolean {
    if (!isDirectory(directory)) return false;
    const key = normaliseDirectory(directory);
    if (key === this.#own) return false;
    const isNew = !this.#heard.delete(key);
    this.#heard.set(key, true);
    if (this.#heard.size > MAX_LIVE_DIRECTORIES) {
      const [oldest] = this.#heard.keys();
      if (oldest !== undefined) this.#heard.delete(oldest);
    }
    return isNew;
  }

  disposed(directory: string): void {
    this.#heard.delete(normaliseDirectory(directory));
  }

  has(directory: string): boolean {
    const key = normaliseDirectory(directory);
    return key === this.#own || this.#heard.has(key);
  }

  /** The server's own first, then the most recently heard. */
  all(): string[] {
    const heard = [...this.#heard.keys()].reverse();
    return this.#own === undefined ? heard : [this.#own, ...heard];
  }

  /** A new server process: nothing is live but its own directory, which may be another one now. */
  reset(): void {
    this.#own = undefined;
    this.#heard.clear();
  }

  /** At attach: the directories of recently updated sessions, where runs may be going on. */
  attach(sessions: readonly { directory?: string; updated?: number }[], epochNow: number): void {
    const recent = sessions
      .filter(({ updated }) => updated !== undefined && updated >= epochNow - RECENT_MS)
      .sort((a, b) => (b.updated ?? 0) - (a.updated ?? 0))
      .flatMap(({ directory }) => (isDirectory(directory) ? [normaliseDirectory(directory)] : []));
    const distinct = [...new Set(recent)].slice(0, MAX_RECENT_DIRECTORIES);
    // The most recent is heard last, and so is the last to be dropped.
    for (const directory of distinct.reverse()) this.heard(directory);
  }
}
