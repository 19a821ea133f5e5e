/** Checks a caller's limits before anything is created: an invalid limit would be no limit at all. Pure. */
import { DEFAULT_POLICY, type Policy } from '../../watchdog/policy.js';
import { DriverError } from './error.js';

export const DEFAULT_TIMEOUT_MS = 60_000;
/** opencode's own attempts before a run counts as failed. */
export const DEFAULT_MAX_ATTEMPTS = 5;
/** Node's timers fire at once if they are longer than this (Node.js documentation, "Timers": 2^31 - 1 ms). */
export const LONGEST_MS = 2_147_483_647;

/** @throws DriverError `usage` */
export function checkMs(name: string, value: unknown): void {
  if (value === undefined) return;
  if (typeof value === 'number' && value > 0 && value <= LONGEST_MS) return;
  throw wrong(name, value, 'milliseconds: a number above 0 and at most 2147483647 (24 days)');
}

/** @throws DriverError `usage` */
export function checkCount(name: string, value: unknown): void {
  if (value === undefined || (Number.isSafeInteger(value) && Number(value) >= 1)) return;
  throw wrong(name, value, 'a whole number from 1 up');
}

export interface CheckedLimits {
  timeoutMs?: number;
  deadlineMs?: number;
  maxAttempts?: number;
  maxSteps?: number;
  thinking?: { budget_tokens?: number };
}

/** @throws DriverError `usage` */
export function checkLimits(limits: CheckedLimits): void {
  checkMs('timeoutMs', limits.timeoutMs);
  checkMs('deadlineMs', limits.deadlineMs);
  checkCount('maxAttempts', limits.maxAttempts);
  checkCount('maxSteps', limits.maxSteps);
  checkCount('thinking.budget_tokens', limits.thinking?.budget_tokens);
}

/** Loops over several runs of a session (`maxRuns`) are left to the daemon. */
export type LoopLimits = Partial<Policy['loop']>;

/** The limits with their defaults. @throws DriverError `usage` */
export function checkedLoop(limits: LoopLimits = {}): Policy['loop'] {
  // An undefined value means the default, too.
  const given = Object.entries(limits).filter(([, value]) => value !== undefined);
  for (const [name, value] of given) {
    const isAction = name === 'action';
    if (isAction ? LOOP_ACTIONS.has(value) : Number.isSafeInteger(value) && Number(value) >= 0)
      continue;
    const expected = isAction ? 'abort, report or off' : 'a whole number from 0 up (0 is off)';
    throw wrong(`loop.${name}`, value, expected);
  }
  return { ...DEFAULT_POLICY.loop, ...Object.fromEntries(given) };
}

const LOOP_ACTIONS: ReadonlySet<unknown> = new Set(['abort', 'report', 'off']);

const wrong = (name: string, value: unknown, expected: string) =>
  new DriverError('usage', `${name} is ${shown(value)}; expected ${expected}.`);

const shown = (value: unknown) => (typeof value === 'string' ? `"${value}"` : String(value));
