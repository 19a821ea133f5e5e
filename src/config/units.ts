/**
 * Durations (`500ms`, `30s`, `5m`, `2h`, `1d`) and sizes (`512MiB`, `4GiB`) as people write them, to numbers and back.
 * A bare number is milliseconds, or bytes: in code and in recordings. People write durations with a unit
 * (`missingUnit`).
 */

const DURATION_UNITS: Readonly<Record<string, number>> = {
  d: 86_400_000,
  h: 3_600_000,
  m: 60_000,
  s: 1_000,
  ms: 1,
};

const SIZE_UNITS: Readonly<Record<string, number>> = {
  GiB: 1024 ** 3,
  MiB: 1024 ** 2,
  KiB: 1024,
  GB: 1000 ** 3,
  MB: 1000 ** 2,
  KB: 1000,
  B: 1,
};

/** Milliseconds, or undefined if the text is not a duration. */
export function parseDuration(value: unknown): number | undefined {
  return parseQuantity(value, DURATION_UNITS);
}

/**
 * The message about a duration that a person wrote as a bare number. Undefined if it has a unit, is 0 or is not a
 * number. Nobody means 60 ms by `60`, so a number below 1000 is read as seconds. From 1000 on it is read as
 * milliseconds, as 0.1 did.
 */
export function missingUnit(value: unknown): string | undefined {
  const text = typeof value === 'number' ? String(value) : value;
  if (typeof text !== 'string' || !/^\d+(\.\d+)?$/.test(text.trim())) return undefined;
  const amount = Number(text);
  if (amount === 0) return undefined;
  const ms = amount >= 1_000 ? amount : amount * 1_000;
  return `a duration with its unit: say ${formatDuration(Math.round(ms))}`;
}

/** Bytes, or undefined if the text is not a size. */
export function parseSize(value: unknown): number | undefined {
  return parseQuantity(value, SIZE_UNITS);
}

/** Exact, in the unit that people use: 90000 is `90s`, 60000 is `60s`, 7200000 is `2h`, 0 is `0`. */
export function formatDuration(ms: number): string {
  // A single unit is written in the next smaller one (`60s`, `60m`), as in the contract. But 1 s is `1s`.
  return formatQuantity(
    ms,
    DURATION_UNITS,
    (amount, unit) => amount > 1 || unit === 's' || unit === 'ms',
  );
}

/** Exact, in the largest unit that fits: 4294967296 is `4GiB`. */
export function formatSize(bytes: number): string {
  return formatQuantity(bytes, SIZE_UNITS, () => true);
}

function parseQuantity(value: unknown, units: Readonly<Record<string, number>>) {
  if (typeof value === 'number') return checked(value);
  if (typeof value !== 'string') return undefined;
  const match = /^(\d+(?:\.\d+)?)\s*([a-zA-Z]*)$/.exec(value.trim());
  if (match === null) return undefined;
  const [, amount = '', unit = ''] = match;
  if (unit === '') return checked(Number(amount));
  const factor = Object.hasOwn(units, unit) ? units[unit] : undefined;
  // Rounded, because 0.1s is not exactly 100 in binary fractions.
  return factor === undefined ? undefined : checked(Math.round(Number(amount) * factor));
}

function checked(amount: number): number | undefined {
  return Number.isSafeInteger(amount) && amount >= 0 ? amount : undefined;
}

/** The units are listed from the largest on, so the first that divides exactly and is wanted gives the form. */
function formatQuantity(
  amount: number,
  units: Readonly<Record<string, number>>,
  isWanted: (amount: number, unit: string) => boolean,
): string {
  if (amount === 0) return '0';
  for (const [unit, factor] of Object.entries(units)) {
    if (amount % factor === 0 && isWanted(amount / factor, unit))
      return `${amount / factor}${unit}`;
  }
  return String(amount);
}
