/** The limits of the daemon under chaos. They are short, so that minutes show what usually takes hours. All in ms. */

export interface Limits {
  silence: number;
  toolTime: number;
  retryDuration: number;
  maxAttempts: number;
  maxWait: number;
  verify: number;
  probeInterval: number;
  probeTimeout: number;
  probeFailures: number;
  pollInterval: number;
  healthInterval: number;
  /** A restart for stuck sessions waits this long for healthy runs. */
  waitForHealthy: number;
}

export const LONG: Limits = {
  silence: 10_000,
  toolTime: 40_000,
  retryDuration: 20_000,
  maxAttempts: 3,
  // Longer than opencode's own longest wait of 30 s.
  maxWait: 35_000,
  verify: 4_000,
  probeInterval: 1_000,
  probeTimeout: 1_500,
  probeFailures: 3,
  pollInterval: 2_000,
  healthInterval: 2_000,
  waitForHealthy: 15_000,
};

/** For the short run in the test suite. */
export const SHORT: Limits = {
  ...LONG,
  silence: 8_000,
  toolTime: 20_000,
  pollInterval: 1_000,
  healthInterval: 1_000,
};

/** The daemon's configuration, without `server.*` and `status.*`. */
export function configOf(limits: Limits): Record<string, unknown> {
  const ms = (value: number) => `${value}ms`;
  return {
    watch: { pollInterval: ms(limits.pollInterval), heartbeatTimeout: '15s' },
    retry: {
      maxAttempts: limits.maxAttempts,
      maxDuration: ms(limits.retryDuration),
      maxWait: ms(limits.maxWait),
    },
    stall: { maxSilence: ms(limits.silence), maxToolTime: ms(limits.toolTime) },
    abort: { verifyTimeout: ms(limits.verify), maxTries: 3 },
    pileup: { minSessions: 3, minDuration: '6s', rest: '2m' },
    probe: {
      interval: ms(limits.probeInterval),
      timeout: ms(limits.probeTimeout),
      maxFailures: limits.probeFailures,
    },
    // Chaos restarts the server more often in a minute than a bad month does. The breaker must not be what ends the
    // run.
    restart: {
      maxRestarts: 30,
      window: '1m',
      backoff: { initial: '500ms', max: '2s' },
      cooldown: '10s',
      waitForHealthy: ms(limits.waitForHealthy),
    },
    recover: {
      afterRestart: 'continue',
      afterQuota: 'continue',
      maxPark: '10m',
      prompt: 'Please continue.',
    },
    log: { healthInterval: ms(limits.healthInterval) },
  };
}
