/** Builds the requests for a session and for a prompt, and checks them before anything is sent. Pure. */
import { maskedCut } from '../../lib/redaction.js';
import { METADATA_KEY, type ModelRef, type PromptWish, type SessionWish } from '../driver-api.js';
import { DriverError } from './error.js';
import type { Owner } from './orphans.js';
import type { ContextText, FilePart, PermissionRule } from './types.js';

export interface PromptWords {
  text: string;
  /** The server keeps it in the prompt's metadata and never shows it to a model. */
  mark: string;
  model: ModelRef | undefined;
  agent: string | undefined;
  system: string | undefined;
  variant: string | undefined;
  context: readonly ContextText[] | undefined;
  files: readonly FilePart[] | undefined;
  schema: Readonly<Record<string, unknown>> | undefined;
  queue: boolean;
}

/** A prompt. A server would accept more, and its log and memory would suffer. At the limit: it is refused. */
export const MAX_PROMPT_CHARS = 4 * 1024 * 1024;
/** The title that is made from a prompt. At the limit: it is cut. */
const MAX_TITLE_CHARS = 60;

/** @throws DriverError `usage` */
export function promptWish(words: PromptWords): PromptWish {
  const { text, context = [], files = [] } = words;
  const told = context.map((each) => contextText(each));
  const length = told.reduce((sum, each) => sum + each.length, text.length);
  // opencode accepts an empty prompt, and a model answers it with nonsense.
  if (text.trim() === '') throw new DriverError('usage', 'the prompt is empty: give it a text.');
  if (length > MAX_PROMPT_CHARS) {
    throw new DriverError(
      'usage',
      `the prompt has ${length} characters, more than ${MAX_PROMPT_CHARS}: give large texts as files in the project.`,
    );
  }
  return { ...words, context: told, files };
}

export interface SessionWords {
  title: string;
  parentID?: string | undefined;
  agent?: string | undefined;
  permission?: readonly PermissionRule[] | undefined;
  owner?: Owner | undefined;
}

export function sessionWish({ title, owner, ...words }: SessionWords): SessionWish {
  const line = title.replace(/\s+/g, ' ').trim();
  return {
    ...words,
    title: maskedCut(line, MAX_TITLE_CHARS),
    ...(owner && { metadata: { [METADATA_KEY]: owner } }),
  };
}

function contextText({ name, text }: ContextText): string {
  return `<context name="${name.replaceAll('"', "'")}">\n${text.trimEnd()}\n</context>`;
}
