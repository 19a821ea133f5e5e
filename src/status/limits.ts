/** The limits of the status endpoint. */
export const LIMITS = {
  /**
   * Connections to the status endpoint. At the limit: the new one stays, and the oldest that has sent nothing is
   * closed.
   */
  connections: 100,
  /** Time until a connection sends its first byte. At the limit: it is closed. */
  silentMs: 3_000,
  /** The body of a request for an action. At the limit: 413. */
  bodyBytes: 1_024,
  /** The headers of a request to the status endpoint. At the limit: 431. */
  headerBytes: 8_192,
  /** Time from a connection's first byte to the whole request. At the limit: 408, and the connection is closed. */
  requestMs: 3_000,
  idleMs: 15_000,
  /** Aborts under way that people asked for. At the limit: 429. */
  acts: 16,
  /** The same answer serves every request that comes within this time. */
  freshMs: 250,
} as const;
