/** What opencode counted for a step or a session: how it is read, and its form in the driver. */
import * as z from 'zod';
import type { Tokens } from './driver-api.js';

/**
 * A cost or a count of tokens. opencode stored negative ones until May 2026 (seen with 1.2.15 and 1.14.39): it took
 * cached tokens off an input that a provider had counted without them. Nothing costs less than nothing, and a sum that
 * falls breaks budgets and metrics.
 */
export const amount = z.number().transform((value) => Math.max(0, value));

export interface WireTokens {
  input?: number | undefined;
  output?: number | undefined;
  reasoning?: number | undefined;
  cache?: { read?: number | undefined; write?: number | undefined } | undefined;
}

/** A count that is missing is taken as 0. */
export function tokenCounts({ input, output, reasoning, cache }: WireTokens): Tokens {
  return {
    input: input ?? 0,
    output: output ?? 0,
    reasoning: reasoning ?? 0,
    cacheRead: cache?.read ?? 0,
    cacheWrite: cache?.write ?? 0,
  };
}
