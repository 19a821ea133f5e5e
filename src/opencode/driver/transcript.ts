/** A session's messages as the driver's callers see them: text, errors and tools, and the whole as text or Markdown. */

import { FILE_TOOLS } from '../finished-step.js';
import type { OpencodeClient } from '../v1/client.js';
import type { WirePart } from '../v1/schemas.js';
import { type RunError, readMessages, type TranscriptMessage } from '../v1/transcript.js';

export type { RunError } from '../v1/transcript.js';

/** The key of a prompt's own mark in the metadata of its text part: the answer to "which of these prompts is mine". */
export const PROMPT_MARK = 'opencode-watchdog';

export interface ToolUse {
  tool: string;
  /** opencode's word: `completed`, `error`, `running`, `pending`. */
  status: string;
  title?: string;
  /** Why it failed. */
  error?: string;
}

export interface Tokens {
  input: number;
  output: number;
  reasoning: number;
  cacheRead: number;
  cacheWrite: number;
}

export interface Message {
  id: string;
  role: string;
  /** Of an answer: the prompt that it belongs to. */
  parentID?: string;
  /** Epoch ms. */
  created?: number;
  completed?: number;
  /** Why the model stopped: `stop`, `tool-calls`, `length`. */
  finish?: string;
  model?: string;
  agent?: string;
  error?: RunError;
  text: string;
  reasoning: string;
  tools: ToolUse[];
  /** Names of the files that came with it. */
  files: string[];
  tokens?: Tokens;
  /** US dollars, as opencode reckons them. */
  cost?: number;
  /** The answer to a prompt with a `schema`. */
  structured?: unknown;
  /** The summary that a compaction writes: no answer to anybody. */
  summary?: true;
  /** Written by opencode itself, for instance to go on after a compaction. */
  synthetic?: true;
  /** The mark that the driver put into its prompt, where the server has kept it. */
  mark?: string;
}

/** The last `limit` messages, oldest first; all of them without a limit. */
export async function readTranscript(
  client: OpencodeClient,
  sessionID: string,
  directory: string | undefined,
  { limit, signal, timeoutMs }: { limit?: number; signal?: AbortSignal; timeoutMs?: number } = {},
): Promise<Message[]> {
  const messages = await client.messages(sessionID, directory, limit, signal, timeoutMs);
  return messages.map(messageFrom);
}

/** One message in opencode's own form; undefined where it has another shape. */
export function readMessage(value: unknown): Message | undefined {
  const [message] = readMessages([value]);
  return message && messageFrom(message);
}

function messageFrom({ parts, failed: _, tokens, finish, ...head }: TranscriptMessage): Message {
  const ended = finish ?? parts.findLast(({ type }) => type === 'step-finish')?.reason;
  const mark = parts.findLast(({ metadata }) => typeof metadata?.[PROMPT_MARK] === 'string')
    ?.metadata?.[PROMPT_MARK];
  const isSynthetic = head.role === 'user' && parts.length > 0 && parts.every(isOpencodes);
  return {
    ...head,
    ...(ended !== undefined && { finish: ended }),
    text: joined(parts, 'text'),
    reasoning: joined(parts, 'reasoning'),
    tools: parts.flatMap((each) => (each.type === 'tool' ? [toolUse(each)] : [])),
    files: parts.flatMap(({ type, filename }) => (type === 'file' ? [filename ?? 'a file'] : [])),
    ...(tokens && {
      tokens: {
        input: tokens.input ?? 0,
        output: tokens.output ?? 0,
        reasoning: tokens.reasoning ?? 0,
        cacheRead: tokens.cache?.read ?? 0,
        cacheWrite: tokens.cache?.write ?? 0,
      },
    }),
    ...(isSynthetic && { synthetic: true as const }),
    ...(typeof mark === 'string' && { mark }),
  };
}

const isOpencodes = ({ type, synthetic }: WirePart) => type === 'compaction' || synthetic === true;

function toolUse({ tool = 'unknown', state }: WirePart): ToolUse {
  return {
    tool,
    status: state?.status ?? 'unknown',
    ...(state?.title && { title: state.title }),
    ...(state?.error !== undefined && { error: state.error }),
  };
}

/** A text that was cut off with its attempt never gets an end; the attempt that worked wrote its own. */
function joined(parts: readonly WirePart[], type: 'text' | 'reasoning'): string {
  const own = parts.filter((each) => each.type === type && each.text && !each.synthetic);
  const ended = own.filter(({ time }) => time?.end !== undefined);
  return (ended.length > 0 ? ended : own).map(({ text }) => text).join('\n\n');
}

/** How many calls have changed a file; opencode's own file tools alone are counted. */
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
