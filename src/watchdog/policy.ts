/**
 * The limits that the watchdog decides by. Names and defaults are the contract's. Every duration is in milliseconds; 0
 * switches a limit off if the contract says so.
 */
export interface Policy {
  retry: {
    /** Failed requests of one step; 1 aborts at the first retry. */
    maxAttempts: number;
    /** Age of a retry episode; 0 = off. */
    maxDuration: number;
    /** How far away an announced next attempt is; 0 = off. */
    maxWait: number;
  };
  stall: {
    /** Time without a sign of life and without anything that explains the silence; 0 = off. */
    maxSilence: number;
    /** Duration of one tool call; 0 = off. */
    maxToolTime: number;
    /** Duration of one run, whatever it does; 0 = off. */
    maxRunTime: number;
  };
  /** Runs that are active but make no headway; for each limit, 0 = off. */
  loop: {
    action: 'abort' | 'report' | 'off';
    /** Finished steps in a row without any content. */
    maxEmptySteps: number;
    /** How often the same step, or a cycle of up to four steps, is seen in a row. */
    maxRepeats: number;
    /** Automatic compactions in a row. */
    maxCompactions: number;
    /** How often the same passage stands back to back at the end of one answer. */
    maxTextRepeats: number;
    /** Runs that a program starts, each right after the last; reported only. */
    maxRuns: number;
  };
  /** What may be spent; for each limit, 0 = off. Cost in US dollars. */
  budget: {
    action: 'abort' | 'report';
    /** The share of a limit at which a warning is given; 0 = off. */
    warnAt: number;
    /** One run with its subagents. */
    run: { cost: number; tokens: number; steps: number };
    /** A session with its subagents, since it was created. */
    session: { cost: number; tokens: number };
    /** The whole server since midnight. */
    day: { cost: number; tokens: number };
  };
  waiting: {
    /** How long a permission or question may stay unanswered; 0 = as long as the person likes. */
    maxDuration: number;
    action: 'report' | 'reject' | 'abort';
  };
  abort: {
    /** An abort has worked if the session is seen idle within this time. A server that answers slowly gets longer. */
    verifyTimeout: number;
    /** After this many failed aborts the session is wedged. */
    maxTries: number;
    /** Whether a wedged session's directory is disposed before the server is restarted for it. */
    dispose: boolean;
  };
  pileup: {
    minSessions: number;
    /** How long each has retried; 0 = off, no pile-up is looked for. */
    minDuration: number;
    /** If a pile-up comes back within this time after a pile-up restart, only aborts follow. */
    rest: number;
  };
  probe: {
    /** Time between two probes. Failures that are closer together than half of it count as one. */
    interval: number;
    /** Consecutive failures before the server counts as unresponsive. */
    maxFailures: number;
  };
  restart: {
    /** Most restarts in any `window`; after that the breaker opens. */
    maxRestarts: number;
    window: number;
    backoff: { initial: number; max: number };
    /** How long the breaker stays open. It doubles with each opening, up to `MAX_COOLDOWN_MS`. */
    cooldown: number;
    /** A restart for wedged or piled-up sessions waits this long for healthy runs to end; 0 = not at all. */
    waitForHealthy: number;
    giveUp: 'hold' | 'exit';
  };
  recycle: {
    /** When a recycle is due, as a cron expression; null = never. The daemon keeps the times. */
    schedule: string | null;
    /** A recycle (a restart that is not urgent) waits this long for the sessions at work to end; 0 = off, for ever. */
    drainTimeout: number;
    /** Whether a recycle also waits for sessions that wait for a person. */
    waitForPeople: boolean;
  };
  recover: {
    /** Whether a run that the watchdog aborted is continued. */
    afterAbort: 'none' | 'continue';
    /** Whether runs that a restart cut while they were healthy are continued. */
    afterRestart: 'none' | 'continue';
    /** Whether a run whose quota comes back at a known time is parked until then. */
    afterQuota: 'none' | 'continue';
    /** The longest time that a parked run waits. */
    maxPark: number;
    /** Fallback chain of models, `provider/model`. */
    models: string[];
    maxPerSession: number;
    /** A session that was at work in this many crashes in a row is no longer continued; 0 = off. */
    quarantineAfter: number;
  };
}

/**
 * Longest cooldown of the circuit breaker. It doubles with each opening (contract, `restart.cooldown`). At the limit:
 * it grows no further.
 */
export const MAX_COOLDOWN_MS = 4 * 60 * 60_000;

/**
 * The contract's defaults. None of them ends a run before opencode has made its own last request: 1.18 makes 6 within
 * 66 s, 2.x 11 within about 100 s (facts, section 13).
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
  recycle: { schedule: null, drainTimeout: 30 * 60_000, waitForPeople: true },
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

/** A deep copy of the policy's own keys. Other keys that a configuration has beside them are left out. */
export function copyPolicy(policy: Policy): Policy {
  return keysOf(DEFAULT_POLICY, policy) as Policy;
}

/**
 * Copies the values of `next` into `own`, in place, so that everything that holds a part of `own` uses the new values.
 */
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
