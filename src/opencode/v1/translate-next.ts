/**
 * Translates the `session.next.*` events of runs that the preview of OpenCode 2's API has started (preview.ts; seen on
 * 1.18.33: prompt, step, text and tool events). Only what cannot do harm is read from them. No retry was seen, and a
 * step that fails ends its run.
 */
import * as z from 'zod';
import { bounded } from '../http/errors.js';
import * as schemas from './schemas.js';
import type { Context, Said, Translation } from './translation.js';

/** All types of these events begin with this. */
export const PREFIX = 'session.next.';
/** An error's message gets as much room as that of other errors. */
const ERROR_CHARS = 300;
/** Families of events that each show new text, tool input or output. */
const PROGRESS = /^(text|reasoning|tool|shell)\./;

const nextEvent = z.object({
  sessionID: schemas.id,
  messageID: schemas.id.optional().catch(undefined),
  assistantMessageID: schemas.id.optional().catch(undefined),
  callID: schemas.id.optional().catch(undefined),
  tool: schemas.toolName.optional().catch(undefined),
  error: z
    .object({ message: z.string().max(4_096).catch('') })
    .optional()
    .catch(undefined),
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
  { messageID, assistantMessageID, callID, tool, error }: z.infer<typeof nextEvent>,
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
    case 'step.failed':
      return [
        {
          kind: 'session.error',
          name: 'UnknownError',
          message: bounded(error?.message ?? '', ERROR_CHARS),
        },
      ];
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
