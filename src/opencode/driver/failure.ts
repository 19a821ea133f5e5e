/** Explains why a run ended without a reply, so that the reader knows what to do next. */
import type { DriverApi } from '../driver-api.js';
import { explainMissing } from './catalog.js';
import { DriverError, firstLine } from './error.js';
import { parseModel } from './model.js';
import type { RunEnd } from './run.js';
import { fileChanges, type Message, type RunError } from './transcript.js';

/** Why a prompt that was accepted may never begin (facts, section 14). */
export const NOT_BEGUN =
  "A plugin's hook may hang, or the server is overloaded: its own log tells which.";
const UNAUTHORIZED = new Set([401, 403]);

export interface FailureContext {
  client: DriverApi;
  directory: string | undefined;
  /** `provider/model`. */
  model: string | undefined;
}

export async function failureOf(
  end: Exclude<RunEnd, { kind: 'reply' }>,
  context: FailureContext,
): Promise<DriverError> {
  switch (end.kind) {
    case 'failed':
      return explain(end.error, context);
    case 'empty':
      return emptyReply(end.message, end.messages);
    case 'truncated':
      return truncated(end.message, end.messages);
    case 'stopped':
      return new DriverError(
        'run_failed',
        'the run ended after a tool call without a reply: a permission or question was answered no.',
      );
    case 'superseded':
      return new DriverError(
        'run_failed',
        'another prompt was sent into the run, which answered that one and not this: send one prompt at a time.',
      );
    case 'aborted':
      return new DriverError('run_failed', `the run ${BY_ANOTHER}`);
    case 'cut':
      return new DriverError(
        'run_failed',
        'the run was cut and never finished: the server was restarted, or failed inside.',
        { cut: true },
      );
    case 'nothing':
      return (
        (await missingModel(context)) ??
        new DriverError(
          'run_failed',
          `the prompt was taken, and nothing followed: no answer was begun, and no error told. ${NOT_BEGUN}`,
        )
      );
  }
}

function emptyReply({ finish, reasoning }: Message, messages: readonly Message[]): DriverError {
  const thought = reasoning.trim() === '' ? '' : ': it thought, and said nothing';
  const words = `no answer (finish "${finish}")${thought}${workWords(messages)}.`;
  const advice = 'Ask again in a new session, or allow it with --allow-empty (allowEmpty).';
  return new DriverError('empty_reply', `${words} ${advice}`, {
    received: textOf(messages),
    ...(finish !== undefined && { finish }),
  });
}

function truncated({ finish }: Message, messages: readonly Message[]): DriverError {
  const where =
    finish === 'length'
      ? 'at the limit of what the model may write'
      : `by the provider (${finish})`;
  return new DriverError(
    'truncated',
    `the answer was cut ${where}${workWords(messages)}. Ask for less at once, take a model with a larger output ` +
      'limit, or allow it with --allow-truncated (allowTruncated).',
    { received: textOf(messages), ...(finish !== undefined && { finish }) },
  );
}

const textOf = (messages: readonly Message[]) =>
  messages
    .map(({ text }) => text)
    .filter((text) => text !== '')
    .join('\n\n');

/** What a run without an answer has nevertheless done. A caller who asks again must know it. */
function workWords(messages: readonly Message[]): string {
  const calls = messages.flatMap(({ tools }) => tools);
  const changes = fileChanges(messages);
  if (changes > 0) return `; ${count(changes, 'file')} changed`;
  return calls.length > 0 ? `; ${count(calls.length, 'tool call')} made` : '';
}

const count = (n: number, noun: string) => `${n} ${noun}${n === 1 ? '' : 's'}`;

const BY_ANOTHER = 'was aborted by someone else: a person, or the watchdog.';

async function explain(error: RunError, context: FailureContext): Promise<DriverError> {
  const { name, statusCode } = error;
  const words = firstLine(error.message) || name;
  const model = context.model === undefined ? {} : { model: context.model };
  const details = { ...model, ...(statusCode !== undefined && { statusCode }) };
  const who = context.model ?? 'the provider';
  if (name === 'MessageAbortedError') {
    return new DriverError('run_failed', `the run ${BY_ANOTHER}`, details);
  }
  const [, missing] = /\bModel (?:not found|unavailable): (\S+?)\.?(?:\s|$)/.exec(words) ?? [];
  if (missing?.includes('/')) {
    return (
      (await missingModel({ ...context, model: missing })) ??
      new DriverError('model_unknown', `${words} "opencode-watchdog models" lists them.`, details)
    );
  }
  if (/^Agent not found/.test(words)) return new DriverError('agent_unknown', words, details);
  const [, missingDirectory] = /NotFound: FileSystem\.realPath \((.+)\)/.exec(words) ?? [];
  if (missingDirectory !== undefined) {
    return new DriverError(
      'run_failed',
      `the machine of the server has no directory ${missingDirectory}: give --directory a path that is there.`,
      details,
    );
  }
  if (name === 'ProviderAuthError' || (statusCode !== undefined && UNAUTHORIZED.has(statusCode))) {
    const code = statusCode === undefined ? '' : ` (${statusCode})`;
    return new DriverError(
      'provider_failed',
      `${who} refuses the credentials${code}: ${words}. "opencode auth login" renews them; no retry will help.`,
      details,
    );
  }
  if (name === 'MessageOutputLengthError') {
    const said = `the answer was cut at the limit of what the model may write: ${words}.`;
    return new DriverError('truncated', said, { ...details, finish: 'length' });
  }
  if (name === 'APIError') {
    const answered = statusCode === undefined ? 'failed' : `answered ${statusCode}`;
    return new DriverError('provider_failed', `${who} ${answered}: ${words}.`, details);
  }
  return new DriverError('run_failed', `opencode ended the run: ${words}.`, details);
}

/** The explanation if the model is missing; undefined if the model exists, or cannot be looked up. */
async function missingModel({
  client,
  directory,
  model,
}: FailureContext): Promise<DriverError | undefined> {
  if (model === undefined) return undefined;
  try {
    const known = await client.catalog(directory);
    if (known?.models.some(({ id }) => id === model)) return undefined;
    return await explainMissing(client, parseModel(model), known);
  } catch {
    // The failure itself is reported. Why it cannot be explained better is not.
    return undefined;
  }
}
