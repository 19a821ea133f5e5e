/** What the transcript of a run at rest says of its end. Pure. */
import type { Message, RunError } from './transcript.js';

export type Verdict =
  | { kind: 'reply'; message: Message; messages: readonly Message[] }
  | { kind: 'failed'; error: RunError }
  /** The model called a tool and was not asked again: a person said no. */
  | { kind: 'stopped' }
  /** Ended from outside, without a word (an abort in retry, seen on 1.18.33). */
  | { kind: 'aborted' }
  /** Begun and never ended: the server was restarted, or the end is still to be written. */
  | { kind: 'cut' }
  /** No answer was begun. */
  | { kind: 'nothing' };

/** The messages of the newest run: what came after `since`, or, where that is not known, after the last prompt. */
export function newestRun(
  messages: readonly Message[],
  since: string | undefined,
): readonly Message[] {
  const known = since === undefined ? -1 : messages.findIndex(({ id }) => id === since);
  const from = known >= 0 ? known : messages.findLastIndex(({ role }) => role === 'user');
  return messages.slice(from + 1);
}

export function judgeRun(messages: readonly Message[]): Verdict {
  const answers = messages.filter(({ role }) => role === 'assistant');
  const last = answers.at(-1);
  if (!last) return { kind: 'nothing' };
  if (last.error) return { kind: 'failed', error: last.error };
  if (last.finish === 'tool-calls') {
    return last.completed === undefined ? { kind: 'cut' } : { kind: 'stopped' };
  }
  if (last.finish !== undefined) {
    // The last step may have nothing to add to what an earlier one said.
    const message = answers.findLast(({ text }) => text !== '') ?? last;
    return { kind: 'reply', message, messages: answers };
  }
  return last.completed === undefined ? { kind: 'cut' } : { kind: 'aborted' };
}
