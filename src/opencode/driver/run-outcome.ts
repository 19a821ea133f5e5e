/** Reads from the transcript of a run at rest how the run ended. Pure. */
import type { Message, RunError } from './transcript.js';

/** A finished run: its last answer, and all of its answers. */
interface Finished {
  message: Message;
  messages: readonly Message[];
}

export type RunOutcome =
  | ({ kind: 'reply' } & Finished)
  /** The model stopped by itself, and its last answer says nothing. */
  | ({ kind: 'empty' } & Finished)
  /** The last answer was cut: at the model's limit of output, or by the provider's filter. */
  | ({ kind: 'truncated' } & Finished)
  | { kind: 'failed'; error: RunError }
  /** The model called a tool and was not asked again: a person said no. */
  | { kind: 'stopped' }
  /** The run was ended from outside, and no error was written (an abort in retry, seen on 1.18.33). */
  | { kind: 'aborted' }
  /** An answer was begun and never ended: the server was restarted, or the end is not written yet. */
  | { kind: 'cut' }
  /** The run took in a later prompt of somebody else, and answered only that one. */
  | { kind: 'superseded' }
  /** No answer was begun. */
  | { kind: 'nothing' };

/** Finish reasons of an answer that is not complete. */
const CUT_SHORT: ReadonlySet<string> = new Set(['length', 'content-filter']);

/** The messages of the newest run: those after `since`, or after the last prompt if `since` is not known. */
export function newestRun(
  messages: readonly Message[],
  since: string | undefined,
): readonly Message[] {
  const known = since === undefined ? -1 : messages.findIndex(({ id }) => id === since);
  const from = known >= 0 ? known : messages.findLastIndex(isPrompt);
  const later = messages.slice(from + 1);
  const synthetic = new Set(later.filter((each) => each.synthetic).map(({ id }) => id));
  return later.filter((each) => !(synthetic.has(each.parentID ?? '') && isPersonsCommand(each)));
}

/**
 * A command that a person ran in the session (`!git status` in the TUI). opencode 1.x writes it as the answer to a
 * synthetic prompt, without a finish; no model was asked, so it is no step of a run.
 */
function isPersonsCommand({ completed, finish, error, text, tools }: Message): boolean {
  const [tool] = tools;
  return (
    completed !== undefined &&
    finish === undefined &&
    error === undefined &&
    text.trim() === '' &&
    tools.length === 1 &&
    tool?.tool === 'bash' &&
    (tool.status === 'completed' || tool.status === 'error')
  );
}

/**
 * A prompt is from a person or a program. What opencode itself writes after a compaction belongs to the current run.
 */
export const isPrompt = ({ role, synthetic }: Message) => role === 'user' && synthetic !== true;

/**
 * Finds our own prompt by its mark. If the server keeps no marks, it is the first prompt after `since` with our words.
 */
export function ownPrompt(
  messages: readonly Message[],
  { mark, text }: OwnWords,
  since: string | undefined,
): string | undefined {
  const known = since === undefined ? -1 : messages.findIndex(({ id }) => id === since);
  const prompts = messages.slice(known + 1).filter(isPrompt);
  const marked = prompts.find((each) => each.mark === mark);
  return (
    marked ?? prompts.find((each) => each.mark === undefined && each.text.endsWith(text.trim()))
  )?.id;
}

export interface OwnWords {
  mark: string;
  text: string;
}

export interface OwnRun {
  messages: readonly Message[];
  /** Our prompt, and those that opencode itself wrote for its run. */
  prompts: ReadonlySet<string>;
  /** Prompts of others that came after ours. */
  followers: readonly Message[];
}

/**
 * The answers to one prompt: those that name it, and those that name a prompt of opencode's own in its run (after a
 * compaction).
 */
export function runOf(messages: readonly Message[], own: string): OwnRun {
  const prompts = new Set([own]);
  const followers: Message[] = [];
  const answers: Message[] = [];
  // A long run's prompt may be older than the messages that were read, but its answers still name it.
  for (const each of messages.slice(messages.findIndex(({ id }) => id === own) + 1)) {
    if (isPrompt(each)) followers.push(each);
    else if (each.role === 'user') {
      if (followers.length === 0) prompts.add(each.id);
    } else if (each.parentID === undefined) {
      // Old servers do not say which prompt an answer belongs to.
      if (followers.length === 0) answers.push(each);
    } else if (prompts.has(each.parentID)) {
      if (each.parentID === own || !isPersonsCommand(each)) answers.push(each);
    }
  }
  return { messages: answers, prompts, followers };
}

export function outcomeOf(messages: readonly Message[]): RunOutcome {
  const all = messages.filter(({ role }) => role === 'assistant');
  const failed = all.at(-1)?.error;
  if (failed) return { kind: 'failed', error: failed };
  const answers = all.filter(({ summary }) => summary !== true);
  const last = answers.at(-1);
  if (!last) return { kind: 'nothing' };
  if (last.error) return { kind: 'failed', error: last.error };
  const finished = { message: last, messages: answers };
  // An answer that follows a schema ends with a call of opencode's own tool for that (facts, section 11).
  if (last.structured !== undefined && last.completed !== undefined) {
    return { kind: 'reply', ...finished };
  }
  if (last.finish === 'tool-calls') {
    return last.completed === undefined ? { kind: 'cut' } : { kind: 'stopped' };
  }
  if (last.finish !== undefined) {
    if (CUT_SHORT.has(last.finish)) return { kind: 'truncated', ...finished };
    return { kind: last.text.trim() === '' ? 'empty' : 'reply', ...finished };
  }
  return last.completed === undefined ? { kind: 'cut' } : { kind: 'aborted' };
}
