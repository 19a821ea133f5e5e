/**
 * Translates the `session.next.*` events that the SDK's newest types announce. No release up to 1.18.34 was seen to
 * send them, so only what cannot do harm is read from them; `session.next.retried` is left to `session.status`.
 */
import * as z from 'zod';
import * as schemas from './schemas.js';
import type { Context, Said, Translation } from './translation.js';

const PREFIX = 'session.next.';
/** Families in which any event means that text, tool input or output has come. */
const PROGRESS = /^(text|reasoning|tool|shell)\./;

const nextEvent = z.object({
  sessionID: schemas.id,
  messageID: schemas.id.optional().catch(undefined),
  assistantMessageID: schemas.id.optional().catch(undefined),
  callID: schemas.id.optional().catch(undefined),
  tool: schemas.toolName.optional().catch(undefined),
});

export function translateNext(
  type: string,
  properties: unknown,
  context: Context,
): Translation | undefined {
  const event = nextEvent.safeParse(properties).data;
  if (!event) return undefined;
  return { sessionID: event.sessionID, said: says(type.slice(PREFIX.length), event, context) };
}

function says(
  name: string,
  { messageID, assistantMessageID, callID, tool }: z.infer<typeof nextEvent>,
  { at }: Context,
): Said[] {
  const progress = { kind: 'session.progress' } as const;
  switch (name) {
    case 'prompted':
      return messageID === undefined ? [] : [{ kind: 'session.prompted', messageID }];
    case 'step.started':
      return assistantMessageID === undefined
        ? []
        : [{ kind: 'session.asking_model', messageID: assistantMessageID }];
    case 'step.ended':
      return [{ kind: 'session.step_finished' }];
    case 'tool.called':
      return callID === undefined
        ? [progress]
        : [
            { kind: 'tool.running', tool: { callID, tool: tool ?? 'unknown', startedAt: at } },
            progress,
          ];
    case 'tool.success':
    case 'tool.failed':
      return callID === undefined ? [progress] : [{ kind: 'tool.ended', callID }, progress];
    case 'compaction.started':
      return [{ kind: 'session.compacting' }];
    case 'compaction.ended':
      return [{ kind: 'session.compacted' }];
    case 'compaction.delta':
      return [progress];
    default:
      return PROGRESS.test(name) ? [progress] : [];
  }
}
