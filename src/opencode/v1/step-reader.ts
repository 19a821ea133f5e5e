/**
 * Puts together what each finished step of a session did, from the events of its parts (facts, section 10).
 *
 * A step ends with a `step-finish` part; where none comes (an answer without a finish), with its message's own end.
 * Only hashes leave this file. Bounded: the message that is heard of least recently is forgotten.
 */
import { createHash } from 'node:crypto';
import { BoundedMap } from '../../lib/bounded-map.js';
import type { FinishedStep } from '../../watchdog/observation.js';
import { tokenTotal, type WireMessage, type WirePart } from './schemas.js';

/**
 * Messages that are being written at once; each session has one. At the limit: the one heard of least recently is
 * forgotten.
 */
export const MAX_OPEN_STEPS = 10_000;
/** Tool calls of one step whose results are compared. At the limit: the step counts as no repetition. */
export const MAX_STEP_TOOLS = 200;

/** opencode's tools that change files, in 1.x and 2.x. */
export const FILE_TOOLS: ReadonlySet<string> = new Set([
  'write',
  'edit',
  'multiedit',
  'patch',
  'apply_patch',
]);
/** opencode's tool for subagents: what it takes is its subagent's time (facts, section 7). */
const TASK_TOOL = 'task';

interface ToolCall {
  tool: string;
  /** Hash of tool, input and result. */
  hash: string;
  ms: number;
  failed: boolean;
}

interface OpenStep {
  tools: Map<string, ToolCall>;
  /** Hash of each text part, by part. */
  texts: Map<string, string>;
  reasoned: boolean;
  /** A `step-finish` part has told of it already. */
  told: boolean;
}

export class StepReader {
  readonly #steps = new BoundedMap<string, OpenStep>(MAX_OPEN_STEPS);

  /** @returns the step that this part ends; undefined where it ends none */
  part(value: WirePart): FinishedStep | undefined {
    const { messageID } = value;
    if (messageID === undefined) return undefined;
    switch (value.type) {
      case 'text': {
        // The user's own text has no time (translate.ts).
        const text = value.text?.trim();
        if (value.time === undefined || !text) return undefined;
        this.#open(messageID).texts.set(value.id ?? '', hashOf(text));
        return undefined;
      }
      case 'reasoning':
        this.#open(messageID).reasoned = true;
        return undefined;
      case 'tool': {
        const call = toolCall(value);
        const { tools } = this.#open(messageID);
        if (call && value.callID !== undefined && tools.size < MAX_STEP_TOOLS)
          tools.set(value.callID, call);
        return undefined;
      }
      case 'step-finish': {
        const step = finished(messageID, this.#open(messageID), value);
        // Versions up to 1.0 put several steps into one message.
        this.#steps.set(messageID, { ...newStep(), told: true });
        return step;
      }
      default:
        return undefined;
    }
  }

  /** @returns the step that this message's end ends, where no part has told of it */
  message(info: WireMessage): FinishedStep | undefined {
    if (info.role !== 'assistant' || info.summary === true) return undefined;
    if (info.time?.completed === undefined || info.finish === undefined) return undefined;
    const open = this.#steps.get(info.id);
    if (open?.told === true) return undefined;
    this.#steps.set(info.id, { ...newStep(), told: true });
    const { finish, cost, tokens } = info;
    return finished(info.id, open ?? newStep(), { reason: finish, cost, tokens });
  }

  #open(messageID: string): OpenStep {
    const known = this.#steps.get(messageID);
    if (known !== undefined) return known;
    const step = newStep();
    this.#steps.set(messageID, step);
    return step;
  }
}

const newStep = (): OpenStep => ({
  tools: new Map(),
  texts: new Map(),
  reasoned: false,
  told: false,
});

function finished(
  messageID: string,
  { tools, texts, reasoned }: OpenStep,
  { reason, cost, tokens }: Pick<WirePart, 'reason' | 'cost' | 'tokens'>,
): FinishedStep {
  const calls = [...tools.values()];
  const hasText = texts.size > 0;
  // The calls of one step are one step, in whatever order they ended.
  const parts = calls.length > 0 ? calls.map((call) => call.hash).sort() : [...texts.values()];
  const isWhole = parts.length > 0 && calls.length < MAX_STEP_TOOLS;
  const ownTimes = calls.filter((call) => call.tool !== TASK_TOOL).map((call) => call.ms);
  const changes = calls.filter((call) => FILE_TOOLS.has(call.tool) && !call.failed);
  const total = tokens === undefined ? undefined : tokenTotal(tokens);
  return {
    messageID,
    empty: calls.length === 0 && !hasText && !reasoned,
    ...(isWhole && { fingerprint: hashOf(parts.join(' ')) }),
    ...(ownTimes.length > 0 && { toolMs: Math.max(...ownTimes) }),
    ...(calls[0] !== undefined && { tool: calls[0].tool }),
    tools: calls.length,
    toolErrors: calls.filter((call) => call.failed).length,
    hasText,
    fileChanges: changes.length,
    ...(reason !== undefined && { finish: reason }),
    ...(cost !== undefined && { costUsd: cost }),
    ...(total !== undefined && { tokens: total }),
  };
}

function toolCall({ tool = 'unknown', state }: WirePart): ToolCall | undefined {
  if (state?.status !== 'completed' && state?.status !== 'error') return undefined;
  const failed = state.status === 'error';
  const { start, end } = state.time ?? {};
  const result = failed ? foldNumbers(state.error ?? '') : (state.output ?? '');
  return {
    tool,
    hash: hashOf([tool, failed, canonical(state.input), result].join('\n')),
    ms: start === undefined || end === undefined ? 0 : Math.max(0, end - start),
    failed,
  };
}

/** The same text for the same value, whatever the order of its keys. */
function canonical(value: unknown): string {
  return (
    JSON.stringify(value, (_, inner: unknown) =>
      typeof inner === 'object' && inner !== null && !Array.isArray(inner)
        ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
        : inner,
    ) ?? ''
  );
}

/** Times, ids and counts of an error folded to `#`, so that the same error again is the same; paths are kept. */
export function foldNumbers(text: string): string {
  return text.replaceAll(/\S+/g, (word) =>
    word.includes('/') ? word : word.replaceAll(/\b[\da-f]{8,}\b|\d+(?:[.:]\d+)*/gi, '#'),
  );
}

const hashOf = (text: string): string =>
  createHash('sha256').update(text).digest('base64url').slice(0, 16);
