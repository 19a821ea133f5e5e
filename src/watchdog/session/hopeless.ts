/**
 * Which failing requests no waiting mends: a spent quota, an account without credit.
 *
 * The words for that count only where nobody names a near time. A provider with a quota for each minute also says
 * "You exceeded your current quota", and heals in seconds (facts, section 13). A time is named by the text ("Please
 * retry in 6s"), or by a header; of the header only opencode's `next` is seen, and it tells where it is another time
 * than opencode's own backoff would give.
 */
import type { Episode } from './state.js';

/** Plain rate limits are not among them. */
const SPENT = new RegExp(
  [
    'insufficient[ _](credit|balance|quota|funds)',
    'credit balance|out of credits?|no (more )?credits|credits? (are |is |have been )?(exhausted|required)|add (more )?credits',
    'usage (limit )?(is |has been )?(exhausted|reached|exceeded)|(reached|hit|exceeded) (your|the|its) ([\\w-]+ ){0,2}usage limit',
    'free usage exceeded',
    'quota (is |has been |was )?(exceeded|exhausted|reached)|(exceeded|exhausted|reached) (your|the) ([\\w-]+ ){0,2}quota',
    '(daily|weekly|monthly|spend|spending|billing)[ _-]([\\w-]+[ _-]){0,2}(limit|quota|cap|budget)\\b',
    '(limit|quota|cap|budget) (for|of|per) (this |the |a )?(day|week|month)\\b',
    'payment required|billing (hard )?limit|subscription (has )?(expired|ended)',
  ].join('|'),
  'i',
);

/** What a quota is called that is full again within the minute. */
const SHORT_QUOTA =
  /\bper[ _-]?(second|minute)|(Second|Minute)s?Per|Per(Second|Minute)|\b[rt]p[ms]\b/;

/** "retry in 6s", "try again in 1m30.5s", "wait 20 seconds", "resets in 2 minutes", "Retry-After: 30". */
const NAMED =
  /\b(?:re-?try(?:ing)?|try (?:it |this )?again|again|wait|resets?|reset|available|retry ?delay)\b[^\d\n]{0,40}?((?:\d+(?:\.\d+)?\s*(?:ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)(?![a-z])[\s,]*(?:and\s+)?)+)/i;
const RETRY_AFTER = /\bretry[-_ ]after["']?\s*[:=]?\s*["']?(\d+(?:\.\d+)?)(?!\s*[\w.])/i;
const PART = /(\d+(?:\.\d+)?)\s*(ms|milli|s|m|h|d)/gi;

const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  milli: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** opencode's own backoff: 2 s, doubling, with up to a quarter on top; 30 s at most where no header came (facts, section 13). */
const FIRST_BACKOFF_MS = 2_000;
const JITTER = 1.25;
const MAX_BACKOFF_MS = 30_000;
/** A time on the wire is read with the machines' own delays: so much more is no other time. */
const READING_MS = 250;
/** ... and so much less of it. */
const LATE = 0.85;

/** True where no retry can succeed, as far as words can tell. */
export function isHopeless(episode: Episode): boolean {
  if (episode.named !== undefined) return false;
  return episode.needsPerson || (SPENT.test(episode.message) && !SHORT_QUOTA.test(episode.message));
}

/**
 * How long the provider itself asks to wait before this attempt is repeated, ms; undefined where it names no time.
 * @param waitMs from the failure to opencode's `next`; undefined where opencode did not say
 * @param before it named one earlier in this episode: then also a time that is sooner than opencode's own is a named one
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
  // A poll reads a wait late: one that is sooner may be opencode's own, unless the provider is known to name times.
  if (before && waitMs < LATE * Math.min(least, MAX_BACKOFF_MS)) return waitMs;
  const upTo = (own: number) => waitMs <= own + READING_MS;
  const isCapped = upTo(Math.min(least * JITTER, MAX_BACKOFF_MS));
  // With headers that name no time, older versions go on doubling.
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
