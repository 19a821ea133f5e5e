/** Reads a session's last messages: what the session is doing, and a digest that changes whenever the messages do. */
import { createHash } from 'node:crypto';
import type { RunningTool } from '../../watchdog/observation.js';
import type { RunError } from '../driver-api.js';
import {
  messageWithParts,
  modelOf,
  namedError,
  part,
  type WireMessage,
  type WirePart,
} from './schemas.js';

export interface TranscriptMessage {
  id: string;
  role: string;
  /** Epoch ms. */
  created?: number;
  completed?: number;
  finish?: string;
  model?: string;
  agent?: string;
  /** The prompt that an answer belongs to: the newest one when the answer's step began. */
  parentID?: string;
  cost?: number;
  tokens?: WireMessage['tokens'];
  structured?: unknown;
  /** True if opencode ended the message with an error. */
  failed: boolean;
  error?: RunError;
  /** True for the summary that a compaction writes. */
  summary?: true;
  parts: WirePart[];
}

/** The error of a message or of a `session.error` event. */
export function readError(value: unknown): RunError {
  const { data } = namedError.safeParse(value);
  if (!data) return { name: 'UnknownError', message: '' };
  const { message = '', statusCode, isRetryable } = data.data ?? {};
  return {
    name: data.name,
    message,
    ...(statusCode !== undefined && { statusCode }),
    ...(isRetryable !== undefined && { isRetryable }),
  };
}

/** The messages that have a readable shape, oldest first. */
export function readMessages(
  values: readonly unknown[],
  skipped?: () => void,
): TranscriptMessage[] {
  return values.flatMap((value) => {
    const parsed = messageWithParts.safeParse(value);
    if (!parsed.success) {
      skipped?.();
      return [];
    }
    const { info, parts } = parsed.data;
    return [{ ...trim(info), parts: parts.flatMap((raw) => part.safeParse(raw).data ?? []) }];
  });
}

function trim(info: WireMessage): Omit<TranscriptMessage, 'parts'> {
  const model = modelOf(info);
  return {
    id: info.id,
    role: info.role,
    failed: info.error !== undefined && info.error !== null,
    ...(info.error !== undefined && info.error !== null && { error: readError(info.error) }),
    ...(info.parentID !== undefined && { parentID: info.parentID }),
    ...(info.cost !== undefined && { cost: info.cost }),
    ...(info.tokens !== undefined && { tokens: info.tokens }),
    ...(info.structured !== undefined &&
      info.structured !== null && { structured: info.structured }),
    ...(info.summary === true && { summary: true as const }),
    ...(info.time?.created !== undefined && { created: info.time.created }),
    ...(info.time?.completed !== undefined && { completed: info.time.completed }),
    ...(info.finish !== undefined && { finish: info.finish }),
    ...(model !== undefined && { model }),
    ...(info.agent !== undefined && { agent: info.agent }),
  };
}

/** True while the model is being asked: the message has begun, and has neither finished nor failed. */
export function isAsking(info: WireMessage): boolean {
  return (
    info.role === 'assistant' &&
    info.time?.completed === undefined &&
    info.finish === undefined &&
    (info.error === undefined || info.error === null)
  );
}

/** The tool call of a running part. Its start in the server's time becomes a time on the observed clock. */
export function runningTool(
  value: WirePart,
  at: number,
  epochNow: number,
): RunningTool | undefined {
  if (value.type !== 'tool' || value.state?.status !== 'running' || !value.callID) return undefined;
  const { time, metadata } = value.state;
  const childID = metadata?.sessionId ?? metadata?.sessionID;
  return {
    callID: value.callID,
    tool: value.tool ?? 'unknown',
    // The server's clock may be ahead of ours, but a tool never starts in the future.
    startedAt: time?.start === undefined ? at : at - Math.max(0, epochNow - time.start),
    ...(childID !== undefined && { childID }),
  };
}

export interface TranscriptState {
  tools: RunningTool[];
  /** The last message is the user's: no assistant message has begun yet. */
  preparing: boolean;
  /** The answer under way is a compaction's summary. */
  compacting: boolean;
  /** Since when a part of the answer has been under way, on the observed clock. */
  answeringSince?: number;
  model?: string;
  mark: string;
}

export function transcriptState(
  messages: readonly TranscriptMessage[],
  at: number,
  epochNow: number,
): TranscriptState {
  const last = messages.findLast(({ role }) => role === 'assistant');
  // A compaction may have a model of its own.
  const model = messages.findLast((item) => item.model !== undefined && !item.summary)?.model;
  const answeringSince = last && answering(last, at, epochNow);
  return {
    tools: last?.parts.flatMap((item) => runningTool(item, at, epochNow) ?? []) ?? [],
    preparing: messages.at(-1)?.role === 'user',
    compacting: last?.summary === true && last.completed === undefined && !last.failed,
    ...(answeringSince !== undefined && { answeringSince }),
    ...(model !== undefined && { model }),
    mark: markOf(messages),
  };
}

/**
 * Since when text, reasoning or a tool's input has been written. opencode reports this only by deltas. The transcript
 * shows an empty part, and the whole of it only at its end (seen on 1.18.33).
 */
function answering(
  { parts, completed, failed, created }: TranscriptMessage,
  at: number,
  epochNow: number,
): number | undefined {
  if (completed !== undefined || failed) return undefined;
  const open = parts.find(isUnderWay);
  if (open === undefined) return undefined;
  const start = open.time?.start ?? created;
  return start === undefined ? at : at - Math.max(0, epochNow - start);
}

function isUnderWay({ type, time, state }: WirePart): boolean {
  if (type === 'tool') return state?.status === 'pending';
  const isText = type === 'text' || type === 'reasoning';
  return isText && time?.start !== undefined && time.end === undefined;
}

/** A digest of ids, states, lengths and times: it holds no text, and changes when the transcript does. */
function markOf(messages: readonly TranscriptMessage[]): string {
  const hash = createHash('sha1');
  for (const item of messages) {
    hash.update(
      `${item.id} ${item.completed} ${item.finish} ${item.failed} ${item.parts.length}\n`,
    );
    for (const { id, type, text, state, time } of item.parts) {
      hash.update(
        `${id} ${type} ${text?.length} ${state?.status} ${state?.metadata?.output?.length} ` +
          `${time?.end} ${state?.time?.end}\n`,
      );
    }
  }
  return hash.digest('hex');
}
