/**
 * Remembers the directory of each session, as the server gave it: status and transcript are only right in that
 * directory.
 */
import { BoundedMap } from '../../lib/bounded.js';
import { isId } from '../../lib/id.js';
import type { DriverApi } from '../driver-api.js';
import { DriverError } from './error.js';
import type { SessionRef } from './types.js';

/** Sessions whose directory is remembered. At the limit: the oldest is forgotten, and asked for again. */
export const MAX_PLACES = 1_000;

export class SessionPlaces {
  readonly #client: DriverApi;
  readonly #known = new BoundedMap<string, string>(MAX_PLACES);

  constructor(client: DriverApi) {
    this.#client = client;
  }

  /** @throws DriverError `usage` for an invalid id, `session_not_found` */
  async find({ id }: SessionRef, signal?: AbortSignal): Promise<SessionRef> {
    checkId(id);
    const known = this.#known.get(id);
    if (known !== undefined) return { id, directory: known };
    const session = await this.#client.session(id, undefined, signal);
    if (!session) {
      throw new DriverError(
        'session_not_found',
        `there is no session ${id}: "opencode-watchdog sessions" lists those there are.`,
        { sessionID: id },
      );
    }
    this.learn(session);
    return sessionRef(id, session.directory);
  }

  learn({ id, directory }: SessionRef): void {
    if (directory !== undefined) this.#known.set(id, directory);
  }
}

export const sessionRef = (id: string, directory: string | undefined): SessionRef => ({
  id,
  ...(directory !== undefined && { directory }),
});

/** @throws DriverError `usage` */
export function checkId(id: string): void {
  if (isId(id)) return;
  throw new DriverError(
    'usage',
    `the session ${JSON.stringify(id.slice(0, 80))}: expected an id such as ses_6f0a1b2c.`,
  );
}
