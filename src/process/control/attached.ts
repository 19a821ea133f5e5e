/** The answer for a server that is healthy already: somebody else has started it, and it is watched from now on. */
import type { ServerControl, StartedServer } from './control.js';

export async function attached(
  control: Pick<ServerControl, 'attach'>,
  { version, tookMs }: { version?: string; tookMs: number },
  signal: AbortSignal,
): Promise<StartedServer> {
  const identity = await control.attach(signal);
  return {
    tookMs,
    ...(identity && { pid: identity.pid }),
    ...(version !== undefined && { version }),
  };
}
