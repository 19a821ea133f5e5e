/** Inspects one session, because its events may have been missed. */
import type { Clock } from '../../lib/clock.js';
import type { Observation } from '../../watchdog/observation.js';
import { messageOf } from '../http/errors.js';
import type { ServerApi } from '../server-api.js';

/** Returns `session.inspected` or `session.inspect_failed`; undefined if the signal ended it. */
export async function inspectSession(
  client: Pick<ServerApi, 'inspect'>,
  clock: Clock,
  sessionID: string,
  directory: string | undefined,
  signal?: AbortSignal,
): Promise<Observation | undefined> {
  const startedAt = clock.now();
  const where = (found?: string) => {
    const known = directory ?? found;
    return { at: clock.now(), sessionID, ...(known !== undefined && { directory: known }) };
  };
  try {
    const seen = await client.inspect(sessionID, directory, signal);
    return {
      kind: 'session.inspected',
      ...where(seen.directory),
      startedAt,
      result: seen.result,
    };
  } catch (error) {
    if (signal?.aborted) return undefined;
    return { kind: 'session.inspect_failed', ...where(), error: messageOf(error) };
  }
}
