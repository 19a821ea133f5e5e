/**
 * What sessions say and do now, for people who look at them. The server is asked nothing while nobody looks. While
 * somebody does, the sessions that need a person come first, and each is asked about at most once in `FRESH_MS`.
 */
import type { Clock } from '../lib/clock.js';
import { eachLimited } from '../lib/semaphore.js';
import type { Excerpt, ServerApi } from '../opencode/server-api.js';

/** Sessions whose excerpt is kept. At the limit: the one that was asked about longest ago is forgotten. */
export const MAX_EXCERPTS = 100;
/**
 * Sessions that one look asks about. A page shows about a dozen at a time. At the limit: the others are asked about by
 * a later look.
 */
export const MAX_ASKED = 12;
const CONCURRENT = 2;
const FRESH_MS = 10_000;
const TIMEOUT_MS = 5_000;

export interface Looked {
  sessionID: string;
  directory?: string;
}

export class Excerpts {
  readonly #client: Pick<ServerApi, 'excerpt'>;
  readonly #clock: Clock;
  readonly #stop = new AbortController();
  readonly #known = new Map<string, { at: number; excerpt: Excerpt }>();
  #asking = false;

  constructor(client: Pick<ServerApi, 'excerpt'>, clock: Clock) {
    this.#client = client;
    this.#clock = clock;
  }

  /** The excerpt as it was when the session was last asked about. */
  get(sessionID: string): Excerpt | undefined {
    return this.#known.get(sessionID)?.excerpt;
  }

  /**
   * To be called when somebody looks at these sessions, the most urgent first. It asks about those whose excerpt is
   * stale, and does not wait for the answers.
   */
  want(sessions: readonly Looked[]): void {
    if (this.#asking || this.#stop.signal.aborted) return;
    const now = this.#clock.now();
    const stale = sessions
      .filter(({ sessionID }) => now - (this.#known.get(sessionID)?.at ?? -FRESH_MS) >= FRESH_MS)
      .slice(0, MAX_ASKED);
    if (stale.length === 0) return;
    this.#asking = true;
    void eachLimited(stale, CONCURRENT, async (session) => {
      await this.ask(session);
    }).finally(() => {
      this.#asking = false;
    });
  }

  /**
   * Asks now. @returns undefined if there is nothing to show: the server is slow or gone, or does not know the session
   */
  async ask({ sessionID, directory }: Looked): Promise<Excerpt | undefined> {
    try {
      const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(TIMEOUT_MS)]);
      const excerpt = await this.#client.excerpt(sessionID, directory, signal);
      this.#remember(sessionID, excerpt);
      return excerpt;
    } catch {
      // The reader is shown the rest. This session is asked about again, but not at once.
      const known = this.get(sessionID);
      this.#remember(sessionID, known ?? { messages: [] });
      return known;
    }
  }

  stop(): void {
    this.#stop.abort();
  }

  #remember(sessionID: string, excerpt: Excerpt): void {
    this.#known.delete(sessionID);
    this.#known.set(sessionID, { at: this.#clock.now(), excerpt });
    const [oldest] = this.#known.keys();
    if (this.#known.size > MAX_EXCERPTS && oldest !== undefined) this.#known.delete(oldest);
  }
}
