/**
 * The end of a session's transcript, for a person to read, from OpenCode 2's messages (opencode-2-facts, section 4.1).
 */
import * as shared from '../excerpt.js';
import type { Excerpt } from '../server-api.js';
import type { WireContent, WireMessage } from './schemas.js';

/** Who has written a message. Messages outside the conversation (changes of model, closed turns) are not shown. */
const ROLES: Readonly<Record<string, string>> = {
  user: 'user',
  assistant: 'assistant',
  compaction: 'assistant',
};

/** @param newestFirst in the order in which the server lists them */
export function excerptOf(newestFirst: readonly WireMessage[]): Excerpt {
  return shared.excerptOf(newestFirst.toReversed().flatMap(shownOf));
}

function shownOf({ type, content, error, time, ...said }: WireMessage): shared.ShownMessage[] {
  const role = ROLES[type];
  if (role === undefined) return [];
  return [
    {
      role,
      text: said.text ?? said.summary ?? textOf(content),
      tools: content.flatMap(callOf),
      created: time?.created,
      error: error && `${error.type}: ${error.message}`,
    },
  ];
}

function textOf(content: readonly WireContent[]): string {
  return content.flatMap(({ type, text }) => (type === 'text' && text ? [text] : [])).join('\n');
}

/** While the argument is being written, `input` is the text so far. It is not shown, because nobody could read it. */
function callOf({ type, name = 'tool', state }: WireContent): shared.ShownCall[] {
  if (type !== 'tool') return [];
  const status = state?.status ?? 'unknown';
  const isOpen = status === 'running' || status === 'streaming';
  return [{ tool: name, status, isOpen, input: state?.input }];
}
