/**
 * What an opencode before 1.1 cannot tell: this is checked once for each server process, reported in one warning, and
 * made up for if possible.
 */
import type { Clock } from '../../lib/clock.js';
import type { Observation } from '../../watchdog/observation.js';
import { isNotFound, OpencodeError } from '../http/errors.js';
import type { Notice } from '../monitor/notice.js';
import type { V1Requests } from './requests.js';
import { RECHECK_ROUTE_MS } from './server-routes.js';

export interface LegacyServerOptions {
  client: V1Requests;
  clock: Clock;
  notice: Notice;
}

export class LegacyServer {
  readonly #options: LegacyServerOptions;
  /** When the next check is due. */
  #checkAt = Number.NEGATIVE_INFINITY;
  #isSaid = false;
  #statusless = false;

  constructor(options: LegacyServerOptions) {
    this.#options = options;
  }

  /** 1.0.0 has no `/session/status`, so polls would only fail. */
  get statusless(): boolean {
    return this.#statusless;
  }

  /** Called for a new server process, which may be another version. */
  forget(): void {
    this.#checkAt = Number.NEGATIVE_INFINITY;
    this.#isSaid = false;
    this.#statusless = false;
  }

  /** Called when the server has told its version, so it is not that old. */
  isNewer(): void {
    this.#checkAt = Number.NEGATIVE_INFINITY;
    this.#statusless = false;
  }

  /** Called at each sign of an old server, which is a health answer without a version. `path` is the event stream's. */
  async check(path: string, signal: AbortSignal): Promise<void> {
    const { client, clock, notice } = this.#options;
    if (clock.now() < this.#checkAt) return;
    this.#checkAt = clock.now() + RECHECK_ROUTE_MS;
    const [permissions, status] = await Promise.all([
      isMissing(client, client.permissions(undefined, signal)),
      isMissing(client, client.statuses(undefined, signal)),
    ]);
    if (signal.aborted) return;
    this.#statusless = permissions && status;
    // Every release from 1.1 on has the list of permissions. So this server is not old; it only had a bad moment.
    if (!permissions) {
      this.#checkAt = Number.NEGATIVE_INFINITY;
      return;
    }
    if (this.#isSaid) return;
    this.#isSaid = true;
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

  /** Returns the observation, and before it what an old server does not send. */
  fill(heard: Observation): Observation[] {
    if (!this.#statusless || heard.kind !== 'session.asking_model') return [heard];
    const { at, sessionID, directory } = heard;
    const where = { at, sessionID, ...(directory !== undefined && { directory }) };
    return [{ kind: 'session.status', ...where, status: { type: 'busy' } }, heard];
  }
}

async function isMissing(client: V1Requests, answer: Promise<unknown>): Promise<boolean> {
  try {
    await answer;
    return false;
  } catch (error) {
    // 1.0.0 takes `/session/status` for a session called "status", and answers 400.
    const isBadRequest = error instanceof OpencodeError && error.statusCode === 400;
    return isBadRequest || isNotFound(error) || client.isMissingRoute(error);
  }
}
