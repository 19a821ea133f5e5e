/**
 * What an opencode before 1.1 cannot tell: found out once for each server process, said in one warning, and made up
 * for where that is possible.
 */
import type { Observation } from '../../watchdog/observation.js';
import { OpencodeError } from '../http/errors.js';
import type { Notice } from '../monitor/notice.js';
import { isMissingRoute, type OpencodeClient } from './client.js';

export interface OldServerOptions {
  client: OpencodeClient;
  notice: Notice;
}

export class OldServer {
  readonly #options: OldServerOptions;
  #checked = false;
  #statusless = false;

  constructor(options: OldServerOptions) {
    this.#options = options;
  }

  /** 1.0.0 has no `/session/status`: polls would only fail. */
  get statusless(): boolean {
    return this.#statusless;
  }

  /** Another process may be another version. */
  forget(): void {
    this.#checked = false;
    this.#statusless = false;
  }

  /** Called with each sign of an old server: a health answer without a version. `path` is the event stream's. */
  async check(path: string, signal: AbortSignal): Promise<void> {
    if (this.#checked) return;
    this.#checked = true;
    const { client, notice } = this.#options;
    const [permissions, status] = await Promise.all([
      isMissing(client.permissions(undefined, signal)),
      isMissing(client.statuses(undefined, signal)),
    ]);
    if (signal.aborted) return;
    // Every release from 1.1 on has the list: then it was a bad moment of the server's, and not its age.
    if (!permissions) {
      this.#checked = false;
      return;
    }
    this.#statusless = status;
    const missing = [
      'its version',
      'permissions that were asked before the watchdog came, and answers to them (waiting.action: reject)',
      ...(path === '/event' ? ["sessions in other directories than the server's own"] : []),
      ...(status
        ? [
            'the status of sessions: runs are known by their events alone, aborts are proven by them',
          ]
        : []),
    ];
    notice('warn', 'this opencode is older than 1.1 and is watched as far as it can be', {
      missing,
      advice: 'Update opencode to 1.1 or later.',
    });
  }

  /** What is to be told where this was heard. */
  fill(heard: Observation): Observation[] {
    if (!this.#statusless || heard.kind !== 'session.asking_model') return [heard];
    const { at, sessionID, directory } = heard;
    const where = { at, sessionID, ...(directory !== undefined && { directory }) };
    return [{ kind: 'session.status', ...where, status: { type: 'busy' } }, heard];
  }
}

async function isMissing(answer: Promise<unknown>): Promise<boolean> {
  try {
    await answer;
    return false;
  } catch (error) {
    // 1.0.0 takes `/session/status` for a session called "status", and says 400.
    const isBadRequest = error instanceof OpencodeError && error.statusCode === 400;
    return isBadRequest || isMissingRoute(error);
  }
}
