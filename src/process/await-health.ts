/** Waits until a server answers well, or until there is no more reason to wait. */
import { type Clock, sleep } from '../lib/clock.js';
import type { ControlDeps } from './control.js';

/** opencode boots in 1-5 s (facts, section 1): looking this often adds nothing one could notice. */
const PROBE_EVERY_MS = 50;

export interface AwaitHealthOptions {
  deps: Pick<ControlDeps, 'isHealthy'>;
  clock: Clock;
  timeoutMs: number;
  signal: AbortSignal;
  /** Aborted when waiting has become pointless, because the process has ended: a probe under way is cut. */
  ended?: AbortSignal;
  /** Whether a healthy answer counts; for a server that must be a new process. */
  accept?: () => Promise<boolean>;
}

export type HealthOutcome =
  | { kind: 'healthy'; version?: string; tookMs: number }
  | { kind: 'ended' | 'timeout'; tookMs: number };

/** @throws the signal's reason when aborted */
export async function awaitHealth(options: AwaitHealthOptions): Promise<HealthOutcome> {
  const { deps, clock, timeoutMs, signal, ended, accept } = options;
  const began = clock.now();
  const tookMs = () => clock.now() - began;
  const cut = ended ? AbortSignal.any([signal, ended]) : signal;
  for (;;) {
    signal.throwIfAborted();
    if (ended?.aborted) return { kind: 'ended', tookMs: tookMs() };
    const health = await deps.isHealthy(cut);
    // A server that answered and ended at once is not healthy.
    if (health && !ended?.aborted && (await (accept?.() ?? true))) {
      return { kind: 'healthy', ...health, tookMs: tookMs() };
    }
    if (tookMs() >= timeoutMs) return { kind: 'timeout', tookMs: tookMs() };
    await sleep(clock, PROBE_EVERY_MS, cut).catch(() => signal.throwIfAborted());
  }
}
