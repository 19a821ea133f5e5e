/**
 * The limits that the watchdog decides by. Names and defaults are the contract's; every duration is in milliseconds,
 * and 0 switches a limit off where the contract says so.
 */
export interface Policy {
  retry: {
    /** So many requests of one step have failed; 1 aborts at the first retry. */
    maxAttempts: number;
    /** Age of a retry episode; 0 = off. */
    maxDuration: number;
    /** Distance of the next attempt; 0 = off. */
    maxWait: number;
  };
  stall: {
    /** Busy with nothing that explains the quiet; 0 = off. */
    maxSilence: number;
    /** One tool call; 0 = off. */
    maxToolTime: number;
    /** One run, whatever it does; 0 = off. */
    maxRunTime: number;
  };
  /** Runs that are lively and go nowhere; each limit 0 = off. */
  loop: {
    action: 'abort' | 'report' | 'off';
    /** Finished steps in a row that hold nothing. */
    maxEmptySteps: number;
    /** The same step again, or a cycle of up to four. */
    maxRepeats: number;
    /** Automatic compactions in a row. */
    maxCompactions: number;
    /** The same passage back to back at the end of one answer. */
    maxTextRepeats: number;
    /** Runs begun by a program, each right after the last; reported only. */
    maxRuns: number;
  };
  /** What may be spent; each limit 0 = off. Cost in US dollars. */
  budget: {
    action: 'abort' | 'report';
    /** A share of the limit at which it is said. */
    warnAt: number;
    /** One run with its subagents. */
    run: { cost: number; tokens: number; steps: number };
    /** A session with its subagents, since it was created. */
    session: { cost: number; tokens: number };
    /** The whole server since midnight. */
    day: { cost: number; tokens: number };
  };
  waiting: {
    /** A permission or question unanswered; 0 = a person may take for ever. */
    maxDuration: number;
    action: 'report' | 'reject' | 'abort';
  };
  abort: {
    /** An abort has worked when the session is seen idle within this time, or longer where the server answers slowly. */
    verifyTimeout: number;
    /** Then the session is wedged. */
    maxTries: number;
    /** A wedged session's directory is disposed before the server is restarted for it. */
    dispose: boolean;
  };
  pileup: {
    minSessions: number;
    minDuration: number;
    /** A pile-up that is back within this time of a pile-up restart is answered by aborts only. */
    rest: number;
  };
  probe: {
    /** How often it is asked; failures closer together than half of it are one failure. */
    interval: number;
    /** Consecutive failures before the server counts as unresponsive. */
    maxFailures: number;
  };
  restart: {
    /** In any `window`; then the breaker opens. */
    maxRestarts: number;
    window: number;
    backoff: { initial: number; max: number };
    /** The breaker stays open this long, doubling each time to at most `MAX_COOLDOWN_MS`. */
    cooldown: number;
    /** A restart for wedged or piled-up sessions waits this long for healthy runs to end; 0 = not at all. */
    waitForHealthy: number;
    giveUp: 'hold' | 'exit';
  };
  recycle: {
    /** A restart that is wanted and not urgent waits this long for the sessions at work to end. */
    drainTimeout: number;
    /** A session that waits for a person holds the drain too. */
    waitForPeople: boolean;
  };
  recover: {
    /** Whether a run that the watchdog aborted is continued. */
    afterAbort: 'none' | 'continue';
    /** Whether runs that a restart cut while they were healthy are continued. */
    afterRestart: 'none' | 'continue';
    /** Whether a run whose quota comes back at a known time is parked until then. */
    afterQuota: 'none' | 'continue';
    /** The longest that it waits. */
    maxPark: number;
    /** Fallback chain of models, `provider/model`. */
    models: string[];
    maxPerSession: number;
    /** A session at work in so many crashes in a row is continued no more; 0 = off. */
    quarantineAfter: number;
  };
}

/**
 * Time that the circuit breaker's cooldown can grow to. It doubles (contract, `restart.cooldown`). At the limit: it
 * grows no more.
 */
export const MAX_COOLDOWN_MS = 4 * 60 * 60_000;

/**
 * The contract's defaults. None ends a run before opencode's own last request: 1.18 makes 6 within 66 s, 2.x 11 within
 * about 100 s (facts, section 13).
 */
export const DEFAULT_POLICY: Policy = {
  retry: { maxAttempts: 12, maxDuration: 2 * 60_000, maxWait: 5 * 60_000 },
  stall: { maxSilence: 10 * 60_000, maxToolTime: 60 * 60_000, maxRunTime: 0 },
  loop: {
    action: 'abort',
    maxEmptySteps: 10,
    maxRepeats: 12,
    maxCompactions: 4,
    maxTextRepeats: 12,
    maxRuns: 20,
  },
  budget: {
    action: 'abort',
    warnAt: 0.8,
    run: { cost: 0, tokens: 0, steps: 0 },
    session: { cost: 0, tokens: 0 },
    day: { cost: 0, tokens: 0 },
  },
  waiting: { maxDuration: 0, action: 'report' },
  abort: { verifyTimeout: 5_000, maxTries: 3, dispose: true },
  pileup: { minSessions: 3, minDuration: 90_000, rest: 15 * 60_000 },
  probe: { interval: 5_000, maxFailures: 3 },
  restart: {
    maxRestarts: 5,
    window: 10 * 60_000,
    backoff: { initial: 1_000, max: 60_000 },
    cooldown: 15 * 60_000,
    waitForHealthy: 10 * 60_000,
    giveUp: 'hold',
  },
  recycle: { drainTimeout: 30 * 60_000, waitForPeople: true },
  recover: {
    afterAbort: 'none',
    afterRestart: 'none',
    afterQuota: 'none',
    maxPark: 12 * 60 * 60_000,
    models: [],
    maxPerSession: 2,
    quarantineAfter: 2,
  },
};

/** A copy that nobody else holds, of the policy's own keys alone: what a configuration has beside them is not taken along. */
export function copyPolicy(policy: Policy): Policy {
  return keysOf(DEFAULT_POLICY, policy) as Policy;
}

/** Gives `own` the values of `next`, in place: whoever holds a part of it decides by the new ones. */
export function adoptPolicy(own: Policy, next: Policy): void {
  const groups = copyPolicy(next);
  for (const [name, group] of Object.entries(own)) {
    Object.assign(group, groups[name as keyof Policy]);
  }
}

function keysOf(shape: unknown, value: unknown): unknown {
  if (Array.isArray(value)) return [...value];
  if (typeof shape !== 'object' || shape === null) return value;
  const from = value as Record<string, unknown>;
  return Object.fromEntries(
    Object.entries(shape).map(([key, part]) => [key, keysOf(part, from[key])]),
  );
}
