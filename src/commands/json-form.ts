/** What `--json` prints: times as ISO 8601, durations and sizes as whole numbers (docs/json.md). */

/** Keys that hold a moment as ms since the epoch, here and in what opencode says. */
const MOMENTS: ReadonlySet<string> = new Set([
  'since',
  'toolSince',
  'nextAt',
  'parkedUntil',
  'waitingSince',
  'quietSince',
  'runSince',
  'endedAt',
  'next',
  'created',
  'updated',
  'completed',
  'start',
  'end',
  'compacting',
  'archived',
]);
/** Keys whose items are pairs: a moment, and what was so from then on. */
const SERIES: ReadonlySet<string> = new Set(['states', 'memory']);
/** The year 2001: no duration is as long, and no moment of a session is earlier. */
const LEAST_EPOCH_MS = 1_000_000_000_000;
/** The last moment that ISO 8601 can write with a year of four digits. */
const MOST_EPOCH_MS = 253_402_300_799_999;

export function jsonForm(value: unknown, key = ''): unknown {
  // A model's answer in a form that the caller chose stays as it is.
  if (key === 'structured') return value;
  if (typeof value === 'number') return numberForm(value, key);
  if (Array.isArray(value)) {
    return value.map((item: unknown) =>
      SERIES.has(key) && Array.isArray(item)
        ? item.map((part: unknown, at) => jsonForm(part, at === 0 ? 'since' : ''))
        : jsonForm(item, key),
    );
  }
  if (typeof value !== 'object' || value === null) return value;
  // Errors and dates know their own form.
  if ('toJSON' in value && typeof value.toJSON === 'function') {
    return jsonForm((value.toJSON as () => unknown)(), key);
  }
  return Object.fromEntries(
    Object.entries(value).map(([name, child]) => [name, jsonForm(child, name)]),
  );
}

function numberForm(value: number, key: string): unknown {
  if (MOMENTS.has(key) && value >= LEAST_EPOCH_MS && value <= MOST_EPOCH_MS) {
    return new Date(value).toISOString();
  }
  return /(Ms|Bytes)$/.test(key) && Number.isFinite(value) ? Math.round(value) : value;
}
