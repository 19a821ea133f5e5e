/**
 * Finds runaways: runs that are active but make no headway. Pure data and functions; the limits are `loop` of the
 * policy.
 *
 * What is counted, and the similar but healthy case that is not (docs/rules.md, "Loops"):
 * - empty steps: a step with content ends the row;
 * - repeated steps: another input, another result, or a tool that took some time (a poll) ends the row;
 * - compactions: a long session compacts every few dozen steps, a loop every one or two;
 * - the same passage at the end of an answer, as samples of the stream show it;
 * - runs that a program begins right after each other: reported only, as a program that prompts fast looks the same.
 */
import type { LoopKind } from '../decision.js';
import type { FinishedStep } from '../observation.js';
import type { Policy } from '../policy.js';

/**
 * Steps of the longest cycle that is looked for. See the contract, `loop.maxRepeats`. At the limit: a longer cycle is
 * not found.
 */
const MAX_CYCLE = 4;
/** Tools that took this long (ms) make a step a poll: it waits for something (contract, `loop.maxRepeats`). */
const POLL_MS = 5_000;
/**
 * Finished steps between two compactions. See the contract, `loop.maxCompactions`. At the limit: the compaction has
 * helped, and the count starts again.
 */
const MAX_STEPS_BETWEEN_COMPACTIONS = 2;
/**
 * Runs that begin later than this (ms) after the end of the last one come from a person or a schedule (contract,
 * `loop.maxRuns`).
 */
const RUN_GAP_MS = 2_000;
/** Runs of one session are counted over this time, ms (contract, `loop.maxRuns`). */
const RUNS_WINDOW_MS = 5 * 60_000;
/** Starts of runs remembered of one session. `loop.maxRuns` is far below. At the limit: the oldest is forgotten. */
export const MAX_RUN_STARTS = 1_000;

export interface Loop {
  kind: LoopKind;
  count: number;
  limit: number;
  tool?: string;
}

/** What one run's steps have shown so far. */
export interface StepHistory {
  emptySteps: number;
  /** The fingerprints of the last `MAX_CYCLE` steps, newest last; undefined for a step that repeats nothing. */
  recent: (string | undefined)[];
  /** For each cycle length from 1: how many steps in a row equal the one that many steps before. */
  matches: number[];
  /** The tool of the newest step. */
  tool: string | undefined;
  /** Automatic compactions in a row. */
  compactions: number;
  stepsSinceCompaction: number;
  /** How often the last passage of the answer under way stands there back to back, at the last sample. */
  textRepeats: number;
}

export function newStepHistory(): StepHistory {
  return {
    emptySteps: 0,
    recent: [],
    matches: Array.from({ length: MAX_CYCLE }, () => 0),
    tool: undefined,
    compactions: 0,
    stepsSinceCompaction: Number.POSITIVE_INFINITY,
    textRepeats: 0,
  };
}

export function stepFinished(history: StepHistory, step: FinishedStep): void {
  // The compaction itself is counted elsewhere, and its summary is no work between two of them.
  if (step.summary) return;
  history.emptySteps = step.empty ? history.emptySteps + 1 : 0;
  history.stepsSinceCompaction += 1;
  history.textRepeats = 0;
  history.tool = step.tool;
  const isPoll = (step.toolMs ?? 0) >= POLL_MS;
  const fingerprint = isPoll ? undefined : step.fingerprint;
  const { recent } = history;
  for (let length = 1; length <= MAX_CYCLE; length += 1) {
    const isSame = fingerprint !== undefined && recent.at(-length) === fingerprint;
    history.matches[length - 1] = isSame ? (history.matches[length - 1] ?? 0) + 1 : 0;
  }
  recent.push(fingerprint);
  if (recent.length > MAX_CYCLE) recent.shift();
}

/** An automatic compaction was made. */
export function compacted(history: StepHistory): void {
  const inRow = history.stepsSinceCompaction <= MAX_STEPS_BETWEEN_COMPACTIONS;
  history.compactions = inRow ? history.compactions + 1 : 1;
  history.stepsSinceCompaction = 0;
}

/**
 * The count starts again: a person has said something, which the next steps answer, or steps were not heard, which may
 * have been different.
 */
export function countAnew(history: StepHistory): void {
  Object.assign(history, newStepHistory());
}

/** How often the newest step, or the cycle that it ends, was seen in a row; 0 if nothing repeats. */
function repeats(history: StepHistory): number {
  let most = 0;
  for (const [index, matching] of history.matches.entries()) {
    if (matching > 0) most = Math.max(most, Math.floor(matching / (index + 1)) + 1);
  }
  return most > 1 ? most : 0;
}

/** A loop is shown when it is half way to its limit, before anything is done about it. */
const LOOPING_SHARE = 0.5;

export function isLooping(history: StepHistory, policy: Policy['loop']): boolean {
  const loop = nearestLoop(history, policy);
  return loop !== undefined && loop.count >= loop.limit * LOOPING_SHARE;
}

/** The loop that is closest to its limit (`count / limit`); undefined if nothing repeats or all limits are off. */
export function nearestLoop(history: StepHistory, policy: Policy['loop']): Loop | undefined {
  if (policy.action === 'off') return undefined;
  const candidates: Loop[] = [
    { kind: 'empty', count: history.emptySteps, limit: policy.maxEmptySteps },
    {
      kind: 'repeat',
      count: repeats(history),
      limit: policy.maxRepeats,
      ...(history.tool === undefined ? {} : { tool: history.tool }),
    },
    { kind: 'compaction', count: history.compactions, limit: policy.maxCompactions },
    { kind: 'text', count: history.textRepeats, limit: policy.maxTextRepeats },
  ];
  let nearest: Loop | undefined;
  for (const loop of candidates) {
    if (loop.limit === 0 || loop.count === 0) continue;
    if (nearest === undefined || loop.count / loop.limit > nearest.count / nearest.limit)
      nearest = loop;
  }
  return nearest;
}

/** The starts of a session's runs that began right after the end of the run before. */
export interface RunStarts {
  at: number[];
  lastEndedAt: number;
}

/** @returns how many runs of the session began like that within the last five minutes, including this one */
export function runBegan(starts: RunStarts, at: number): number {
  if (at - starts.lastEndedAt >= RUN_GAP_MS) starts.at = [];
  starts.at.push(at);
  while (starts.at.length > MAX_RUN_STARTS || at - (starts.at[0] ?? at) > RUNS_WINDOW_MS)
    starts.at.shift();
  return starts.at.length;
}
