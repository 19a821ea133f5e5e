/**
 * The bodies of the driver's requests. A test holds their types against the official SDK's, so that a change there
 * shows when this is compiled.
 */
import { DriverError } from './error.js';
import type { ModelRef } from './model.js';
import { OWNER_MARK, type Owner } from './orphans.js';
import { PROMPT_MARK } from './transcript.js';
import type { ContextText, FilePart, PermissionRule } from './types.js';

export interface SessionBody {
  title: string;
  parentID?: string;
  agent?: string;
  permission?: PermissionRule[];
  metadata?: Record<string, unknown>;
}

export interface TextPart {
  type: 'text';
  text: string;
  metadata?: Record<string, unknown>;
}

export interface PromptWire {
  parts: (TextPart | FilePart)[];
  model?: ModelRef;
  agent?: string;
  system?: string;
  variant?: string;
}

export interface PromptWords {
  text: string;
  /** Kept by the server in the prompt's metadata, and never shown to a model. */
  mark: string;
  model: ModelRef | undefined;
  agent: string | undefined;
  system: string | undefined;
  variant: string | undefined;
  context: readonly ContextText[] | undefined;
  files: readonly FilePart[] | undefined;
}

/** A prompt. A server would take more, and its log and memory would suffer for it. At the limit: it is refused. */
export const MAX_PROMPT_CHARS = 4 * 1024 * 1024;
/** The title that is made of a prompt. At the limit: it is cut. */
const MAX_TITLE_CHARS = 60;

/** @throws DriverError `usage` */
export function promptBody(words: PromptWords): PromptWire {
  const { text, mark, model, agent, system, variant, context = [], files = [] } = words;
  const told = context.map((each) => contextText(each));
  const length = told.reduce((sum, each) => sum + each.length, text.length);
  // opencode takes an empty prompt, and a model answers nothing with nonsense.
  if (text.trim() === '') throw new DriverError('usage', 'the prompt is empty: give it a text.');
  if (length > MAX_PROMPT_CHARS) {
    throw new DriverError(
      'usage',
      `the prompt has ${length} characters, more than ${MAX_PROMPT_CHARS}: give large texts as files in the project.`,
    );
  }
  return {
    parts: [
      ...told.map(textPart),
      ...files,
      { ...textPart(text), metadata: { [PROMPT_MARK]: mark } },
    ],
    ...(model && { model }),
    ...(agent !== undefined && { agent }),
    ...(system !== undefined && { system }),
    ...(variant !== undefined && { variant }),
  };
}

export interface SessionWords {
  title: string;
  parentID?: string | undefined;
  agent?: string | undefined;
  permission?: readonly PermissionRule[] | undefined;
  owner?: Owner | undefined;
}

export function sessionBody(words: SessionWords): SessionBody {
  const { title, parentID, agent, permission, owner } = words;
  return {
    title: title.replace(/\s+/g, ' ').trim().slice(0, MAX_TITLE_CHARS),
    ...(parentID !== undefined && { parentID }),
    ...(agent !== undefined && { agent }),
    ...(permission && permission.length > 0 && { permission: [...permission] }),
    ...(owner && { metadata: { [OWNER_MARK]: owner } }),
  };
}

const textPart = (text: string): TextPart => ({ type: 'text', text });

function contextText({ name, text }: ContextText): string {
  return `<context name="${name.replaceAll('"', "'")}">\n${text.trimEnd()}\n</context>`;
}
