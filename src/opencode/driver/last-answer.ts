/** Finds the answer of a session that another prompt takes along. Half an answer is none. Pure. */
import { DriverError, firstLine } from './error.js';
import { newestRun, outcomeOf, type RunOutcome } from './run-outcome.js';
import type { Message } from './transcript.js';

/** The reply of the session's newest run. @throws DriverError `usage` that says why there is none */
export function lastAnswer(sessionID: string, messages: readonly Message[]): string {
  const outcome = outcomeOf(newestRun(messages, undefined));
  if (outcome.kind !== 'reply') {
    const says = `the session ${sessionID} has no answer to take along${whyNone(outcome)}.`;
    throw new DriverError('usage', says, { sessionID });
  }
  const { text, structured } = outcome.message;
  return text.trim() === '' ? JSON.stringify(structured) : text;
}

function whyNone(outcome: Exclude<RunOutcome, { kind: 'reply' }>): string {
  switch (outcome.kind) {
    case 'failed':
      return `: its last run failed (${firstLine(outcome.error.message)})`;
    case 'empty':
      return ': its last answer is empty';
    case 'truncated':
      return `: its last answer was cut (${outcome.message.finish})`;
    case 'aborted':
      return ': its last run was aborted';
    case 'stopped':
    case 'cut':
      return ': its last run goes on, or ended without one';
    case 'nothing':
      return ': its last prompt, if there was one, has no answer';
    case 'superseded':
      return '';
  }
}
