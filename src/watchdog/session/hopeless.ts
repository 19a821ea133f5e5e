/**
 * Recognises failing requests that waiting does not mend: a spent quota, an account without credit.
 *
 * Such words count only if no near time is named. A provider with a quota for each minute also says "You exceeded your
 * current quota", and recovers in seconds (facts, section 13). A time is named by the text ("Please retry in 6s") or by
 * a header. Of a header only opencode's `next` can be seen: it shows a header if it differs from the time that
 * opencode's own backoff would give.
 */
import type { Episode } from './state.js';

/**
 * Words for a spent quota or credit. Plain rate limits are not among them. What may stand between them is bounded:
 * anybody may have written the text.
 */
const SPENT = new RegExp(
  [
    'insufficient[ _](credit|balance|quota|funds)',
    'credit balance|out of credits?|no (more )?credits|credits? (are |is |have been )?(exhausted|required)|add (more )?credits',
    'usage (limit )?(is |has been )?(exhausted|reached|exceeded)|(reached|hit|exceeded) (your|the|its) ([\\w-]{1,30} ){0,2}usage limit',
    'free usage exceeded',
    'quota (is |has been |was )?(exceeded|exhausted|reached)|(exceeded|exhausted|reached) (your|the) ([\\w-]{1,30} ){0,2}quota',
    '(daily|weekly|monthly|spend|spending|billing)[ _-]([\\w-]{1,30}[ _-]){0,2}(limit|quota|cap|budget)\\b',
    '(limit|quota|cap|budget) (for|of|per) (this |the |a )?(day|week|month)\\b',
    'payment required|billing (hard )?limit|subscription (has )?(expired|ended)',
  ].join('|'),
  'i',
);

/** Words for a quota that is full again within the minute. */
const SHORT_QUOTA =
  /\bper[ _-]?(second|minute)|(Second|Minute)s?Per|Per(Second|Minute)|\b[rt]p[ms]\b/;

/** "retry in 6s", "try again in 1m30.5s", "wait 20 seconds", "resets in 2 minutes", "Retry-After: 30". */
const NAMED =
  /\b(?:re-?try(?:ing)?|try (?:it |this )?again|again|wait|resets?|reset|available|retry ?delay)\b[^\d\n]{0,40}?((?:\d+(?:\.\d+)?\s*(?:ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)(?![a-z])[\s,]*(?:and\s+)?)+)/i;
const RETRY_AFTER = /\bretry[-_ ]after["']?\s{0,8}[:=]?\s{0,8}["']?(\d+(?:\.\d+)?)(?!\s*[\w.])/i;
const PART = /(\d+(?:\.\d+)?)\s*(ms|milli|s|m|h|d)/gi;

const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  milli: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/**
 * opencode's own backoff: 2 s, doubling, with up to a quarter on top; at most 30 s if no header came (facts, section
 * 13).
 */
const FIRST_BACKOFF_MS = 2_000;
const JITTER = 1.25;
const MAX_BACKOFF_MS = 30_000;
/** A time from the wire is read with a delay, so a wait may look up to this much (ms) longer than it is. */
const READING_MS = 250;
/**
 * For the same reason a wait may look shorter: down to this share of opencode's own wait, it still counts as its own.
 */
const LATE = 0.85;

/** Returns true if no retry can succeed, as far as the words show. */
export function isHopeless(episode: Episode): boolean {
  if (episode.named !== undefined) return false;
  return episode.needsPerson || (SPENT.test(episode.message) && !SHORT_QUOTA.test(episode.message));
}

/**
 * How long the provider itself asks to wait before this attempt is repeated, ms; undefined if it names no time.
 * @param waitMs time from the failure to opencode's `next`; undefined if opencode did not say
 * @param before the provider named a time earlier in this episode: then a wait shorter than opencode's own counts as
 * named too
 */
export function namedWait(
  attempt: number,
  message: string,
  waitMs: number | undefined,
  before = false,
): number | undefined {
  const said = namedInText(message);
  if (said !== undefined) return Math.max(said, waitMs ?? 0);
  if (waitMs === undefined) return undefined;
  const least = FIRST_BACKOFF_MS * 2 ** (attempt - 1);
  // A poll reads a wait late. So a shorter wait may be opencode's own, unless the provider is known to name times.
  if (before && waitMs < LATE * Math.min(least, MAX_BACKOFF_MS)) return waitMs;
  const upTo = (own: number) => waitMs <= own + READING_MS;
  const isCapped = upTo(Math.min(least * JITTER, MAX_BACKOFF_MS));
  // If the headers name no time, older versions go on doubling.
  const isDoubled = waitMs >= least / 2 && upTo(least * JITTER);
  return isCapped || isDoubled ? undefined : waitMs;
}

/** The time that a text names, ms. */
export function namedInText(text: string): number | undefined {
  const [, duration] = NAMED.exec(text) ?? [];
  if (duration !== undefined) {
    let ms = 0;
    for (const [, number, unit = ''] of duration.matchAll(PART)) {
      ms += Number(number) * (UNIT_MS[unit.toLowerCase()] ?? 0);
    }
    return ms;
  }
  const [, seconds] = RETRY_AFTER.exec(text) ?? [];
  return seconds === undefined ? undefined : Number(seconds) * 1_000;
}
