/**
 * Remembers which permissions and questions are open, so that those answered while we did not listen are noticed when
 * the lists are read again.
 */
import { BoundedMap, BoundedSet } from '../../lib/bounded.js';
import type { Observation } from '../../watchdog/observation.js';
import type { OwnedRequest } from '../server-api.js';

/**
 * Open requests known to the monitor. No person is asked this much at once. At the limit: the oldest is forgotten; an
 * inspection finds it.
 */
export const MAX_REMEMBERED = 1_000;

type Kind = OwnedRequest['on'];

interface Open {
  sessionID: string;
  on: Kind;
  directory: string | undefined;
  at: number;
}

export class OpenRequests {
  readonly #open = new BoundedMap<string, Open>(MAX_REMEMBERED);
  /** Ids that were answered. A list that was asked for earlier may still have them. */
  readonly #answered = new BoundedSet<string>(MAX_REMEMBERED);

  /** `listed`: false for requests of a kind that the lists do not show (`permission.v2`). */
  note(observation: Observation, listed = true): void {
    if (observation.kind === 'request.asked' && listed) {
      const { sessionID, directory, at, request } = observation;
      this.#open.set(request.requestID, { sessionID, on: request.on, directory, at });
    } else if (observation.kind === 'request.answered') {
      this.#open.delete(observation.requestID);
      this.#answered.add(observation.requestID);
    }
  }

  /** Returns what is new in a directory's list of one kind, which was asked for at `startedAt`. */
  compare(
    on: Kind,
    directory: string,
    requests: readonly OwnedRequest[],
    startedAt: number,
    at: number,
  ): Observation[] {
    const listed = new Set(requests.map(({ requestID }) => requestID));
    const news: Observation[] = requests
      .filter(({ requestID }) => !this.#answered.has(requestID) && !this.#open.has(requestID))
      .map(({ sessionID, requestID }) => ({
        kind: 'request.asked',
        at,
        sessionID,
        directory,
        request: { requestID, on },
      }));
    for (const [requestID, open] of this.#open) {
      if (open.on !== on || open.directory !== directory) continue;
      if (open.at >= startedAt || listed.has(requestID)) continue;
      const { sessionID } = open;
      news.push({ kind: 'request.answered', at, sessionID, directory, requestID });
    }
    for (const observation of news) this.note(observation);
    return news;
  }

  /** A new server process has no requests of the old one. */
  reset(): void {
    this.#open.clear();
    this.#answered.clear();
  }
}
