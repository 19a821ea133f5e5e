/** The known name that an unknown one was probably meant to be. */
import { distance } from 'fastest-levenshtein';

/**
 * Compares the whole path and its last segment, both without case, so that it finds a typing error as well as a right
 * name under the wrong parent. A match of the segment costs one more, so that of two equal ones the nearer path wins.
 *
 * @param separator what stands between the segments: `.` of a key, `/` of a model's name
 */
export function suggest(
  name: string,
  known: Iterable<string>,
  separator: '.' | '/' = '.',
): string | undefined {
  // Levenshtein's distance is quadratic, and no real name is longer than this.
  const wanted = name.toLowerCase().slice(0, 200);
  const last = (path: string) => path.slice(path.lastIndexOf(separator) + 1);
  let best: { name: string; score: number } | undefined;
  for (const candidate of known) {
    const lower = candidate.toLowerCase();
    const score = Math.min(distance(wanted, lower), distance(last(wanted), last(lower)) + 1);
    if (best === undefined || score < best.score) best = { name: candidate, score };
  }
  return best?.name;
}
