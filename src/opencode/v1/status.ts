/** Reads one session's status, in every spelling that opencode and its documents use (facts, section 5). */
import * as z from 'zod';
import type { SessionStatus } from '../../watchdog/observation.js';
import { bounded } from '../http/errors.js';
import type { ParseStats } from '../parse-stats.js';
import { attempt, epochMs } from './schemas.js';

/** The message of a retry or an error. At the limit: it is cut. */
export const MAX_MESSAGE_CHARS = 300;
/** A next attempt further ahead than this (a year) cannot be meant, and its time is ignored. */
const MAX_AHEAD_MS = 365 * 24 * 60 * 60_000;
const wireStatus = z.object({
  type: z.string(),
  attempt: attempt.optional().catch(undefined),
  message: z.string().optional().catch(undefined),
  next: epochMs.optional().catch(undefined),
  action: z.unknown().optional(),
});

const IDLE: SessionStatus = Object.freeze({ type: 'idle' });
const BUSY: SessionStatus = Object.freeze({ type: 'busy' });

/** The status; undefined if the value is none. An unknown type counts as busy: better watched than overlooked. */
export function readStatus(
  value: unknown,
  epochNow: number,
  parseStats?: ParseStats,
): SessionStatus | undefined {
  const parsed = wireStatus.safeParse(value).data;
  if (!parsed) {
    if (parseStats) parseStats.unparseable += 1;
    return undefined;
  }
  const { type, attempt, message, next, action } = parsed;
  switch (type) {
    case 'idle':
    case 'ready':
      return IDLE;
    case 'busy':
      return BUSY;
    case 'retry': {
      const ahead = next === undefined ? undefined : next - epochNow;
      const status: Extract<SessionStatus, { type: 'retry' }> = {
        type: 'retry',
        attempt: attempt !== undefined && attempt >= 1 ? Math.floor(attempt) : 1,
        message: bounded(message ?? '', MAX_MESSAGE_CHARS),
      };
      if (ahead !== undefined && ahead <= MAX_AHEAD_MS) status.nextInMs = Math.max(0, ahead);
      // 1.14-1.15 send `action: null`, which asks nobody for anything.
      if (typeof action === 'object' && action !== null) status.needsPerson = true;
      return status;
    }
    default:
      parseStats?.unknownStatus(type);
      return BUSY;
  }
}
