/**
 * What the watchdog learns of a session from the server's own record of it. What a program has stored with the session
 * (its metadata) is content: it stays out of observations, and so out of recordings.
 */
import type { SessionInfo } from '../watchdog/observation.js';
import type { SessionSummary } from './server-api.js';

export const infoOf = ({
  directory,
  title,
  parentID,
  spent,
  ageMs,
}: SessionSummary): SessionInfo => ({
  ...(directory !== undefined && { directory }),
  ...(title !== undefined && { title }),
  ...(parentID !== undefined && { parentID }),
  ...(spent !== undefined && { spent }),
  ...(ageMs !== undefined && { ageMs }),
});
