/**
 * Sums up a finished step, in any version: its fingerprint, its tools, and its cost. Only hashes of what was said and
 * done leave this file.
 */
import { createHash } from 'node:crypto';
import { type FinishedStep, TASK_TOOLS } from '../watchdog/observation.js';

/**
 * Messages that are being written at once; each session has one. At the limit: the one that began first is forgotten.
 */
export const MAX_OPEN_STEPS = 10_000;
/** Tool calls of one step whose results are compared. At the limit: the step does not count as a repetition. */
export const MAX_STEP_TOOLS = 200;

/** opencode's tools that change files, in 1.x and 2.x. */
export const FILE_TOOLS: ReadonlySet<string> = new Set([
  'write',
  'edit',
  'multiedit',
  'patch',
  'apply_patch',
]);

export interface ToolCall {
  tool: string;
  /** Hash of tool, input and result. */
  hash: string;
  ms: number;
  failed: boolean;
}

export interface OpenStep {
  tools: Map<string, ToolCall>;
  /** Hash of each text part, by part. */
  texts: Map<string, string>;
  reasoned: boolean;
  /** The text is a compaction's summary. */
  isSummary: boolean;
}

export const newStep = (): OpenStep => ({
  tools: new Map(),
  texts: new Map(),
  reasoned: false,
  isSummary: false,
});

export function finishedStep(
  messageID: string,
  { tools, texts, reasoned, isSummary }: OpenStep,
  { finish, costUsd, tokens }: Pick<FinishedStep, 'finish' | 'costUsd' | 'tokens'>,
): FinishedStep {
  const calls = [...tools.values()];
  const hasText = texts.size > 0;
  // The calls of one step may end in any order. The fingerprint must not depend on it.
  const parts = calls.length > 0 ? calls.map((call) => call.hash).sort() : [...texts.values()];
  const isWhole = parts.length > 0 && calls.length < MAX_STEP_TOOLS;
  // The time that a task takes is its subagent's.
  const ownTimes = calls.filter((call) => !TASK_TOOLS.has(call.tool)).map((call) => call.ms);
  const changes = calls.filter((call) => FILE_TOOLS.has(call.tool) && !call.failed);
  return {
    messageID,
    empty: calls.length === 0 && !hasText && !reasoned,
    ...(isSummary && { summary: true }),
    ...(isWhole && { fingerprint: hashOf(parts.join(' ')) }),
    ...(ownTimes.length > 0 && { toolMs: Math.max(...ownTimes) }),
    ...(calls[0] !== undefined && { tool: calls[0].tool }),
    tools: calls.length,
    toolErrors: calls.filter((call) => call.failed).length,
    hasText,
    fileChanges: changes.length,
    ...(finish !== undefined && { finish }),
    ...(costUsd !== undefined && { costUsd }),
    ...(tokens !== undefined && { tokens }),
  };
}

/** Describes a tool call that has ended. Its hash covers what it was asked and what it returned. */
export function endedCall(
  tool: string,
  input: unknown,
  end: { failed: boolean; result: string; ms: number },
): ToolCall {
  const { failed, ms } = end;
  const result = failed
    ? foldNumbers(end.result)
    : TASK_TOOLS.has(tool)
      ? foldIds(end.result)
      : end.result;
  return { tool, hash: hashOf([tool, failed, canonical(input), result].join('\n')), ms, failed };
}

/** Gives the same text for the same value, whatever the order of its keys. */
function canonical(value: unknown): string {
  return (
    JSON.stringify(value, (_, inner: unknown) =>
      typeof inner === 'object' && inner !== null && !Array.isArray(inner)
        ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
        : inner,
    ) ?? ''
  );
}

/** Matches opencode's ids (`ses_ddb2d94acffe5pV5…`), the ids of providers' requests, and UUIDs. */
const ID =
  /\b(?:[a-z]+_(?=[a-z]*\d)[\da-z]{12,}|[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12})\b/gi;

/** A subagent's result names its session, which is a different one each time (seen on 1.18.33). */
const foldIds = (text: string): string => text.replaceAll(ID, '#');

/** Replaces times, ids and counts in an error by `#`, so that the same error gives the same text. Paths are kept. */
export function foldNumbers(text: string): string {
  return text.replaceAll(/\S+/g, (word) =>
    word.includes('/') ? word : foldIds(word).replaceAll(/\b[\da-f]{8,}\b|\d+(?:[.:]\d+)*/gi, '#'),
  );
}

export const hashOf = (text: string): string =>
  createHash('sha256').update(text).digest('base64url').slice(0, 16);

/**
 * Whether a message with this finish reason is its run's last. After tool calls, or if the reason is unknown, another
 * step follows.
 */
export const endsRun = (finish: string | undefined): boolean =>
  finish !== undefined && finish !== 'tool-calls' && finish !== 'unknown';
