/** A session's messages as the driver's callers see them (opencode-2-facts, section 4.1). Pure. */
import { METADATA_KEY, type Message, type RunError, type ToolUse } from '../driver-api.js';
import { tokenCounts } from '../token-counts.js';
import type { WireContent, WireError, WireMessage } from './schemas.js';

/** Errors of a provider after which the same request may work later (section 5). */
const RETRYABLE: ReadonlySet<string> = new Set([
  'provider.rate-limit',
  'provider.transport',
  'provider.timeout',
  'provider.internal',
  'provider.unknown',
]);

/** The error in the driver's terms, which come from 1.x. */
export function runError({ type, message, status }: WireError): RunError {
  return {
    name: errorName(type),
    message,
    ...(status !== undefined && { statusCode: status }),
    isRetryable: RETRYABLE.has(type),
  };
}

function errorName(type: string): string {
  if (type === 'aborted') return 'MessageAbortedError';
  if (type === 'provider.auth') return 'ProviderAuthError';
  return type.startsWith('provider.') ? 'APIError' : type;
}

/**
 * The messages of the conversation, oldest first: prompts, answers and compactions. Of the messages that close a turn,
 * only those that show what no answer does: a turn that failed or was interrupted before its first answer.
 *
 * @param newestFirst in the order in which the server lists them
 */
export function readTranscript(newestFirst: readonly WireMessage[]): Message[] {
  const messages: Message[] = [];
  /** The newest prompt: the answers that follow belong to it, as in 1.x. */
  let prompt: string | undefined;
  for (const wire of newestFirst.toReversed()) {
    const { id, type, outcome } = wire;
    if (type === 'idle') {
      const end = endOfTurn(messages.at(-1), outcome, wire);
      if (end) messages.push({ ...end, ...(prompt !== undefined && { parentID: prompt }) });
      continue;
    }
    const message = messageOf(wire);
    if (message === undefined) continue;
    if (type === 'user') prompt = id;
    const isAnswer = message.role === 'assistant' && prompt !== undefined;
    messages.push({ ...message, ...(isAnswer && { parentID: prompt }) });
  }
  return messages;
}

/** An answer in place of the one that never began. */
function endOfTurn(
  last: Message | undefined,
  outcome: string | undefined,
  { id, error, time }: WireMessage,
): Message | undefined {
  if (last?.role !== 'user' || outcome === undefined || outcome === 'succeeded') return undefined;
  const why =
    error === undefined
      ? { name: 'MessageAbortedError', message: outcome, isRetryable: false }
      : runError(error);
  return { ...blank(id, 'assistant', time?.created), error: why };
}

const blank = (id: string, role: string, created: number | undefined): Message => ({
  id,
  role,
  text: '',
  reasoning: '',
  tools: [],
  files: [],
  ...(created !== undefined && { created, completed: created }),
});

function messageOf(wire: WireMessage): Message | undefined {
  const { id, type, text = '', time, metadata, files = [] } = wire;
  const created = time?.created === undefined ? {} : { created: time.created };
  const said = { id, text, reasoning: '', tools: [], files: files.map(fileName), ...created };
  switch (type) {
    case 'user': {
      const mark = metadata?.[METADATA_KEY];
      return { ...said, role: 'user', ...(typeof mark === 'string' && { mark }) };
    }
    case 'synthetic':
      return { ...said, role: 'user', synthetic: true };
    case 'compaction':
      return compaction(wire);
    case 'assistant':
      return answer(wire);
    default:
      // Changes of model, agent or directory, instructions, a person's own commands: not part of the conversation.
      return undefined;
  }
}

const fileName = ({ name }: { name?: string | undefined }) => name ?? 'a file';

function compaction({ id, status, summary = '', time, ...wire }: WireMessage): Message {
  return {
    ...blank(id, 'assistant', undefined),
    ...spent(wire),
    text: summary,
    summary: true,
    ...(time?.created !== undefined && { created: time.created }),
    ...(status === 'completed' && time?.created !== undefined && { completed: time.created }),
  };
}

function answer({ id, content, finish, error, model, agent, time, ...wire }: WireMessage): Message {
  // "error" is not a reason that the model gave: the error itself says more.
  const ended = error === undefined ? finish : undefined;
  return {
    ...blank(id, 'assistant', undefined),
    ...spent(wire),
    text: joined(content, 'text'),
    reasoning: joined(content, 'reasoning'),
    tools: content.flatMap((each) => (each.type === 'tool' ? [toolUse(each)] : [])),
    ...(time?.created !== undefined && { created: time.created }),
    ...(time?.completed !== undefined && { completed: time.completed }),
    ...(ended !== undefined && { finish: ended }),
    ...(error && { error: runError(error) }),
    ...(model !== undefined && { model }),
    ...(agent !== undefined && { agent }),
  };
}

function spent({ cost, tokens }: Pick<WireMessage, 'cost' | 'tokens'>): Partial<Message> {
  return {
    ...(cost !== undefined && { cost }),
    ...(tokens && { tokens: tokenCounts(tokens) }),
  };
}

/** A tool call in the terms of 1.x, where it is `pending` while its argument is being written. */
function toolUse({ name = 'unknown', state }: WireContent): ToolUse {
  const status = state?.status === 'streaming' ? 'pending' : (state?.status ?? 'unknown');
  return { tool: name, status, ...(state?.error && { error: state.error.message }) };
}

function joined(content: readonly WireContent[], of: 'text' | 'reasoning'): string {
  return content.flatMap(({ type, text }) => (type === of && text ? [text] : [])).join('\n\n');
}
