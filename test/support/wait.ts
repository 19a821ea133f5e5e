/** Polling until something observable is true: the tests' only way of waiting. */

export interface WaitOptions {
  /** What is waited for, in words: the error's subject. */
  what?: string;
  /** Milliseconds until giving up. */
  timeout?: number;
  /** Milliseconds between two looks. */
  interval?: number;
}

export const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Looks until `look` returns something truthy, and returns that. A throwing look counts as "not
 * yet"; the final error names what was awaited and what was seen last.
 */
export async function waitFor<T>(
  look: () => T | Promise<T>,
  { what = 'a condition', timeout = 30_000, interval = 50 }: WaitOptions = {},
): Promise<NonNullable<T>> {
  const deadline = Date.now() + timeout;
  let last: unknown;
  for (;;) {
    try {
      const value = await look();
      if (value) return value;
      last = value;
    } catch (error) {
      last = error;
    }
    if (Date.now() >= deadline) break;
    await pause(interval);
  }
  throw new Error(`waited ${timeout} ms for ${what}; last seen: ${show(last)}`, {
    cause: last instanceof Error ? last : undefined,
  });
}

function show(value: unknown): string {
  if (value instanceof Error) return String(value);
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 1000 ? `${text.slice(0, 1000)}…` : text;
}
