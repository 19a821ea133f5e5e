/** Reads one session's status off the wire, in every spelling that opencode and its documents use (facts, section 5). */
import { z } from 'zod';
import type { SessionStatus } from '../watchdog/observation.js';
import { bounded } from './errors.js';

/** How much of a provider's error text is kept. */
export const MAX_MESSAGE_CHARS = 300;
/** Names of unknown status types kept, so that a broken server cannot fill memory. */
const MAX_UNKNOWN_TYPES = 32;
const MAX_TYPE_CHARS = 60;

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
    if (this.#types.has(type) || this.#types.size >= MAX_UNKNOWN_TYPES) return;
    this.#types.add(type);
    this.onUnknownStatus?.(bounded(type, MAX_TYPE_CHARS));
  }
}

const wireStatus = z.object({
  type: z.string(),
  attempt: z.number().optional().catch(undefined),
  message: z.string().optional().catch(undefined),
  next: z.number().optional().catch(undefined),
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
        ...(next !== undefined && { nextInMs: Math.max(0, next - epochNow) }),
        // 1.14-1.15 send `action: null`: nobody is asked.
        ...(typeof action === 'object' && action !== null && { needsPerson: true }),
      };
    default:
      oddities?.unknownStatus(type);
      return { type: 'busy' };
  }
}
