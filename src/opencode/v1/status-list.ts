/** Reads the answer of `/session/status`: every session of a directory that is not idle (facts, section 5). */
import type { SessionStatus } from '../../watchdog/observation.js';
import type { ParseStats } from '../parse-stats.js';
import { id } from './schemas.js';
import { readStatus } from './status.js';

/**
 * Entries of one status poll. No server has this many sessions at work; at 200 bytes each they are 10 MB. At the limit:
 * the whole poll fails, because the rest would seem idle.
 */
export const MAX_STATUS_ENTRIES = 50_000;

const UNKNOWN: SessionStatus = Object.freeze({ type: 'unknown' });

export type StatusList =
  | { kind: 'read'; statuses: Map<string, SessionStatus> }
  | { kind: 'too_large'; entries: number };

/** `answer`: what the schema `statuses` has accepted. An entry whose key cannot be an id is left out. */
export function readStatuses(
  answer: Readonly<Record<string, unknown>>,
  epochNow: number,
  parseStats?: ParseStats,
): StatusList {
  const ids = Object.keys(answer);
  if (ids.length > MAX_STATUS_ENTRIES) return { kind: 'too_large', entries: ids.length };
  const statuses = new Map<string, SessionStatus>();
  for (const sessionID of ids) {
    if (!id.safeParse(sessionID).success) continue;
    // Idle sessions are absent (facts, section 5), so one whose entry cannot be read is not idle.
    const status = readStatus(answer[sessionID], epochNow, parseStats) ?? UNKNOWN;
    // Some documents list idle ones. Whoever reads the list takes each that is in it for active.
    if (status.type !== 'idle') statuses.set(sessionID, status);
  }
  return { kind: 'read', statuses };
}
