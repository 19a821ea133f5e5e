/** Reads one session's status off the wire, in every spelling that opencode and its documents use (facts, section 5). */
import * as z from 'zod';
import type { SessionStatus } from '../watchdog/observation.js';
import { bounded } from './errors.js';
import { attempt, epochMs } from './schemas.js';

/** How much of a provider's error text is kept. */
export const MAX_MESSAGE_CHARS = 300;
/** A next attempt further ahead than this (a year) is no time that anybody meant. */
const MAX_AHEAD_MS = 365 * 24 * 60 * 60_000;
/** Names of unknown status types kept, so that a broken server cannot fill memory. */
export const MAX_UNKNOWN_TYPES = 32;
export const MAX_TYPE_CHARS = 60;

/** Counts what could not be read, so that a change of opencode's formats shows. */
export class Oddities {
  /** Events or entries that had not the shape that their type asks for. */
  garbage = 0;
  /** Told of each unknown status type once. */
  onUnknownStatus: ((type: string) => void) | undefined;
  readonly #types = new Set<string>();

  /** Status types never seen before, each once. */
  get unknownStatusTypes(): readonly string[] {
    return [...this.#types];
  }

  unknownStatus(type: string): void {
    if (this.#types.size >= MAX_UNKNOWN_TYPES) return;
    const name = bounded(type, MAX_TYPE_CHARS);
    if (this.#types.has(name)) return;
    this.#types.add(name);
    this.onUnknownStatus?.(name);
  }
}

const wireStatus = z.object({
  type: z.string(),
  attempt: attempt.optional().catch(undefined),
  message: z.string().optional().catch(undefined),
  next: epochMs.optional().catch(undefined),
  action: z.unknown().optional(),
});

/** The status, or undefined for what is none. An unknown type counts as busy: better watched than overlooked. */
export function readStatus(
  value: unknown,
  epochNow: number,
  oddities?: Oddities,
): SessionStatus | undefined {
  const parsed = wireStatus.safeParse(value);
  if (!parsed.success) {
    if (oddities) oddities.garbage += 1;
    return undefined;
  }
  const { type, attempt, message, next, action } = parsed.data;
  switch (type) {
    case 'idle':
    case 'ready':
      return { type: 'idle' };
    case 'busy':
      return { type: 'busy' };
    case 'retry':
      return {
        type: 'retry',
        attempt: attempt !== undefined && attempt >= 1 ? Math.floor(attempt) : 1,
        message: bounded(message ?? '', MAX_MESSAGE_CHARS),
        ...(next !== undefined &&
          next - epochNow <= MAX_AHEAD_MS && { nextInMs: Math.max(0, next - epochNow) }),
        // 1.14-1.15 send `action: null`: nobody is asked.
        ...(typeof action === 'object' && action !== null && { needsPerson: true }),
      };
    default:
      oddities?.unknownStatus(type);
      return { type: 'busy' };
  }
}
