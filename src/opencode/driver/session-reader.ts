/** Reads what one session does and says, with a time limit for each request. */
import type { SessionStatus } from '../../watchdog/observation.js';
import type { DriverApi } from '../driver-api.js';
import type { Message } from './transcript.js';
import type { SessionRef } from './types.js';

export const CHECK_TIMEOUT_MS = 5_000;
/** Messages of the transcript that a run's result is read from. At the limit: older ones are not read. */
const MAX_MESSAGES = 200;

export class SessionReader {
  readonly #client: DriverApi;
  readonly #session: SessionRef;

  constructor(client: DriverApi, session: SessionRef) {
    this.#client = client;
    this.#session = session;
  }

  /** As it is in the session's own directory. The server lists no session that is idle. */
  async status(signal: AbortSignal | undefined): Promise<SessionStatus> {
    const { id, directory } = this.#session;
    const statuses = await this.#client.statuses(directory, signal, CHECK_TIMEOUT_MS);
    return statuses.get(id) ?? { type: 'idle' };
  }

  /** The newest messages, oldest first. */
  transcript(signal?: AbortSignal, limit = MAX_MESSAGES): Promise<Message[]> {
    const { id, directory } = this.#session;
    return this.#client.transcript(id, directory, {
      limit,
      timeoutMs: CHECK_TIMEOUT_MS,
      ...(signal && { signal }),
    });
  }
}
