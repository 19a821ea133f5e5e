/** Handles the permissions and questions of one run: leaves them to a person, or answers that nobody is there. */
import { BoundedSet } from '../../lib/bounded.js';
import type { DriverApi, RunEvent } from '../driver-api.js';
import { messageOf } from '../http/errors.js';
import type { OpenRequestLists, OwnedRequest } from '../server-api.js';

/** Open requests of one run of the driver. At the limit: further ones are not answered; the run ends at its timeout. */
export const MAX_OPEN = 100;
/**
 * Requests that one run of the driver need not look at again: its own, and those of other runs in its directory. A list
 * may still have them after they were answered. At the limit: the oldest is forgotten, and may be answered twice.
 */
export const MAX_SEEN = 1_000;
const REFUSAL = 'Nobody is there to answer: this session is driven by a program. Go on without it.';

/** `reject` tells the model no, and the run goes on; `wait` leaves the request to a person. */
export type OnRequest = 'reject' | 'wait';

export type RequestEvent = Extract<RunEvent, { kind: 'asked' | 'answered' }>;

interface Asked {
  sessionID: string;
  requestID: string;
  on: 'permission' | 'question';
  /** Absent if a list named it: only the event says what a person is asked for. */
  what?: string;
}

export class RunRequests {
  readonly #client: DriverApi;
  readonly #options: { onRequest: OnRequest; onNotice: (message: string) => void };
  readonly #open = new Map<string, Asked>();
  readonly #unanswered: Asked[] = [];
  readonly #seen = new BoundedSet<string>(MAX_SEEN);

  constructor(
    client: DriverApi,
    options: { onRequest: OnRequest; onNotice: (message: string) => void },
  ) {
    this.#client = client;
    this.#options = options;
  }

  /** What a person is asked, in words; undefined if nobody is asked. */
  get waitsFor(): string | undefined {
    const [first] = this.#open.values();
    return first && wordsFor(first);
  }

  /** Whether `answer` has something to do. */
  get hasUnanswered(): boolean {
    return this.#unanswered.length > 0;
  }

  hear(sessionID: string, event: RequestEvent): void {
    if (event.kind === 'answered') {
      this.#open.delete(event.requestID);
      this.#seen.add(event.requestID);
      return;
    }
    const { requestID, on, what } = event;
    this.#take({ sessionID, requestID, on, what });
  }

  /** Finds the requests that were asked while nobody heard the events: those of the session and of its subagents. */
  async read(id: string, directory: string | undefined, signal: AbortSignal): Promise<void> {
    const lists = await this.#client.openRequests(directory, signal);
    for (const { sessionID, requestID, on } of lists.flatMap(requestsOf)) {
      if (this.#seen.has(requestID)) continue;
      const isOurs =
        sessionID === id ||
        (await this.#client.session(sessionID, directory, signal))?.parentID === id;
      if (isOurs) this.#take({ sessionID, requestID, on });
      else this.#seen.add(requestID);
    }
  }

  #take(asked: Asked): void {
    if (this.#seen.has(asked.requestID) || this.#open.size >= MAX_OPEN) return;
    this.#seen.add(asked.requestID);
    this.#open.set(asked.requestID, asked);
    this.#unanswered.push(asked);
  }

  /** Rejects the requests that came since the last call, or reports that the run waits for them (facts, section 7). */
  async answer(directory: string | undefined, signal: AbortSignal): Promise<void> {
    const { onRequest, onNotice } = this.#options;
    for (const asked of this.#unanswered.splice(0)) {
      const words = wordsFor(asked);
      if (onRequest === 'wait') {
        onNotice(`the run waits for ${words}: answer it in opencode`);
        continue;
      }
      try {
        await this.#client.rejectRequest(asked, directory, REFUSAL, signal);
        this.#open.delete(asked.requestID);
        onNotice(`the run asked for ${words}, and was told that nobody is there`);
      } catch (error) {
        onNotice(`the run waits for ${words}, which could not be answered: ${messageOf(error)}`);
      }
    }
  }
}

const requestsOf = ({ permissions = [], questions = [] }: OpenRequestLists): OwnedRequest[] => [
  ...permissions,
  ...questions,
];

const wordsFor = ({ on, what }: Asked): string =>
  what === undefined ? `a ${on}` : `a ${on} (${what})`;
