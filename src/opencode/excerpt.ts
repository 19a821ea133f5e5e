/** The end of a session's transcript for a person who looks: last words, the tool call under way, the last messages. */
import { bounded } from '../http/errors.js';
import type { Excerpt } from '../server-api.js';
import type { WirePart } from './schemas.js';
import type { TranscriptMessage } from './transcript.js';

/** Messages of a session's excerpt. At the limit: earlier ones are left out. */
export const MAX_EXCERPT_MESSAGES = 8;
/** Characters of one message of an excerpt; its end is kept. At the limit: the beginning is left out. */
export const MAX_EXCERPT_CHARS = 2_000;
/** Characters of a tool's arguments. At the limit: they are cut. */
export const MAX_INPUT_CHARS = 300;

/** Arguments that say alone what a call is about, in the order of their weight. */
const TELLING = ['command', 'filePath', 'path', 'pattern', 'url', 'query', 'description', 'prompt'];

export function excerptOf(messages: readonly TranscriptMessage[]): Excerpt {
  const last = messages.findLast(({ role }) => role === 'assistant');
  const open = last?.parts.findLast(
    ({ type, state }) =>
      type === 'tool' && (state?.status === 'running' || state?.status === 'pending'),
  );
  const said = messages
    .filter(({ role }) => role === 'assistant')
    .map(textOf)
    .findLast((text) => text !== '');
  const question = open === undefined ? undefined : questionOf(open);
  return {
    ...(said === undefined ? {} : { lastWords: endOf(said, MAX_INPUT_CHARS) }),
    ...(open === undefined
      ? {}
      : { tool: { tool: open.tool ?? 'tool', input: inputText(open.state?.input) } }),
    ...(question === undefined ? {} : { question }),
    messages: messages.slice(-MAX_EXCERPT_MESSAGES).map((message) => ({
      role: message.role,
      text: endOf(textOf(message), MAX_EXCERPT_CHARS),
      tools: message.parts.flatMap(toolLine),
      ...(message.created === undefined ? {} : { at: message.created }),
      ...(message.error === undefined
        ? {}
        : { error: bounded(`${message.error.name}: ${message.error.message}`, MAX_INPUT_CHARS) }),
    })),
  };
}

function textOf({ parts }: TranscriptMessage): string {
  return parts
    .filter(({ type, text, synthetic }) => type === 'text' && text && !synthetic)
    .map(({ text }) => text)
    .join('\n')
    .trim();
}

function toolLine({ type, tool = 'tool', state }: WirePart): string[] {
  if (type !== 'tool') return [];
  const input = inputText(state?.input);
  return [`${tool}${input === '' ? '' : ` ${input}`} (${state?.status ?? 'unknown'})`];
}

/** What is asked, where a person is asked a question (opencode's tool `question`). */
function questionOf({ tool, state }: WirePart): string | undefined {
  const input = state?.input;
  if (tool !== 'question' || typeof input !== 'object' || input === null) return undefined;
  if (!('questions' in input) || !Array.isArray(input.questions)) return undefined;
  const texts = input.questions.flatMap((each: unknown) =>
    typeof each === 'object' &&
    each !== null &&
    'question' in each &&
    typeof each.question === 'string'
      ? [each.question]
      : [],
  );
  return texts.length === 0 ? undefined : bounded(texts.join(' '), MAX_INPUT_CHARS);
}

/** The argument that tells most; else all of them as JSON. */
function inputText(input: unknown): string {
  if (typeof input !== 'object' || input === null) return '';
  const telling = TELLING.find(
    (name) => name in input && typeof Reflect.get(input, name) === 'string',
  );
  const text = telling === undefined ? JSON.stringify(input) : String(Reflect.get(input, telling));
  return text === '{}' ? '' : bounded(text.replace(/\s+/g, ' ').trim(), MAX_INPUT_CHARS);
}

function endOf(text: string, characters: number): string {
  return text.length <= characters ? text : `…${text.slice(-characters)}`;
}
