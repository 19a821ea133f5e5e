/** The end of a session's transcript, for a person to read, from the messages of opencode 1.x. */
import * as shared from '../excerpt.js';
import type { Excerpt } from '../server-api.js';
import type { WirePart } from './schemas.js';
import type { TranscriptMessage } from './transcript.js';

export function excerptOf(messages: readonly TranscriptMessage[]): Excerpt {
  return shared.excerptOf(
    messages.map((message) => ({
      role: message.role,
      text: textOf(message),
      tools: message.parts.flatMap(callOf),
      created: message.created,
      error: message.error && `${message.error.name}: ${message.error.message}`,
    })),
  );
}

function textOf({ parts }: TranscriptMessage): string {
  return parts
    .filter(({ type, text, synthetic }) => type === 'text' && text && !synthetic)
    .map(({ text }) => text)
    .join('\n');
}

function callOf({ type, tool = 'tool', state }: WirePart): shared.ShownCall[] {
  if (type !== 'tool') return [];
  const status = state?.status ?? 'unknown';
  const isOpen = status === 'running' || status === 'pending';
  return [{ tool, status, isOpen, input: state?.input }];
}
