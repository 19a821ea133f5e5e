/** What a translator of opencode 1.x's events gets, and what it returns. */
import type { SessionObservation } from '../../watchdog/observation.js';
import type { ParseStats } from '../parse-stats.js';
import type { StepReader } from './step-reader.js';

/** Distributes over the union, so that each kind keeps its own fields. */
type WithoutPlace<T> = T extends unknown ? Omit<T, 'at' | 'sessionID' | 'directory'> : never;
/** An observation of a session before its time, session and directory are added. */
export type Said = WithoutPlace<Extract<SessionObservation, { sessionID: string }>>;

export interface Context {
  at: number;
  epochNow: number;
  parseStats: ParseStats | undefined;
  steps: StepReader | undefined;
}

/** What an event says about one session; undefined if it does not have the shape that its type requires. */
export interface Translation {
  sessionID: string;
  said: Said[];
}
