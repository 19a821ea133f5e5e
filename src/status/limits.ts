/** What bounds the status endpoint. */
export const LIMITS = {
  connections: 100,
  /** A connection that has sent nothing. */
  silentMs: 3_000,
  /** An act has no body worth the name. */
  bodyBytes: 1_024,
  headerBytes: 8_192,
  /** From the connection's first byte to the whole request. */
  requestMs: 3_000,
  idleMs: 15_000,
  /** Aborts on their way at a time, whoever asked for them. */
  acts: 16,
  /** The same answer serves every request that comes within this time. */
  freshMs: 250,
} as const;
