/**
 * The shapes of opencode's answers, as far as they are read. Unknown keys are ignored, and a broken optional field
 * counts as absent: versions differ, and one odd field must not hide the rest from the watchdog.
 */
import * as z from 'zod';
import type { Spent } from '../../watchdog/observation.js';
import { bounded } from '../http/errors.js';
import { MAX_PATH_CHARS } from '../monitor/directories.js';
import { amount } from '../token-counts.js';

/** Reads as undefined both what is absent and what has another shape. */
const maybe = <T extends z.ZodType>(schema: T) => schema.optional().catch(undefined);

/**
 * An id (session, request, call, message). Ids are about 30 characters; the bound keeps a broken server from filling
 * maps with huge keys. At the limit: what carries it is dropped as unparseable.
 */
export const MAX_ID_CHARS = 256;
export const id = z.string().min(1).max(MAX_ID_CHARS);
const path = z.string().max(MAX_PATH_CHARS);
/**
 * A session's title. opencode makes titles of at most 100 characters; people may give longer ones. At the limit: it
 * is cut.
 */
export const MAX_TITLE_CHARS = 300;
/** The name of a model, provider, agent or tool. At the limit: it is cut. */
export const MAX_NAME_CHARS = 200;
/**
 * Milliseconds since the epoch: from 2001 (a smaller value is in another unit) to the last moment that a Date can hold.
 */
const MIN_EPOCH_MS = 1e12;
const MAX_EPOCH_MS = 8.64e15;
export const epochMs = z.number().min(MIN_EPOCH_MS).max(MAX_EPOCH_MS);
/**
 * opencode's attempt counter. opencode tries every 30 s at most, so this is a year of attempts. At the limit: the
 * counter is taken as absent.
 */
export const MAX_ATTEMPT = 1_000_000;
export const attempt = z.number().max(MAX_ATTEMPT);
const words = (max: number) => z.string().transform((text) => bounded(text, max));
const name = words(MAX_NAME_CHARS);
export const toolName = name;

export const health = z.object({ healthy: z.literal(true), version: maybe(z.string().max(100)) });

/** `GET /path`: `state` and `config` show that the answer is opencode's. */
export const paths = z.object({
  directory: path.min(1),
  state: z.string(),
  config: z.string(),
});

export const statuses = z.record(z.string(), z.unknown());

/** What opencode counted for a step or a session. */
const tokens = z.object({
  input: maybe(amount),
  output: maybe(amount),
  reasoning: maybe(amount),
  cache: maybe(z.object({ read: maybe(amount), write: maybe(amount) })),
});

export const session = z.object({
  id,
  directory: maybe(path),
  parentID: maybe(id),
  title: maybe(words(MAX_TITLE_CHARS)),
  /** What a program stored with the session when it was made (1.18). */
  metadata: maybe(z.record(z.string(), z.unknown())),
  cost: maybe(amount),
  tokens: maybe(tokens),
  time: maybe(
    z.object({
      created: maybe(z.number()),
      updated: maybe(z.number()),
      compacting: maybe(z.number()),
    }),
  ),
});
export type WireSession = z.infer<typeof session>;

export const list = z.array(z.unknown());

/** `tool` is the call that the request holds up; absent if it holds up none, or if the version does not tell. */
export const pending = z.object({
  id,
  sessionID: id,
  tool: maybe(z.object({ messageID: id, callID: id })),
});
export const pendingQuestion = z.object({ id, questions: z.array(z.unknown()).catch([]) });

/** A user message has `agent` and `model`; an assistant message has `modelID` and `providerID`. */
export const message = z.object({
  id,
  sessionID: maybe(id),
  role: z.string(),
  parentID: maybe(id),
  agent: maybe(name),
  modelID: maybe(name),
  providerID: maybe(name),
  model: maybe(z.object({ providerID: name, modelID: name })),
  finish: maybe(name),
  cost: maybe(amount),
  tokens: maybe(tokens),
  /** `true` on the assistant message of a compaction; an object on every user message. */
  summary: z.unknown().optional(),
  /** What the model answered to a prompt with a `format` (facts, section 11). */
  structured: z.unknown().optional(),
  error: z.unknown().optional(),
  time: maybe(z.object({ created: maybe(z.number()), completed: maybe(z.number()) })),
});
export type WireMessage = z.infer<typeof message>;

const toolState = z.object({
  status: z.string(),
  input: z.unknown().optional(),
  output: maybe(z.string()),
  error: maybe(z.string()),
  title: maybe(z.string()),
  time: maybe(z.object({ start: maybe(epochMs), end: maybe(z.number()) })),
  /**
   * The task tool names its subagent's session here: `sessionId` today, `sessionID` just in case. A tool that edits
   * puts the file's diff here.
   */
  metadata: maybe(
    z.object({
      sessionId: maybe(id),
      sessionID: maybe(id),
      output: maybe(z.string()),
      diff: maybe(z.string()),
    }),
  ),
});

export const part = z.object({
  id: maybe(id),
  sessionID: maybe(id),
  messageID: maybe(id),
  type: z.string(),
  callID: maybe(id),
  tool: maybe(name),
  text: maybe(z.string()),
  /** opencode wrote this text of a user's message itself, for example to go on after a compaction. */
  synthetic: maybe(z.boolean()),
  filename: maybe(z.string()),
  /** What a program stored with a part of its prompt. */
  metadata: maybe(z.record(z.string(), z.unknown())),
  state: maybe(toolState),
  /** In a `step-finish`: why the model stopped, and what the step cost. */
  reason: maybe(name),
  cost: maybe(amount),
  tokens: maybe(tokens),
  /** In a `compaction`: true if nobody asked for it. */
  auto: maybe(z.boolean()),
  attempt: maybe(attempt),
  error: z.unknown().optional(),
  time: maybe(z.object({ start: maybe(z.number()), end: maybe(z.number()) })),
});
export type WirePart = z.infer<typeof part>;

export const messageWithParts = z.object({ info: message, parts: z.array(z.unknown()).catch([]) });

/** The named errors of `session.error` and of retry parts. */
export const namedError = z.object({
  name: z.string(),
  data: maybe(
    z.object({
      message: maybe(z.string()),
      statusCode: maybe(z.number()),
      isRetryable: maybe(z.boolean()),
    }),
  ),
});

export const directoryDisposed = z.object({ directory: maybe(path) });

/** All tokens that opencode counted: input, output, reasoning and cache. */
export function tokenTotal(counted: z.infer<typeof tokens>): number {
  const { input = 0, output = 0, reasoning = 0, cache } = counted;
  return input + output + reasoning + (cache?.read ?? 0) + (cache?.write ?? 0);
}

/** opencode's own total for a session (facts, section 11); undefined if it is not told. */
export function spentOf({ cost, tokens: counted }: WireSession): Spent | undefined {
  if (cost === undefined && counted === undefined) return undefined;
  return { costUsd: cost ?? 0, tokens: counted === undefined ? 0 : tokenTotal(counted) };
}

/** `provider/model` of a message of either role. */
export function modelOf(info: WireMessage): string | undefined {
  const provider = info.providerID ?? info.model?.providerID;
  const model = info.modelID ?? info.model?.modelID;
  return provider !== undefined && model !== undefined ? `${provider}/${model}` : undefined;
}
