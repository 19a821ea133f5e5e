/** A session's messages as the driver reads them: with their text, errors and tools, and as text or Markdown. */
import * as z from 'zod';
import type { OpencodeClient } from '../v1/client.js';
import { id, modelOf, message as wireMessage } from '../v1/schemas.js';

const maybe = <T extends z.ZodType>(schema: T) => schema.optional().catch(undefined);

const part = z.object({
  type: z.string(),
  text: maybe(z.string()),
  /** Made by opencode, not by a person or the model. */
  synthetic: maybe(z.boolean()),
  tool: maybe(z.string()),
  filename: maybe(z.string()),
  reason: maybe(z.string()),
  time: maybe(z.object({ end: maybe(z.number()) })),
  state: maybe(z.object({ status: z.string(), title: maybe(z.string()) })),
});
type Part = z.infer<typeof part>;

const errorShape = z.object({
  name: z.string(),
  data: maybe(
    z.object({
      message: maybe(z.string()),
      statusCode: maybe(z.number()),
      isRetryable: maybe(z.boolean()),
    }),
  ),
});

const info = wireMessage.extend({
  id,
  cost: maybe(z.number()),
  tokens: maybe(z.object({ input: z.number(), output: z.number(), reasoning: maybe(z.number()) })),
});
const wire = z.object({ info, parts: z.array(z.unknown()).catch([]) });

export interface RunError {
  name: string;
  message: string;
  statusCode?: number;
}

export interface Message {
  id: string;
  role: string;
  /** Epoch ms. */
  created?: number;
  completed?: number;
  /** Why the model stopped: `stop`, `tool-calls`, `length`. */
  finish?: string;
  model?: string;
  agent?: string;
  error?: RunError;
  text: string;
  reasoning: string;
  tools: { tool: string; status: string; title?: string }[];
  /** Names of the files that came with it. */
  files: string[];
  tokens?: { input: number; output: number; reasoning: number };
  cost?: number;
}

/** The last `limit` messages, oldest first; all of them without a limit. */
export async function readTranscript(
  client: OpencodeClient,
  sessionID: string,
  directory: string | undefined,
  { limit, signal, timeoutMs }: { limit?: number; signal?: AbortSignal; timeoutMs?: number } = {},
): Promise<Message[]> {
  const answer = z.array(z.unknown()).safeParse(
    await client.raw({
      path: `/session/${encodeURIComponent(sessionID)}/message`,
      query: { directory, limit },
      signal,
      timeoutMs,
    }),
  );
  const values = answer.data ?? [];
  // Old servers know no limit.
  const wanted = limit === undefined ? values : values.slice(-limit);
  return wanted.flatMap((value) => readMessage(value) ?? []);
}

export function readMessage(value: unknown): Message | undefined {
  const parsed = wire.safeParse(value);
  if (!parsed.success) return undefined;
  const { info: head } = parsed.data;
  const parts = parsed.data.parts.flatMap((raw) => part.safeParse(raw).data ?? []);
  const model = modelOf(head);
  const finish = head.finish ?? parts.findLast(({ type }) => type === 'step-finish')?.reason;
  const error = readError(head.error);
  const { tokens } = head;
  return {
    id: head.id,
    role: head.role,
    ...(head.time?.created !== undefined && { created: head.time.created }),
    ...(head.time?.completed !== undefined && { completed: head.time.completed }),
    ...(finish !== undefined && { finish }),
    ...(model !== undefined && { model }),
    ...(head.agent !== undefined && { agent: head.agent }),
    ...(error && { error }),
    text: joined(parts, 'text'),
    reasoning: joined(parts, 'reasoning'),
    tools: parts.flatMap(({ type, tool, state }) =>
      type === 'tool'
        ? [
            {
              tool: tool ?? 'unknown',
              status: state?.status ?? 'unknown',
              ...(state?.title && { title: state.title }),
            },
          ]
        : [],
    ),
    files: parts.flatMap(({ type, filename }) => (type === 'file' ? [filename ?? 'a file'] : [])),
    ...(tokens && { tokens: { ...tokens, reasoning: tokens.reasoning ?? 0 } }),
    ...(head.cost !== undefined && { cost: head.cost }),
  };
}

/** The error of a message or of a `session.error` event. */
export function readError(value: unknown): RunError | undefined {
  if (value === undefined || value === null) return undefined;
  const { data } = errorShape.safeParse(value);
  if (!data) return { name: 'UnknownError', message: '' };
  return {
    name: data.name,
    message: data.data?.message ?? '',
    ...(data.data?.statusCode !== undefined && { statusCode: data.data.statusCode }),
  };
}

/** A text that was cut off with its attempt never gets an end; the attempt that worked wrote its own. */
function joined(parts: readonly Part[], type: 'text' | 'reasoning'): string {
  const own = parts.filter((each) => each.type === type && each.text && !each.synthetic);
  const ended = own.filter(({ time }) => time?.end !== undefined);
  return (ended.length > 0 ? ended : own).map(({ text }) => text).join('\n\n');
}

export type TranscriptForm = 'text' | 'markdown';

export function renderTranscript(messages: readonly Message[], form: TranscriptForm): string {
  return messages.map((each) => renderMessage(each, form)).join('\n\n');
}

function renderMessage(message: Message, form: TranscriptForm): string {
  const { role, model, text, tools, files, error } = message;
  const who = role === 'assistant' && model ? `assistant (${model})` : role;
  const lines = [
    ...files.map((name) => `file: ${name}`),
    ...tools.map(({ tool, status, title }) => `${tool}: ${status}${title ? ` (${title})` : ''}`),
    ...(error ? [`error: ${error.name} ${error.message.split('\n', 1)[0]}`.trimEnd()] : []),
  ];
  if (form === 'markdown') {
    const items = lines.map((line) => `- ${line}`).join('\n');
    return [`## ${who}`, text, items].filter((block) => block !== '').join('\n\n');
  }
  return [`${who}:`, ...[text, ...lines].filter((line) => line !== '')].join('\n');
}
