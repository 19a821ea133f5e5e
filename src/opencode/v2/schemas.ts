/**
 * The shapes of OpenCode 2's answers and events, as far as they are read (opencode-2-facts). Unknown keys are ignored,
 * and a broken optional field counts as absent: patch releases bring new ones.
 */
import * as z from 'zod';
import type { Spent } from '../../watchdog/observation.js';
import { bounded } from '../http/errors.js';
import { MAX_PATH_CHARS } from '../monitor/directories.js';
import { amount } from '../token-counts.js';

const maybe = <T extends z.ZodType>(schema: T) => schema.optional().catch(undefined);
const words = (max: number) => z.string().transform((text) => bounded(text, max));
const path = z.string().max(MAX_PATH_CHARS);

export const id = z.string().regex(/^[\w-]{1,256}$/);
const name = words(200);
const number = z.number();

/** `GET /api/info`; the body is the same with each status (section 2). */
export const info = z.object({ version: z.string().max(100), pid: maybe(number) });

const tokens = z.object({
  input: maybe(amount),
  output: maybe(amount),
  reasoning: maybe(amount),
  cache: maybe(z.object({ read: maybe(amount), write: maybe(amount) })),
});
export type WireTokens = z.infer<typeof tokens>;

const place = z.object({ directory: maybe(path) });

/** A model as the wire names it (section 8). */
const modelRef = z.object({ id: name, providerID: name, variant: maybe(name) });

/** Of a session; absent if it was never chosen. */
export const chosenModel = z.object({ data: z.object({ model: maybe(modelRef) }) });

/** `provider/model` of `{id, providerID}`. */
const model = modelRef.transform((ref) => `${ref.providerID}/${ref.id}`);

export const error = z.object({
  type: words(60),
  message: words(300).catch(''),
  status: maybe(number),
});
export type WireError = z.infer<typeof error>;

/** In the newest assistant message: the retry that it waits for. */
const retry = z.object({
  attempt: z.number().max(1_000_000),
  at: number,
  error: maybe(error),
});
export type WireRetry = z.infer<typeof retry>;

export const session = z.object({
  id,
  parentID: maybe(id),
  title: maybe(words(300)),
  location: maybe(place),
  metadata: maybe(z.record(z.string(), z.unknown())),
  cost: maybe(amount),
  tokens: maybe(tokens),
  time: maybe(z.object({ created: maybe(number), updated: maybe(number) })),
});
export type WireSession = z.infer<typeof session>;

export const data = <T extends z.ZodType>(schema: T) => z.object({ data: schema });
export const anyList = z.object({
  data: z.array(z.unknown()),
  /** Present if there are more (section 4.1). */
  cursor: maybe(z.object({ next: maybe(z.string()) })),
});
export const active = data(z.record(z.string(), z.unknown()));

export const request = z.object({
  id,
  sessionID: id,
  source: maybe(z.object({ messageID: id, id })),
});

const content = z.object({
  type: z.string(),
  id: maybe(id),
  name: maybe(name),
  text: maybe(z.string()),
  state: maybe(
    z.object({
      status: z.string(),
      /** Read only to show it to a person. */
      input: z.unknown().optional(),
      error: maybe(error),
      metadata: maybe(z.object({ sessionID: maybe(id) })),
    }),
  ),
  time: maybe(z.object({ created: maybe(number), ran: maybe(number), completed: maybe(number) })),
});
export type WireContent = z.infer<typeof content>;

export const message = z.object({
  id,
  type: z.string(),
  model: maybe(model),
  agent: maybe(name),
  /** In a compaction: `running`, `completed`, `failed`. */
  status: maybe(name),
  /** In an `idle` message, which closes a turn: `succeeded`, `failed`, `interrupted`. */
  outcome: maybe(name),
  /** In a person's prompt, and in what opencode adds itself. */
  text: maybe(z.string()),
  /** The summary that a compaction has written. */
  summary: maybe(z.string()),
  files: maybe(z.array(z.object({ name: maybe(z.string()) }))),
  /** What a program stored with its prompt. */
  metadata: maybe(z.record(z.string(), z.unknown())),
  finish: maybe(name),
  error: maybe(error),
  cost: maybe(amount),
  tokens: maybe(tokens),
  retry: maybe(retry),
  content: z
    .array(z.unknown())
    .catch([])
    .transform((items) => items.flatMap((item) => content.safeParse(item).data ?? [])),
  time: maybe(z.object({ created: maybe(number), completed: maybe(number) })),
});
export type WireMessage = z.infer<typeof message>;

/** The frame of an event (section 3.2). */
export const envelope = z.object({
  type: z.string(),
  location: maybe(place),
  data: z.unknown().optional(),
});

/** Everything that is read from the data of any event. One schema is enough, as the names mean the same everywhere. */
export const eventData = z.object({
  sessionID: maybe(id),
  parentID: maybe(id),
  title: maybe(words(300)),
  location: maybe(place),
  inboxID: maybe(id),
  item: maybe(
    z.object({
      type: z.string(),
      payload: maybe(z.object({ metadata: maybe(z.record(z.string(), z.unknown())) })),
    }),
  ),
  reason: maybe(name),
  error: maybe(error),
  assistantMessageID: maybe(id),
  agent: maybe(name),
  model: maybe(model),
  finish: maybe(name),
  cost: maybe(amount),
  tokens: maybe(tokens),
  id: maybe(id),
  requestID: maybe(id),
  name: maybe(name),
  text: maybe(z.string()),
  delta: maybe(z.string()),
  ordinal: maybe(number),
  input: z.unknown().optional(),
  content: z.unknown().optional(),
  metadata: maybe(z.object({ sessionID: maybe(id) })),
  attempt: maybe(z.number().max(1_000_000)),
  at: maybe(number),
  /** What a permission is asked for. */
  action: maybe(name),
  form: maybe(
    z.object({
      id,
      sessionID: id,
      title: maybe(words(120)),
      fields: maybe(z.array(z.object({ title: maybe(words(120)) }))),
    }),
  ),
});
export type EventData = z.infer<typeof eventData>;

export function tokenTotal({ input = 0, output = 0, reasoning = 0, cache }: WireTokens): number {
  return input + output + reasoning + (cache?.read ?? 0) + (cache?.write ?? 0);
}

/** The session's totals, including its title and compaction calls (section 9). */
export function spentOf(of: {
  cost?: number | undefined;
  tokens?: WireTokens | undefined;
}): Spent | undefined {
  if (of.cost === undefined && of.tokens === undefined) return undefined;
  return { costUsd: of.cost ?? 0, tokens: of.tokens === undefined ? 0 : tokenTotal(of.tokens) };
}

/** `GET /api/location`; it is not certain whether the answer is wrapped (section 4.1). */
export const location = z.object({
  directory: maybe(path),
  data: maybe(z.object({ directory: path })),
});
