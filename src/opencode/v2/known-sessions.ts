/**
 * What is known of each session between its events: its directory, the retry that it waits for, and the tools that it
 * calls. Events of an execution name no directory, polls say only "running", and a tool's name is sent only once
 * (opencode-2-facts, sections 3.2, 3.3 and 4.2). It is bounded: the session that was heard of first is forgotten.
 */
import { BoundedMap } from '../../lib/bounded.js';
import type { SessionStatus } from '../../watchdog/observation.js';
import type { WireError } from './schemas.js';

/**
 * Sessions whose state is kept between their events. As many as the watchdog remembers. At the limit: the oldest is
 * forgotten.
 */
const MAX_KNOWN = 10_000;
/** If a session was quiet for this long, its newest message is read, to see whether it waits for a retry. */
export const ASK_AFTER_MS = 30_000;
const BUSY: SessionStatus = Object.freeze({ type: 'busy' });

export interface Call {
  name: string;
  /** The assistant message that it belongs to. */
  messageID: string | undefined;
  input: unknown;
  /** Observed clock. */
  startedAt: number;
}

export interface Retry {
  /** How many requests of the step have failed. */
  failed: number;
  /** Epoch ms of the next attempt. */
  next: number;
  message: string;
  needsPerson: boolean;
}

export interface Known {
  directory: string | undefined;
  retry: Retry | undefined;
  calls: Map<string, Call>;
  /** A compaction has begun then (observed clock) and not ended. It may be silent for a long time (section 5). */
  compactingSince: number | undefined;
  /** Requests that wait for an answer. */
  requests: Set<string>;
  /** Prompts that wait to be delivered, and the one that was delivered last. */
  prompts: Set<string>;
  prompt: string | undefined;
  /** When (observed clock) the session was last heard of or asked about. */
  heardAt: number;
}

export class KnownSessions {
  readonly #known = new BoundedMap<string, Known>(MAX_KNOWN);

  get(sessionID: string): Known | undefined {
    return this.#known.get(sessionID);
  }

  of(sessionID: string): Known {
    const known = this.#known.get(sessionID);
    if (known !== undefined) return known;
    const fresh: Known = {
      directory: undefined,
      retry: undefined,
      calls: new Map(),
      compactingSince: undefined,
      requests: new Set(),
      prompts: new Set(),
      prompt: undefined,
      heardAt: Number.NEGATIVE_INFINITY,
    };
    this.#known.set(sessionID, fresh);
    return fresh;
  }

  entries(): Iterable<[string, Known]> {
    return this.#known.entries();
  }

  /** The status of an active session: it retries until its next attempt is due, and is busy from then on. */
  status(sessionID: string, epochNow: number): SessionStatus {
    const retry = this.#known.get(sessionID)?.retry;
    if (retry === undefined || retry.next <= epochNow) return BUSY;
    return retryStatus(retry, epochNow);
  }

  /** Called when events were missed: what was heard before says nothing about now. */
  missed(): void {
    for (const known of this.#known.values()) known.heardAt = Number.NEGATIVE_INFINITY;
  }

  /**
   * A session that is not in the list of active ones runs nothing, so nothing of an earlier run may count for its next
   * one. Its next run is asked about at once. What was heard since the list was asked for is newer.
   */
  listed(active: ReadonlySet<string>, askedAt: number): void {
    for (const [sessionID, known] of this.#known.entries()) {
      if (active.has(sessionID) || known.heardAt >= askedAt) continue;
      nothingRuns(known);
      known.heardAt = Number.NEGATIVE_INFINITY;
    }
  }

  forget(): void {
    this.#known.clear();
  }
}

/** A step or a run is over, and with it whatever it waited for and called. */
export function nothingRuns(known: Known): void {
  known.retry = undefined;
  known.calls.clear();
  known.compactingSince = undefined;
}

export function retryStatus(
  { failed, next, message, needsPerson }: Retry,
  epochNow: number,
): Extract<SessionStatus, { type: 'retry' }> {
  return {
    type: 'retry',
    attempt: failed,
    message,
    nextInMs: Math.max(0, next - epochNow),
    ...(needsPerson && { needsPerson }),
  };
}

/** `attempt` is the number of the next attempt: one fewer have failed (section 3.4). */
export function retryOf(attempt: number, at: number, error: WireError | undefined): Retry {
  return {
    failed: Math.max(1, Math.floor(attempt) - 1),
    next: at,
    message: error?.message ?? '',
    needsPerson: error?.type === 'provider.quota' || error?.type === 'provider.auth',
  };
}
