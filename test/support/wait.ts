/** Polls until something observable is true: the tests' only way to wait. */
import { measureSlowness } from './slowness.js';

export interface WaitOptions {
  /** What is waited for, in words, for the error message. */
  what?: string;
  /** Milliseconds until the wait fails on a quiet machine. On a slower machine it is longer by the slowness factor. */
  timeout?: number;
  /** Milliseconds between two calls of `look`. */
  interval?: number;
  /** Aborted when there is nothing more to wait for. One more look is taken, then the wait fails with its reason. */
  signal?: AbortSignal;
}

export const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Calls `look` until it returns something truthy, and returns that. If `look` throws, that counts as "not yet". The
 * final error says what was awaited and what was seen last.
 */
export async function waitFor<T>(
  look: () => T | Promise<T>,
  { what = 'a condition', timeout = 30_000, interval = 50, signal }: WaitOptions = {},
): Promise<NonNullable<T>> {
  const began = Date.now();
  let limit = timeout;
  let last: unknown;
  for (;;) {
    const isLast = signal?.aborted;
    try {
      const value = await look();
      if (value) return value;
      last = value;
    } catch (error) {
      last = error;
    }
    if (isLast) throw signal?.reason;
    // Measured only now: a wait that ends in time costs nothing.
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
