/** Tokens of a message as both APIs tell them, in the driver's words. */
import type { Tokens } from './driver-api.js';

export interface WireTokens {
  input?: number | undefined;
  output?: number | undefined;
  reasoning?: number | undefined;
  cache?: { read?: number | undefined; write?: number | undefined } | undefined;
}

/** What is not told is none. */
export function tokenCounts({ input, output, reasoning, cache }: WireTokens): Tokens {
  return {
    input: input ?? 0,
    output: output ?? 0,
    reasoning: reasoning ?? 0,
    cacheRead: cache?.read ?? 0,
    cacheWrite: cache?.write ?? 0,
  };
}
