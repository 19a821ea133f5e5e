/** Why a session is stuck or was aborted, in words that fit behind "because of" and in brackets. */
import type { AbortReason } from '../watchdog/decision.js';

export const REASON_WORDS: Readonly<Record<AbortReason, string>> = {
  manual: 'a person’s wish',
  attempts: 'too many attempts',
  duration: 'retrying too long',
  wait: 'a next attempt too far away',
  hopeless: 'an error that no retry can mend',
  silence: 'silence',
  tool_time: 'a tool running too long',
  run_time: 'a run lasting too long',
  waiting: 'a request left unanswered',
  loop: 'going round in circles',
  budget: 'a budget that is spent',
  ghost: 'a run that outlived its deleted session',
  pileup: 'a pile-up',
};

/** A log from another version may have a reason that is unknown here. It is shown as it is, but with spaces. */
export function reasonWords(reason: string): string {
  return Object.hasOwn(REASON_WORDS, reason)
    ? REASON_WORDS[reason as AbortReason]
    : reason.replaceAll('_', ' ');
}
