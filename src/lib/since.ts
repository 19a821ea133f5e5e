/** A moment as people write it: a time, or how long ago. */

const UNIT_MS: Readonly<Record<string, number>> = {
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** No Date is further from the epoch (ECMA-262, "Time Values and Time Range"). */
const MOST_EPOCH_MS = 8.64e15;

/**
 * @returns epoch ms; undefined if the text is neither a time (ISO 8601; without a zone it is local) nor like `90m`,
 * `12h`, `2d`, or if no Date goes back that far
 */
export function sinceTime(text: string, now: number): number | undefined {
  const [, amount = '', unit = ''] = /^(\d+(?:\.\d+)?)(s|m|h|d)$/.exec(text.trim()) ?? [];
  const ago = amount === '' ? Number.NaN : now - Number(amount) * (UNIT_MS[unit] ?? 0);
  const time = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : ago;
  return Math.abs(time) <= MOST_EPOCH_MS ? time : undefined;
}
