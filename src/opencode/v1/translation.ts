/** What a translator of opencode 1.x's events is given, and what it makes of one. */
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

/** What an event says of one session; undefined where it has not the shape that its type asks for. */
export interface Translation {
  sessionID: string;
  said: Said[];
}
