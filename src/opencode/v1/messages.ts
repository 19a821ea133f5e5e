/** A session's messages as the driver's callers see them. */
import { METADATA_KEY, type Message, type ToolUse } from '../driver-api.js';
import { tokenCounts } from '../token-counts.js';
import type { WirePart } from './schemas.js';
import { readMessages, type TranscriptMessage } from './transcript.js';

/** One message in opencode's own form; undefined if the value has another shape. */
export function readMessage(value: unknown): Message | undefined {
  const [message] = readMessages([value]);
  return message && messageFrom(message);
}

export function messageFrom(message: TranscriptMessage): Message {
  const { parts, failed: _, tokens, finish, ...head } = message;
  const ended = finish ?? parts.findLast(({ type }) => type === 'step-finish')?.reason;
  const mark = parts.findLast(({ metadata }) => typeof metadata?.[METADATA_KEY] === 'string')
    ?.metadata?.[METADATA_KEY];
  const isSynthetic = head.role === 'user' && parts.length > 0 && parts.every(isOpencodes);
  return {
    ...head,
    ...(ended !== undefined && { finish: ended }),
    text: joined(parts, 'text'),
    reasoning: joined(parts, 'reasoning'),
    tools: parts.flatMap((each) => (each.type === 'tool' ? [toolUse(each)] : [])),
    files: parts.flatMap(({ type, filename }) => (type === 'file' ? [filename ?? 'a file'] : [])),
    ...(tokens && { tokens: tokenCounts(tokens) }),
    ...(isSynthetic && { synthetic: true as const }),
    ...(typeof mark === 'string' && { mark }),
  };
}

const isOpencodes = ({ type, synthetic }: WirePart) => type === 'compaction' || synthetic === true;

export function toolUse({ tool = 'unknown', state }: WirePart): ToolUse {
  return {
    tool,
    status: state?.status ?? 'unknown',
    ...(state?.title && { title: state.title }),
    ...(state?.error !== undefined && { error: state.error }),
  };
}

/**
 * A text that was cut off when its attempt failed never gets an end time. The attempt that worked wrote its own text.
 */
function joined(parts: readonly WirePart[], type: 'text' | 'reasoning'): string {
  const own = parts.filter((each) => each.type === type && each.text && !each.synthetic);
  const ended = own.filter(({ time }) => time?.end !== undefined);
  return (ended.length > 0 ? ended : own).map(({ text }) => text).join('\n\n');
}
