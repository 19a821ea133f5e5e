/** Makes one health probe, with the result that process control needs. */
import type { ServerApi } from './server-api.js';

/**
 * A server may accept a connection while it starts and never answer it. Twice the slowest answer of a healthy server
 * that was seen (5 s, while a write lock held up its database; facts, section 14): what gets no answer may be ended. A
 * caller that waits less gives up by its signal.
 */
const PROBE_MS = 10_000;

export interface Answering {
  version?: string;
  /**
   * It answers over HTTP, so it is alive, but not like an opencode that we understand. `boots`: it says itself that it
   * is starting. `certain`: waiting will not change this. `unclear`: waiting may change this.
   */
  strange?: 'boots' | 'certain' | 'unclear';
  /** It wants the password, which was withheld. Its health is not known until it is proven who answers. */
  isUnproven?: true;
}

/** Null if nothing answers. Never rejects. */
export async function isHealthy(
  client: Pick<ServerApi, 'probe'>,
  signal: AbortSignal,
): Promise<Answering | null> {
  const probe = await client.probe(signal, PROBE_MS);
  switch (probe.kind) {
    case 'ok':
      return probe.version === undefined ? {} : { version: probe.version };
    case 'unauthorized':
      return probe.isWithheld ? { isUnproven: true } : {};
    case 'unsupported':
      if (probe.starting) return { strange: 'boots' };
      return { strange: probe.certain ? 'certain' : 'unclear' };
    case 'failed':
    case 'aborted':
      return null;
  }
}
