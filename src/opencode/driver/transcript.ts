/** A session's messages as text or Markdown, and what they changed. Pure. */
import type { Message } from '../driver-api.js';
import { FILE_TOOLS } from '../finished-step.js';

export type { Message, RunError, Tokens, ToolUse } from '../driver-api.js';

/** How many calls have changed a file. Only opencode's own file tools are counted. */
export function fileChanges(messages: readonly Message[]): number {
  return messages
    .flatMap(({ tools }) => tools)
    .filter(({ tool, status }) => status === 'completed' && FILE_TOOLS.has(tool)).length;
}

export type TranscriptForm = 'text' | 'markdown';

export function renderTranscript(messages: readonly Message[], form: TranscriptForm): string {
  return messages.map((each) => renderMessage(each, form)).join('\n\n');
}

function renderMessage(message: Message, form: TranscriptForm): string {
  const { role, model, text, tools, files, error } = message;
  const who = role === 'assistant' && model ? `assistant (${model})` : role;
  const lines = [
    ...files.map((name) => `file: ${name}`),
    ...tools.map(({ tool, status, title }) => `${tool}: ${status}${title ? ` (${title})` : ''}`),
    ...(error ? [`error: ${error.name} ${error.message.split('\n', 1)[0]}`.trimEnd()] : []),
  ];
  if (form === 'markdown') {
    const items = lines.map((line) => `- ${line}`).join('\n');
    return [`## ${who}`, text, items].filter((block) => block !== '').join('\n\n');
  }
  return [`${who}:`, ...[text, ...lines].filter((line) => line !== '')].join('\n');
}
