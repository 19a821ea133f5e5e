/**
 * Finds a passage that is repeated again and again at the end of a text, as by a model that is caught in a loop. Pure.
 */

/** A shorter passage may well repeat: zeros, table rules, list markers (contract, `loop.maxTextRepeats`). */
const MIN_PASSAGE_CHARS = 200;
/** A passage with fewer different words is a table or data, whose rows may well repeat. */
const MIN_WORDS = 12;
/**
 * End of a text that is searched for repeats. It holds twenty passages of some thousand characters. At the limit: what
 * is before is ignored.
 */
export const MAX_TAIL_CHARS = 64 * 1024;

/** @returns how many times in a row the passage at the text's end stands there; 1 if nothing repeats */
export function repeatsAtEnd(text: string): number {
  const reversed = [...text.slice(-MAX_TAIL_CHARS)].reverse();
  const matches = selfMatches(reversed);
  let most = 1;
  for (let length = MIN_PASSAGE_CHARS; length * 2 <= reversed.length; length += 1) {
    const repeats = Math.floor((matches[length] ?? 0) / length) + 1;
    // A passage that repeats is found again at each multiple of its length. Only the shortest length counts.
    if (repeats <= most || isShortRepeated(length, matches)) continue;
    // Only now is the passage copied: of a text of one character, every length would be.
    if (isProse(reversed.slice(0, length))) most = repeats;
  }
  return most;
}

/** Whether a passage of this length at the end is itself only a shorter one, repeated. */
function isShortRepeated(length: number, matches: readonly number[]): boolean {
  for (let shorter = 1; shorter < MIN_PASSAGE_CHARS; shorter += 1) {
    if (length % shorter === 0 && (matches[shorter] ?? 0) >= length - shorter) return true;
  }
  return false;
}

function isProse(reversedPassage: readonly string[]): boolean {
  const words =
    [...reversedPassage]
      .reverse()
      .join('')
      .match(/\p{L}{2,}/gu) ?? [];
  // In scripts without spaces between words, a passage is one long word.
  return (
    new Set(words).size >= MIN_WORDS || words.some((word) => word.length >= MIN_PASSAGE_CHARS / 4)
  );
}

/** The Z-function: for each shift, how many characters of the shifted text equal those of the text (Gusfield, 1997). */
function selfMatches(text: readonly string[]): number[] {
  const matches = new Array<number>(text.length).fill(0);
  let left = 0;
  let right = 0;
  for (let at = 1; at < text.length; at += 1) {
    let length = at < right ? Math.min(right - at, matches[at - left] ?? 0) : 0;
    while (at + length < text.length && text[length] === text[at + length]) length += 1;
    matches[at] = length;
    if (at + length > right) {
      left = at;
      right = at + length;
    }
  }
  return matches;
}
