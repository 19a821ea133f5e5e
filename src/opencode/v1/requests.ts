/** What the readers of opencode 1.x need from its client, so that they do not import the client, which imports them. */
import type { SessionStatus } from '../../watchdog/observation.js';
import type { ParseStats } from '../parse-stats.js';
import type { OwnedRequest, SessionSummary } from '../server-api.js';
import type { TranscriptMessage } from './transcript.js';

export interface V1Requests {
  readonly parseStats: ParseStats;
  isMissingRoute(error: unknown): boolean;
  statuses(
    directory: string | undefined,
    signal?: AbortSignal,
  ): Promise<Map<string, SessionStatus>>;
  session(
    sessionID: string,
    directory?: string,
    signal?: AbortSignal,
  ): Promise<SessionSummary | null>;
  messages(
    sessionID: string,
    directory: string | undefined,
    limit?: number,
    signal?: AbortSignal,
  ): Promise<TranscriptMessage[]>;
  permissions(directory?: string, signal?: AbortSignal): Promise<OwnedRequest[]>;
  questions(directory?: string, signal?: AbortSignal): Promise<OwnedRequest[]>;
}
