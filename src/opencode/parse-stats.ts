/** Counts what could not be read in a server's answers, so that a change of opencode's formats is noticed. */
import { bounded } from './http/errors.js';

/**
 * Names of unknown status types that are reported. A broken server must not fill the memory. At the limit: further ones
 * count as busy and are not reported.
 */
export const MAX_UNKNOWN_TYPES = 32;
/** The name of an unknown status type. At the limit: it is cut. */
export const MAX_TYPE_CHARS = 60;

export class ParseStats {
  /** Events or entries that did not have the shape that their type requires. */
  unparseable = 0;
  /** Called once for each unknown status type. */
  onUnknownStatus: ((type: string) => void) | undefined;
  readonly #types = new Set<string>();

  unknownStatus(type: string): void {
    if (this.#types.size >= MAX_UNKNOWN_TYPES) return;
    const name = bounded(type, MAX_TYPE_CHARS);
    if (this.#types.has(name)) return;
    this.#types.add(name);
    this.onUnknownStatus?.(name);
  }
}
