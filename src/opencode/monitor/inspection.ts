/** Looks closely at one session, because its events may have been missed. */
import type { Clock } from '../../lib/clock.js';
import type { Observation } from '../../watchdog/observation.js';
import { messageOf } from '../http/errors.js';
import type { OpencodeClient, OwnedRequest } from '../v1/client.js';
import { type TranscriptMessage, transcriptState } from '../v1/transcript.js';

/** The last step's message and the few before it: running tools and the newest text are there. */
const LAST_MESSAGES = 4;

/** `session.inspected` or `session.inspect_failed`; undefined when the signal ended it. */
export async function inspectSession(
  client: OpencodeClient,
  clock: Clock,
  sessionID: string,
  directory: string | undefined,
  signal?: AbortSignal,
): Promise<Observation | undefined> {
  const startedAt = clock.now();
  const where = (at: number, found?: string) => {
    const known = directory ?? found;
    return { at, sessionID, ...(known !== undefined && { directory: known }) };
  };
  try {
    const session = await client.session(sessionID, directory, signal);
    if (session === null) {
      const at = clock.now();
      return { kind: 'session.inspected', ...where(at), startedAt, result: { found: false } };
    }
    const place = directory ?? session.directory;
    const [messages, permissions, questions] = await Promise.all([
      client.messages(sessionID, place, LAST_MESSAGES, signal),
      client.permissions(place, signal),
      client.questions(place, signal),
    ]);
    const at = clock.now();
    const { id: _, updated: __, ...info } = session;
    return {
      kind: 'session.inspected',
      ...where(at, session.directory),
      startedAt,
      result: {
        found: true,
        info,
        requests: [...permissions, ...questions]
          .filter((request) => request.sessionID === sessionID && isOpen(request, messages))
          .map(({ requestID, on }) => ({ requestID, on })),
        ...transcriptState(messages, at, clock.epoch()),
      },
    };
  } catch (error) {
    if (signal?.aborted) return undefined;
    return { kind: 'session.inspect_failed', ...where(clock.now()), error: messageOf(error) };
  }
}

/**
 * opencode goes on listing what an aborted run had asked (1.18.33). A request that holds up a tool is open only as long
 * as that tool, of the session's last answer, has not ended.
 */
function isOpen({ call }: OwnedRequest, messages: readonly TranscriptMessage[]): boolean {
  const last = messages.findLast(({ role }) => role === 'assistant');
  if (call === undefined || last === undefined) return true;
  const status = last.parts.find(({ callID }) => callID === call.callID)?.state?.status;
  return last.id === call.messageID && status !== 'completed' && status !== 'error';
}
