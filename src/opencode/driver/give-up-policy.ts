/** Decides when it is no use to wait for a failing provider any longer. Pure. */
import type { SessionStatus } from '../../watchdog/observation.js';

export type Retry = Extract<SessionStatus, { type: 'retry' }>;

export interface RetryLimits {
  /** The time until the prompt's time-out. */
  leftMs: number;
  /** opencode's attempt counter must stay below this. */
  maxAttempts: number;
}

export interface GiveUp {
  kind: 'provider_unreachable' | 'provider_failed';
  /** Why, in words. They follow the provider's own message. */
  words: string;
}

/** One lost connection happens to every provider. A second one in a row means a wrong address or a broken network. */
const UNREACHABLE_ATTEMPTS = 2;
/** opencode's own words (1.18.33) and those of the runtimes below it. */
const UNREACHABLE =
  /unable to connect|cannot connect to api|ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|getaddrinfo|fetch failed/i;

export function giveUpOn(retry: Retry, { leftMs, maxAttempts }: RetryLimits): GiveUp | undefined {
  const { attempt, message, nextInMs, needsPerson } = retry;
  if (needsPerson) {
    return { kind: 'provider_failed', words: 'a person must act: no retry will help' };
  }
  if (attempt >= UNREACHABLE_ATTEMPTS && UNREACHABLE.test(message)) {
    return {
      kind: 'provider_unreachable',
      words: `could not be reached ${attempt} times in a row: check its baseURL and the network of the server`,
    };
  }
  if (attempt >= maxAttempts) {
    return { kind: 'provider_failed', words: `failed ${attempt} times` };
  }
  if (nextInMs !== undefined && nextInMs > leftMs) {
    const inSeconds = Math.ceil(nextInMs / 1000);
    return {
      kind: 'provider_failed',
      words: `the next attempt is ${inSeconds} s away, after the time-out`,
    };
  }
  return undefined;
}
