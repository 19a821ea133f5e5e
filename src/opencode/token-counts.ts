/** Converts the token counts of a message from the form of both APIs to the driver's. */
import type { Tokens } from './driver-api.js';

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
