/** One health probe as the controls of the process need it. */
import type { ServerApi } from './server-api.js';

/** A server may accept a connection while it starts and never answer it. */
const PROBE_MS = 1_000;

export interface Answering {
  version?: string;
  /**
   * It answers over HTTP, so it is alive, but not as an opencode that is understood: `boots` says so itself, `certain`
   * will not change by waiting, `unclear` may.
   */
  strange?: 'boots' | 'certain' | 'unclear';
  /** It wants the password, which was withheld: until it is proven who answers, its health is not known. */
  isUnproven?: true;
}

/** Null where nothing answers. Never rejects. */
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
