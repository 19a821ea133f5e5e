/** Inspects one session: its last messages, and its open permissions and questions. */
import type { Clock } from '../../lib/clock.js';
import type { Inspected, OwnedRequest } from '../server-api.js';
import { infoOf } from '../session-info.js';
import type { V1Requests } from './requests.js';
import { type TranscriptMessage, transcriptState } from './transcript.js';

/** The last step's message and a few before it: they hold the running tools and the newest text. */
const LAST_MESSAGES = 4;

type Source = Pick<V1Requests, 'session' | 'messages' | 'permissions' | 'questions'>;

export async function inspectSession(
  client: Source,
  clock: Clock,
  sessionID: string,
  directory: string | undefined,
  signal?: AbortSignal,
): Promise<Inspected> {
  const session = await client.session(sessionID, directory, signal);
  if (session === null) return { result: { found: false } };
  const place = directory ?? session.directory;
  const [messages, permissions, questions] = await Promise.all([
    client.messages(sessionID, place, LAST_MESSAGES, signal),
    client.permissions(place, signal),
    client.questions(place, signal),
  ]);
  return {
    ...(session.directory !== undefined && { directory: session.directory }),
    result: {
      found: true,
      info: infoOf(session),
      requests: [...permissions, ...questions]
        .filter((request) => request.sessionID === sessionID && isOpen(request, messages))
        .map(({ requestID, on }) => ({ requestID, on })),
      ...transcriptState(messages, clock.now(), clock.epoch()),
    },
  };
}

/**
 * opencode still lists what an aborted run had asked (1.18.33). So if a request holds up a tool, it is open only as
 * long as that tool belongs to the session's last answer and has not ended.
 */
function isOpen({ call }: OwnedRequest, messages: readonly TranscriptMessage[]): boolean {
  const last = messages.findLast(({ role }) => role === 'assistant');
  if (call === undefined || last === undefined) return true;
  const status = last.parts.find(({ callID }) => callID === call.callID)?.state?.status;
  return last.id === call.messageID && status !== 'completed' && status !== 'error';
}
