/** Polling until something observable is true: the tests' only way of waiting. */
import { measureSlowness } from './slowness.js';

export interface WaitOptions {
  /** What is waited for, in words: the error's subject. */
  what?: string;
  /** Milliseconds until giving up on a quiet machine; a slow one has as many times more as it is slower. */
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
  const began = Date.now();
  let limit = timeout;
  let last: unknown;
  for (;;) {
    try {
      const value = await look();
      if (value) return value;
      last = value;
    } catch (error) {
      last = error;
    }
    // Measured when it matters: a wait that is over in time costs nothing.
    if (Date.now() - began >= limit) {
      limit = timeout * (await measureSlowness());
      if (Date.now() - began >= limit) break;
    }
    await pause(interval);
  }
  throw new Error(`waited ${Date.now() - began} ms for ${what}; last seen: ${show(last)}`, {
    cause: last instanceof Error ? last : undefined,
  });
}

function show(value: unknown): string {
  if (value instanceof Error) return String(value);
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 1000 ? `${text.slice(0, 1000)}…` : text;
}
