/** What the transcript of a run at rest says of its end. Pure. */
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
  /** Ended from outside, without a word (an abort in retry, seen on 1.18.33). */
  | { kind: 'aborted' }
  /** Begun and never ended: the server was restarted, or the end is still to be written. */
  | { kind: 'cut' }
  /** A later prompt of somebody else was taken into the run, which answered that one alone. */
  | { kind: 'superseded' }
  /** No answer was begun. */
  | { kind: 'nothing' };

/** Finish reasons with which an answer is not whole. */
const CUT_SHORT: ReadonlySet<string> = new Set(['length', 'content-filter']);

/** The messages of the newest run: what came after `since`, or, where that is not known, after the last prompt. */
export function newestRun(
  messages: readonly Message[],
  since: string | undefined,
): readonly Message[] {
  const known = since === undefined ? -1 : messages.findIndex(({ id }) => id === since);
  const from = known >= 0 ? known : messages.findLastIndex(isPrompt);
  return messages.slice(from + 1);
}

/** A person's or a program's words; opencode's own, after a compaction, belong to the run under way. */
const isPrompt = ({ role, synthetic }: Message) => role === 'user' && synthetic !== true;

/**
 * Which prompt is ours: its mark says so; where a server keeps no marks, the first prompt after `since` with our words.
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
  /** Prompts of others that came after ours. */
  followers: readonly Message[];
}

/** The answers to one prompt: those that name it, and those after what opencode itself said in its run (a compaction). */
export function runOf(messages: readonly Message[], own: string): OwnRun {
  const prompts = new Set([own]);
  const followers: Message[] = [];
  const answers: Message[] = [];
  // A long run's prompt may be further back than what was read: its answers name it all the same.
  for (const each of messages.slice(messages.findIndex(({ id }) => id === own) + 1)) {
    if (isPrompt(each)) followers.push(each);
    else if (each.role === 'user') {
      if (followers.length === 0) prompts.add(each.id);
    } else if (each.parentID === undefined) {
      // Old servers do not say whose answer it is.
      if (followers.length === 0) answers.push(each);
    } else if (prompts.has(each.parentID)) answers.push(each);
  }
  return { messages: answers, followers };
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
  // An answer in a given form ends with a call of opencode's own tool for it (facts, section 11).
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
