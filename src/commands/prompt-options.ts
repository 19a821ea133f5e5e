/** The options that say what to ask and how: shared by `prompt` and `send`, and read from flags and files here. */
import { basename, resolve } from 'node:path';
import * as z from 'zod';
import { readSmallFile, readTextFile } from '../lib/text-file.js';
import type {
  ContextText,
  FilePart,
  PermissionRule,
  SendOptions,
  WaitOptions,
} from '../opencode/driver/types.js';
import { countOf, durationOf } from './driver-commands.js';
import { EXIT, ExitError } from './shared.js';
import { readStdin } from './stdin.js';

export interface PromptFlags {
  model?: string;
  variant?: string;
  thinking?: string;
  agent?: string;
  system?: string;
  context?: string[];
  file?: string[];
  schema?: string;
  timeout?: string;
  maxAttempts?: string;
  maxSteps?: string;
  waitForPeople?: boolean;
  allowEmpty?: boolean;
  allowTruncated?: boolean;
}

/** A context file of a prompt. At the limit: it is refused. */
export const MAX_CONTEXT_BYTES = 2 * 1024 * 1024;
/** A file that goes with a prompt. At the limit: it is refused. */
export const MAX_FILE_BYTES = 10 * 1024 * 1024;
/** A prompt from stdin. At the limit: it is refused. */
export const MAX_STDIN_BYTES = 2 * 1024 * 1024;

/** Types of files that opencode passes to a model unchanged. Everything else goes as text. */
const MIME: Readonly<Record<string, string>> = {
  png: 'image/png',
  jpg: 'image/jpeg',
  jpeg: 'image/jpeg',
  gif: 'image/gif',
  webp: 'image/webp',
  pdf: 'application/pdf',
};

/** @throws ExitError with code 2 */
export async function sendOptions(flags: PromptFlags): Promise<SendOptions & WaitOptions> {
  const { model, variant, thinking, agent, system, context, file, schema } = flags;
  return {
    ...(model !== undefined && { model }),
    ...(variant !== undefined && { variant }),
    ...(thinking !== undefined && {
      thinking: { type: 'enabled', budget_tokens: countOf('--thinking', thinking) },
    }),
    ...(agent !== undefined && { agent }),
    ...(system !== undefined && { system }),
    ...(context && { context: await Promise.all(context.map(contextOf)) }),
    ...(file && { files: file.map(filePart) }),
    ...(schema !== undefined && { schema: schemaFile(schema) }),
    ...waitOptions(flags),
  };
}

/** @throws ExitError with code 2 */
export function waitOptions(flags: PromptFlags): WaitOptions {
  const { timeout, maxAttempts, maxSteps, waitForPeople, allowEmpty, allowTruncated } = flags;
  return {
    ...(allowEmpty && { allowEmpty }),
    ...(allowTruncated && { allowTruncated }),
    ...(timeout !== undefined && { timeoutMs: durationOf('--timeout', timeout) }),
    ...(maxAttempts !== undefined && { maxAttempts: countOf('--max-attempts', maxAttempts) }),
    ...(maxSteps !== undefined && { maxSteps: countOf('--max-steps', maxSteps) }),
    ...(waitForPeople && { onRequest: 'wait' }),
  };
}

/** The words given, or with `-` those of stdin. @throws ExitError with code 2 */
export async function promptText(words: string): Promise<string> {
  return words === '-' ? readStdin('the prompt', MAX_STDIN_BYTES) : words;
}

/** A file's text, or with `-` that of stdin. @throws ExitError with code 2 */
async function contextOf(path: string): Promise<ContextText> {
  if (path !== '-') return contextFile(path);
  return { name: 'stdin', text: await readStdin('--context', MAX_CONTEXT_BYTES) };
}

/** @throws ExitError with code 2 */
export function contextFile(path: string): ContextText {
  const read = readTextFile(path, MAX_CONTEXT_BYTES);
  if ('text' in read) return { name: basename(path), text: read.text };
  throw new ExitError(EXIT.usage, `--context "${path}": expected ${read.problem}`);
}

/** @throws ExitError with code 2 */
export function schemaFile(path: string): Record<string, unknown> {
  const read = readTextFile(path, MAX_CONTEXT_BYTES);
  const refuse = (expected: string) =>
    new ExitError(EXIT.usage, `--schema "${path}": expected ${expected}`);
  if ('problem' in read) throw refuse(read.problem);
  let value: unknown;
  try {
    value = JSON.parse(read.text);
  } catch (error) {
    throw refuse(`a JSON schema, but ${error instanceof Error ? error.message : 'it is no JSON'}`);
  }
  const schema = z.record(z.string(), z.unknown()).safeParse(value);
  if (schema.success) return schema.data;
  throw refuse('a JSON schema: an object, e.g. {"type": "object", "properties": {…}}');
}

/** The file as a `data:` URL, because the server may be on another machine. @throws ExitError with code 2 */
export function filePart(path: string): FilePart {
  const filename = basename(path);
  const mime = MIME[filename.slice(filename.lastIndexOf('.') + 1).toLowerCase()] ?? 'text/plain';
  const bytes = readBytes(path, mime === 'text/plain');
  return { type: 'file', mime, filename, url: `data:${mime};base64,${bytes.toString('base64')}` };
}

function readBytes(path: string, isText: boolean): Buffer {
  const refuse = (problem: string) =>
    new ExitError(EXIT.usage, `--file "${path}": expected ${problem}`);
  if (isText) {
    const read = readTextFile(path, MAX_FILE_BYTES);
    if ('problem' in read) throw refuse(read.problem);
    return Buffer.from(read.text, 'utf8');
  }
  const read = readSmallFile(path, MAX_FILE_BYTES);
  if ('problem' in read) throw refuse(read.problem);
  return read.bytes;
}

/** `bash=deny`, `bash:rm *=ask`. @throws ExitError with code 2 */
export function permissionRule(text: string): PermissionRule {
  const [, permission, pattern = '*', action] =
    /^([^:=]+)(?::(.+))?=(allow|deny|ask)$/.exec(text) ?? [];
  if (permission !== undefined && action !== undefined) {
    return { permission, pattern, action: action as PermissionRule['action'] };
  }
  throw new ExitError(
    EXIT.usage,
    `--permission "${text}": expected TOOL=allow|deny|ask or TOOL:PATTERN=allow|deny|ask, e.g. bash=deny`,
  );
}

/** Makes a path absolute, because the server has another working directory than we do. */
export const directoryOf = (path: string) => resolve(path);
