/** What a session waits for or fails on just now, to be shown to people. */
import type { StuckReason } from '../decision.js';
import type { RequestKind } from '../observation.js';
import type { Session } from './state.js';

export interface Detail {
  /** How long the tool has been running, ms. */
  toolForMs?: number;
  /** What opencode says about the retry. */
  message?: string;
  nextInMs?: number;
  reason?: StuckReason;
  waitingFor?: RequestKind;
  /** How long it has waited for that, ms. */
  waitingForMs?: number;
  /** How long the run has lasted, ms. */
  runForMs?: number;
  /** The run's own finished steps, without those of its subagents. */
  steps?: number;
  /** Calls that changed a file. */
  filesChanged?: number;
}

export function detail({ run }: Session, at: number): Detail {
  if (run === undefined) return {};
  const tool = run.tools.values().next().value;
  const request = run.requests.values().next().value;
  const { episode, abortFlow } = run;
  return {
    ...(tool === undefined ? {} : { toolForMs: Math.max(0, at - tool.startedAt) }),
    ...(episode === undefined ? {} : { message: episode.message }),
    ...(episode?.nextAt === undefined || run.status !== 'retry'
      ? {}
      : { nextInMs: Math.max(0, episode.nextAt - at) }),
    ...(abortFlow === undefined ? {} : { reason: abortFlow.reason }),
    ...(request === undefined
      ? {}
      : { waitingFor: request.on, waitingForMs: Math.max(0, at - request.since) }),
    runForMs: Math.max(0, at - run.startedAt),
    steps: run.totals.steps,
    ...(run.totals.fileChanges > 0 && { filesChanged: run.totals.fileChanges }),
  };
}
