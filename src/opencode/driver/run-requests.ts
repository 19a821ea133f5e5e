/** Handles the permissions and questions of one run: leaves them to a person, or answers that nobody is there. */
import type { DriverApi, RunEvent } from '../driver-api.js';
import { messageOf } from '../http/errors.js';

/** Open requests of one run of the driver. At the limit: further ones are not answered; the run ends at its timeout. */
export const MAX_OPEN = 100;
const REFUSAL = 'Nobody is there to answer: this session is driven by a program. Go on without it.';

/** `reject` tells the model no, and the run goes on; `wait` leaves the request to a person. */
export type OnRequest = 'reject' | 'wait';

export type RequestEvent = Extract<RunEvent, { kind: 'asked' | 'answered' }>;

interface Asked {
  sessionID: string;
  requestID: string;
  on: 'permission' | 'question';
  what: string;
}

export class RunRequests {
  readonly #client: DriverApi;
  readonly #options: { onRequest: OnRequest; onNotice: (message: string) => void };
  readonly #open = new Map<string, Asked>();
  readonly #unanswered: Asked[] = [];

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
      return;
    }
    const { requestID, on, what } = event;
    if (this.#open.has(requestID) || this.#open.size >= MAX_OPEN) return;
    const asked: Asked = { sessionID, requestID, on, what };
    this.#open.set(requestID, asked);
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
        onNotice(`the run asked for ${words}, and was told that nobody is there`);
      } catch (error) {
        onNotice(`the run waits for ${words}, which could not be answered: ${messageOf(error)}`);
      }
    }
  }
}

const wordsFor = ({ on, what }: Asked): string => `a ${on} (${what})`;
