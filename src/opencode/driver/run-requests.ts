/** Handles the permissions and questions of one run: leaves them to a person, or answers that nobody is there. */
import { BoundedSet } from '../../lib/bounded.js';
import type { Clock } from '../../lib/clock.js';
import type { DriverApi, RunEvent } from '../driver-api.js';
import { isNotFound, messageOf, OpencodeError } from '../http/errors.js';
import type { OpenRequestLists, OwnedRequest } from '../server-api.js';

/** Open requests of one run of the driver. At the limit: further ones are not answered; the run ends at its timeout. */
export const MAX_OPEN = 100;
/**
 * Requests that one run of the driver need not look at again: its own, which a list may still have after they were
 * answered, and those of other runs in its directory. At the limit: the oldest is forgotten, and may be answered twice.
 */
export const MAX_SEEN = 1_000;
/** An answer that failed is made again after this time, as long as the request is open. */
const AGAIN_MS = 2_000;
/** Levels of subagents that are searched for the run's own session. opencode's own agents use one or two. */
const DEEPEST = 10;
const REFUSAL = 'Nobody is there to answer: this session is driven by a program. Go on without it.';

export interface RequestDeps {
  client: DriverApi;
  clock: Clock;
}

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

/** A request that waits for an answer. */
interface Open {
  asked: Asked;
  /** When it is handled, on the clock; absent if it is left to a person. */
  dueAt?: number;
  /** It could not be answered, and that was told. */
  isTold: boolean;
}

export class RunRequests {
  readonly #deps: RequestDeps;
  readonly #options: { onRequest: OnRequest; onNotice: (message: string) => void };
  readonly #open = new Map<string, Open>();
  readonly #seen = new BoundedSet<string>(MAX_SEEN);
  /** Requests of lists that belong to other runs. */
  readonly #strange = new BoundedSet<string>(MAX_SEEN);

  constructor(
    deps: RequestDeps,
    options: { onRequest: OnRequest; onNotice: (message: string) => void },
  ) {
    this.#deps = deps;
    this.#options = options;
  }

  /** What a person is asked, in words; undefined if nobody is asked. */
  get waitsFor(): string | undefined {
    const [first] = this.#open.values();
    return first && wordsFor(first.asked);
  }

  /** Whether `answer` has something to do now. */
  get hasUnanswered(): boolean {
    return this.#due().length > 0;
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
    const lists = await this.#deps.client.openRequests(directory, signal);
    for (const { sessionID, requestID, on } of lists.flatMap(requestsOf)) {
      if (this.#seen.has(requestID) || this.#strange.has(requestID)) continue;
      const isOurs = await this.#isBelow(sessionID, id, directory, signal);
      if (isOurs) this.#take({ sessionID, requestID, on });
      else this.#strange.add(requestID);
    }
  }

  /** Whether the session is `root`, or a subagent at any depth below it. */
  async #isBelow(
    sessionID: string,
    root: string,
    directory: string | undefined,
    signal: AbortSignal,
  ): Promise<boolean> {
    let at: string | undefined = sessionID;
    for (let depth = 0; at !== undefined && depth < DEEPEST; depth += 1) {
      if (at === root) return true;
      at = (await this.#deps.client.session(at, directory, signal))?.parentID;
    }
    return at === root;
  }

  #take(asked: Asked): void {
    if (this.#seen.has(asked.requestID) || this.#open.size >= MAX_OPEN) return;
    this.#seen.add(asked.requestID);
    this.#open.set(asked.requestID, { asked, dueAt: this.#deps.clock.now(), isTold: false });
  }

  #due(): Open[] {
    const now = this.#deps.clock.now();
    return [...this.#open.values()].filter(({ dueAt }) => dueAt !== undefined && dueAt <= now);
  }

  /** Rejects the requests that are due, or reports that the run waits for them (facts, section 7). */
  async answer(directory: string | undefined, signal: AbortSignal): Promise<void> {
    const { onRequest, onNotice } = this.#options;
    for (const open of this.#due()) {
      const words = wordsFor(open.asked);
      if (onRequest === 'wait') {
        delete open.dueAt;
        onNotice(`the run waits for ${words}: answer it in opencode`);
        continue;
      }
      const why = await this.#reject(open.asked, directory, signal);
      if (why === undefined)
        onNotice(`the run asked for ${words}, and was told that nobody is there`);
      if (why === undefined || why === 'gone') {
        this.#open.delete(open.asked.requestID);
        continue;
      }
      if (signal.aborted) return;
      open.dueAt = this.#deps.clock.now() + AGAIN_MS;
      if (!open.isTold)
        onNotice(`the run waits for ${words}, which could not be answered yet: ${why.error}`);
      open.isTold = true;
    }
  }

  /** Undefined if it was answered; `gone` if it waits no more, because somebody else answered it. */
  async #reject(
    asked: Asked,
    directory: string | undefined,
    signal: AbortSignal,
  ): Promise<'gone' | { error: string } | undefined> {
    try {
      await this.#deps.client.rejectRequest(asked, directory, REFUSAL, signal);
      return undefined;
    } catch (error) {
      // OpenCode 2 says 409 of a form that is settled (opencode-2-facts, section 4).
      const isSettled = error instanceof OpencodeError && error.statusCode === 409;
      return isSettled || isNotFound(error) ? 'gone' : { error: messageOf(error) };
    }
  }
}

const requestsOf = ({ permissions = [], questions = [] }: OpenRequestLists): OwnedRequest[] => [
  ...permissions,
  ...questions,
];

const wordsFor = ({ on, what }: Asked): string =>
  what === undefined ? `a ${on}` : `a ${on} (${what})`;
