/** Hours of the day in which only urgent news is sent, `22:00-07:00` in local time. */

const FORM = /^([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)$/;
const DAY_MINUTES = 24 * 60;

export function isQuietHours(text: string): boolean {
  return FORM.test(text);
}

/** @returns ms until the quiet hours end; 0 outside of them */
export function quietFor(hours: string, epochMs: number): number {
  const [, fromHour, fromMinute, toHour, toMinute] = FORM.exec(hours) ?? [];
  const from = Number(fromHour) * 60 + Number(fromMinute);
  const to = Number(toHour) * 60 + Number(toMinute);
  const at = new Date(epochMs);
  const now = at.getHours() * 60 + at.getMinutes();
  const since = (now - from + DAY_MINUTES) % DAY_MINUTES;
  const length = (to - from + DAY_MINUTES) % DAY_MINUTES;
  return since < length ? (length - since) * 60_000 : 0;
}
