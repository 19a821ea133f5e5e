/** Waits until a server gives a healthy answer, or until waiting has become pointless. */
import { type Clock, sleep } from '../../lib/clock.js';
import type { Answering, ControlDeps } from '../control/control.js';

/** opencode boots in 1-5 s (facts, section 1). Probing more often than this would bring no noticeable gain. */
const PROBE_EVERY_MS = 50;
/**
 * Connections that opencode accepts in its first 0.3-0.8 s of listening are never answered (seen on 1.18.33), so a
 * silent probe is soon given up and tried anew. After PATIENT_AFTER silent probes the machine may just be slow: from
 * then on each probe gets twice the time of the one before.
 */
const FIRST_PROBE_MS = 250;
const PATIENT_AFTER = 8;
const MAX_PROBE_MS = 10_000;

export interface AwaitHealthOptions {
  deps: Pick<ControlDeps, 'isHealthy'>;
  clock: Clock;
  timeoutMs: number;
  signal: AbortSignal;
  /** Aborted when waiting has become pointless because the process has ended. A probe under way is then cut short. */
  ended?: AbortSignal;
  /** Whether a healthy answer counts; for callers that need a new process to answer. */
  accept?: () => Promise<boolean>;
}

export type HealthOutcome =
  | { kind: 'healthy'; version?: string; tookMs: number }
  | { kind: 'ended' | 'timeout'; tookMs: number };

type Answer = { kind: 'answer'; health: Answering | null } | { kind: 'silent' };

/** @throws the signal's reason when aborted */
export async function awaitHealth(options: AwaitHealthOptions): Promise<HealthOutcome> {
  const { deps, clock, timeoutMs, signal, ended, accept } = options;
  const began = clock.now();
  const tookMs = () => clock.now() - began;
  const cut = ended ? AbortSignal.any([signal, ended]) : signal;
  let silent = 0;
  let mayChange = false;
  for (;;) {
    signal.throwIfAborted();
    if (ended?.aborted) return { kind: 'ended', tookMs: tookMs() };
    const answer = await probe(deps, clock, probeTimeout(silent), cut);
    if (answer.kind === 'silent') silent += 1;
    mayChange = false;
    if (
      answer.kind === 'answer' &&
      answer.health &&
      !ended?.aborted &&
      (await (accept?.() ?? true))
    ) {
      const { version, strange, isUnproven = false } = answer.health;
      mayChange = isUnproven || (strange !== undefined && strange !== 'certain');
      if (!mayChange) {
        return { kind: 'healthy', ...(version !== undefined && { version }), tookMs: tookMs() };
      }
    }
    signal.throwIfAborted();
    if (ended?.aborted) return { kind: 'ended', tookMs: tookMs() };
    // A server that answers is alive, even if the answer is strange or unproven. It is accepted as it is, and later
    // probes say what is wrong.
    if (tookMs() >= timeoutMs) return { kind: mayChange ? 'healthy' : 'timeout', tookMs: tookMs() };
    await sleep(clock, PROBE_EVERY_MS, cut).catch(() => signal.throwIfAborted());
  }
}

function probeTimeout(silent: number): number {
  return Math.min(MAX_PROBE_MS, FIRST_PROBE_MS * 2 ** Math.max(0, silent - PATIENT_AFTER));
}

/** One probe, given up after `ms` or when `cut` is aborted, even if the probe ignores its signal. */
async function probe(
  deps: AwaitHealthOptions['deps'],
  clock: Clock,
  ms: number,
  cut: AbortSignal,
): Promise<Answer> {
  const over = new AbortController();
  const giveUp = () => over.abort();
  const timer = clock.after(ms, giveUp);
  cut.addEventListener('abort', giveUp, { once: true });
  try {
    return await Promise.race([
      deps
        .isHealthy(over.signal)
        .then(
          (health): Answer =>
            health === null && over.signal.aborted
              ? { kind: 'silent' }
              : { kind: 'answer', health },
        ),
      new Promise<Answer>((resolve) => {
        over.signal.addEventListener('abort', () => resolve({ kind: 'silent' }), { once: true });
        if (cut.aborted) giveUp();
      }),
    ]);
  } finally {
    timer.cancel();
    cut.removeEventListener('abort', giveUp);
  }
}
