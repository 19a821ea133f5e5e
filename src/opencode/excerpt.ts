/** Prepares the end of a session's transcript for a person: last words, the current tool call, the last messages. */
import { MAX_SCRUBBED, maskSecrets } from '../lib/redaction.js';
import { bounded } from './http/errors.js';
import type { Excerpt } from './server-api.js';

/** Messages of a session's excerpt. At the limit: earlier ones are left out. */
export const MAX_EXCERPT_MESSAGES = 8;
/** Characters of one message of an excerpt; its end is kept. At the limit: the beginning is left out. */
export const MAX_EXCERPT_CHARS = 2_000;
/** Characters of a tool's arguments. At the limit: they are cut. */
export const MAX_INPUT_CHARS = 300;

/** Arguments that alone are enough to say what a call is about, the most telling first. */
const TELLING = ['command', 'filePath', 'path', 'pattern', 'url', 'query', 'description', 'prompt'];

/** What an excerpt shows of a message, in any version. */
export interface ShownMessage {
  role: string;
  /** Without text that opencode itself wrote. */
  text: string;
  tools: readonly ShownCall[];
  /** Epoch ms. */
  created?: number | undefined;
  error?: string | undefined;
}

export interface ShownCall {
  tool: string;
  status: string;
  /** The model is still writing its arguments, or it is running. */
  isOpen: boolean;
  input: unknown;
}

/** @param messages oldest first */
export function excerptOf(messages: readonly ShownMessage[]): Excerpt {
  const last = messages.findLast(({ role }) => role === 'assistant');
  const open = last?.tools.findLast(({ isOpen }) => isOpen);
  const said = messages.findLast(({ role, text }) => role === 'assistant' && text.trim() !== '');
  const question = open === undefined ? undefined : questionOf(open);
  return {
    ...(said === undefined ? {} : { lastWords: endOf(said.text.trim(), MAX_INPUT_CHARS) }),
    ...(open === undefined ? {} : { tool: { tool: open.tool, input: inputText(open.input) } }),
    ...(question === undefined ? {} : { question }),
    messages: messages
      .slice(-MAX_EXCERPT_MESSAGES)
      .map(({ role, text, tools, created, error }) => ({
        role,
        text: endOf(text.trim(), MAX_EXCERPT_CHARS),
        tools: tools.map(toolLine),
        ...(created === undefined ? {} : { at: created }),
        ...(error === undefined ? {} : { error: bounded(error, MAX_INPUT_CHARS) }),
      })),
  };
}

function toolLine({ tool, status, input: given }: ShownCall): string {
  const input = inputText(given);
  return `${tool}${input === '' ? '' : ` ${input}`} (${status})`;
}

/** The question that a person is asked, if the call is one of opencode's tool `question`. */
function questionOf({ tool, input }: ShownCall): string | undefined {
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

/** The most telling argument; if there is none, all of them as JSON. */
function inputText(input: unknown): string {
  if (typeof input !== 'object' || input === null) return '';
  const telling = TELLING.find(
    (name) => name in input && typeof Reflect.get(input, name) === 'string',
  );
  const text = telling === undefined ? JSON.stringify(input) : String(Reflect.get(input, telling));
  return text === '{}' ? '' : bounded(text.replace(/\s+/g, ' ').trim(), MAX_INPUT_CHARS);
}

function endOf(text: string, characters: number): string {
  if (text.length <= characters) return text;
  // Half a secret, or one without the words before it, is not recognised any more.
  return `…${maskSecrets(text.slice(-MAX_SCRUBBED)).slice(-characters)}`;
}
