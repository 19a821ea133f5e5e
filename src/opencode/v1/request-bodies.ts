/**
 * The bodies of the driver's requests. A test compares their types with those of the official SDK, so that compiling it
 * shows any change there.
 */
import {
  type FilePart,
  METADATA_KEY,
  type ModelRef,
  type PermissionRule,
  type PromptWish,
  type SessionWish,
} from '../driver-api.js';

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
  format?: { type: 'json_schema'; schema: Record<string, unknown> };
}

export function promptBody(wish: Omit<PromptWish, 'queue'>): PromptWire {
  const { text, mark, model, agent, system, variant, context, files, schema } = wish;
  return {
    parts: [
      ...context.map(textPart),
      ...files,
      { ...textPart(text), metadata: { [METADATA_KEY]: mark } },
    ],
    ...(model && { model }),
    ...(agent !== undefined && { agent }),
    ...(system !== undefined && { system }),
    ...(variant !== undefined && { variant }),
    ...(schema && { format: { type: 'json_schema' as const, schema: { ...schema } } }),
  };
}

export function sessionBody(wish: SessionWish): SessionBody {
  const { title, parentID, agent, permission, metadata } = wish;
  return {
    title,
    ...(parentID !== undefined && { parentID }),
    ...(agent !== undefined && { agent }),
    ...(permission && permission.length > 0 && { permission: [...permission] }),
    ...(metadata && { metadata: { ...metadata } }),
  };
}

const textPart = (text: string): TextPart => ({ type: 'text', text });
