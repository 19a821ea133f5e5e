/**
 * What is known of one session and of its run: plain data.
 *
 * All times are on the observed clock, in ms.
 */
import type {
  AbortReason,
  ContinueAct,
  Health,
  LoopKind,
  SessionFields,
  StuckReason,
  WedgedNext,
} from '../decision.js';
import type { AskedBy, PendingRequest, RunningTool, SessionInfo, Spent } from '../observation.js';
import { newStepHistory, type RunStarts, type StepHistory } from './loops.js';

/**
 * From a run's first `retry` to its next finished step, or until it is idle. The `busy` between attempts does not end
 * it.
 */
export interface Episode {
  startedAt: number;
  /** Requests of this step that have failed: opencode's attempt counter, the highest seen. */
  attempts: number;
  message: string;
  /** When the next attempt is due; undefined if opencode did not say. */
  nextAt: number | undefined;
  needsPerson: boolean;
  /** The wait for this attempt, if the provider named a near time for it (`hopeless.ts`). */
  named: { from: number; until: number } | undefined;
  /** When the provider says that it will be back, near or far; undefined if it names no time. */
  backAt?: number | undefined;
  /** How long the episode waited for such named times before this attempt, ms. */
  namedBeforeMs: number;
  /** How often an abort was held back because an attempt was in flight. */
  holds: number;
  /** Text or tools came since the last `retry` status: this attempt may be the one that works. */
  progressed: boolean;
}

export interface Request extends PendingRequest {
  since: number;
  /** We heard it being asked; false if it was found pending and may be older than `since`. */
  heard: boolean;
  /** It was reported that it waits for too long. This is done once. */
  reported: boolean;
  /** The executor was told to reject it, and has not reported that it could not. */
  rejected: boolean;
  /**
   * Before this time nothing more is done about it: a rejection failed, or, where this is infinite, `dryRun` or a pause
   * left it undone.
   */
  notBefore: number;
}

/** What is being done about a stuck run. */
export type AbortFlow =
  /** Decided, but the server cannot be asked just now. */
  | { phase: 'pending'; reason: StuckReason; since: number; tries: number }
  | { phase: 'aborting'; reason: StuckReason; since: number; tries: number; withdrawn: boolean }
  /** Reported but not done, because of `dryRun` or a pause. */
  | { phase: 'left'; reason: StuckReason; since: number; tries: number }
  | {
      phase: 'wedged';
      reason: StuckReason;
      since: number;
      tries: number;
      next: WedgedNext;
      /** A dispose of its directory did not end it. */
      disposed: boolean;
    };

/** An inspection that must confirm a limit which events alone would not prove. */
export interface Inspection {
  state: 'asked' | 'answered' | 'failed';
  at: number;
  failures: number;
}

/** Totals of a run's own finished steps, without those of its subagents. */
export interface RunTotals {
  steps: number;
  tools: number;
  toolErrors: number;
  fileChanges: number;
  hasText: boolean;
  /** Why the model stopped in the last step, in opencode's word. */
  finish: string | undefined;
  /** The first tool of the last step. */
  lastTool: string | undefined;
  /** Tool calls whose end was heard, whether or not a finished step includes them. */
  toolsEnded: number;
}

/** A run that is over, kept until it is known how it ended. */
export interface RunEnd {
  run: Run;
  at: number;
  fields: SessionFields;
  /** We were aborting its parent's run. opencode aborts subagents together with their parent. */
  withParent: boolean;
}

export interface Run {
  startedAt: number;
  /** Where opencode runs it: the directory of the status that named it, else the session's own. */
  directory: string | undefined;
  status: 'busy' | 'retry';
  /** When `status` (or the attempt) last changed. */
  statusAt: number;
  /** The last proof of life that was heard. */
  progressAt: number;
  /** Nothing can have been missed since then, so silence counts from here at the earliest. */
  vouchedSince: number;
  /** Nobody listened when it began, so its beginning has yet to be inspected. */
  unheard: boolean;
  /** The prompt is in, but the model was not asked yet: plugins are being installed, context is being gathered. */
  preparing: boolean;
  compactingSince: number | undefined;
  /** According to the last inspection, a part of the answer has been under way since then. */
  answeringSince: number | undefined;
  /** What its finished steps have shown, for the rules about loops. */
  steps: StepHistory;
  totals: RunTotals;
  /** Some of its events may not have been heard, so what is missing proves nothing. */
  missed: boolean;
  /** Who ended it, if that is known; otherwise its error and its steps decide. */
  endedBy: 'watchdog' | 'restart' | 'dispose' | undefined;
  /** Why the watchdog ended it. */
  endedFor: AbortReason | undefined;
  /** What it has spent, including its subagents. */
  spent: Spent & { steps: number };
  /** One of its steps had a cost, so its model has a price. */
  isPriced: boolean;
  saidBudgets: Set<string>;
  /** The loop that was last reported as near its limit or, if `whole`, as over it. */
  saidLoop: { kind: LoopKind; whole: boolean } | undefined;
  tools: Map<string, RunningTool>;
  requests: Map<string, Request>;
  /** When a request was last answered. An older inspection may still show it as pending. */
  answeredAt: number;
  episode: Episode | undefined;
  error: { name: string; message: string; statusCode?: number } | undefined;
  abortFlow: AbortFlow | undefined;
  /**
   * The reason last reported for being stuck, so that a decision that is held back and taken again is reported once.
   */
  said: StuckReason | undefined;
  inspection: Inspection | undefined;
  /**
   * The transcript's mark at the last inspection, and when it was first seen. While the mark stays the same, nothing
   * happened.
   */
  mark: { value: string; since: number } | undefined;
  /** The assistant message under way. A new one is a sign of life; a retried one is not. */
  askedMessageID: string | undefined;
  /** Nobody has listened for a while since that message was heard, so the run may have written newer ones. */
  askedBeforeGap: boolean;
  model: string | undefined;
  agent: string | undefined;
}

/** An abort under way. A person may ask for one even if no run is known. */
export type Aborting = {
  try: number;
  since: number;
  /** Another run has begun since, so what follows the abort is not the aborted run coming back. */
  followed?: true;
} & ({ reason: StuckReason; run: Run } | { reason: 'manual'; run: Run | undefined });

export interface Session {
  readonly id: string;
  info: SessionInfo;
  run: Run | undefined;
  /** The last run, until its end is reported. */
  runEnd: RunEnd | undefined;
  health: Health;
  healthSince: number;
  /** When the last status came by event. A poll that was sent before it does not overrule it. */
  eventStatusAt: number;
  deleted: boolean;
  /** The abort that the executor is busy with; at most one at a time. */
  aborting: Aborting | undefined;
  /** Who asked for an abort and has not been told its result yet. */
  abortAskedBy: AskedBy | undefined;
  /** Our last abort that ended a run, if nobody has prompted since. If that run comes back, the abort was lost. */
  lastAbort: { at: number; reason: StuckReason; tries: number } | undefined;
  /** `taken`: the model was asked after it. A prompt that is not taken may wait behind the run under way. */
  lastPrompt:
    | {
        messageID: string;
        at: number;
        model: string | undefined;
        agent: string | undefined;
        taken: boolean;
        /** If the run before it is aborted, it waits for the next prompt. */
        parks: boolean;
      }
    | undefined;
  /** Ids of the prompts that were heard, the newest last. */
  knownPrompts: string[];
  /** The message that somebody other than opencode was last heard writing. */
  spokenMessageID: string | undefined;
  /** Somebody asked for the compaction under way. */
  manualCompaction: boolean;
  runStarts: RunStarts;
  /** opencode's own total for the session; undefined until it is known. */
  total: Spent | undefined;
  /** When `total` was heard. */
  totalAt: number;
  /** What it has spent itself, and what its subagents have. */
  spent: Spent;
  spentBelow: Spent;
  saidBudgets: Set<string>;
  /** It was told to go on, and the executor has not reported the result yet. `prompted`: a prompt was heard since. */
  continuing: 'told' | 'prompted' | undefined;
  /** What it was told then; undefined if a person has wanted it aborted since. */
  told: ContinueAct | undefined;
  /** Models that it failed on since its last finished step. */
  failedOn: Set<string>;
  /** The model with which `recover` last continued it. */
  continuedOn: string | undefined;
  /** How often `recover` has prompted it to go on. */
  continues: number;
  /** The last failure reported, so that repeated error events count once. */
  lastFailure: { text: string; at: number } | undefined;
}

export function newSession(id: string, at: number): Session {
  return {
    id,
    info: {},
    run: undefined,
    runEnd: undefined,
    health: 'idle',
    healthSince: at,
    eventStatusAt: Number.NEGATIVE_INFINITY,
    deleted: false,
    aborting: undefined,
    abortAskedBy: undefined,
    lastAbort: undefined,
    lastPrompt: undefined,
    knownPrompts: [],
    spokenMessageID: undefined,
    manualCompaction: false,
    runStarts: { at: [], lastEndedAt: Number.NEGATIVE_INFINITY },
    total: undefined,
    totalAt: Number.NEGATIVE_INFINITY,
    spent: { costUsd: 0, tokens: 0 },
    spentBelow: { costUsd: 0, tokens: 0 },
    saidBudgets: new Set(),
    continuing: undefined,
    told: undefined,
    failedOn: new Set(),
    continuedOn: undefined,
    continues: 0,
    lastFailure: undefined,
  };
}

/**
 * Whether a prompt waits that will be answered when the run under way is over. One that parks is answered only together
 * with the next prompt.
 */
export function promptWaits({ lastPrompt }: Session): boolean {
  return lastPrompt?.taken === false && !lastPrompt.parks;
}

export function newRun(at: number, directory: string | undefined): Run {
  return {
    startedAt: at,
    directory,
    status: 'busy',
    statusAt: at,
    progressAt: at,
    vouchedSince: at,
    unheard: false,
    preparing: false,
    compactingSince: undefined,
    answeringSince: undefined,
    steps: newStepHistory(),
    totals: {
      steps: 0,
      tools: 0,
      toolErrors: 0,
      fileChanges: 0,
      hasText: false,
      finish: undefined,
      lastTool: undefined,
      toolsEnded: 0,
    },
    missed: false,
    endedBy: undefined,
    endedFor: undefined,
    spent: { costUsd: 0, tokens: 0, steps: 0 },
    isPriced: false,
    saidBudgets: new Set(),
    saidLoop: undefined,
    tools: new Map(),
    requests: new Map(),
    answeredAt: Number.NEGATIVE_INFINITY,
    episode: undefined,
    error: undefined,
    abortFlow: undefined,
    said: undefined,
    inspection: undefined,
    mark: undefined,
    askedMessageID: undefined,
    askedBeforeGap: false,
    model: undefined,
    agent: undefined,
  };
}

/** A sign of life. */
export function heardFrom(run: Run, at: number): void {
  run.progressAt = Math.max(run.progressAt, at);
}

/** What the run has spent with its subagents, if anything. */
function spentFields({ spent }: Run): Partial<Spent> {
  const { costUsd, tokens } = spent;
  return { ...(costUsd > 0 && { costUsd }), ...(tokens > 0 && { tokens }) };
}

/** What a health line says about a run. */
export function runFields(run: Run) {
  const tool = run.tools.values().next().value?.tool;
  return {
    ...(run.episode === undefined ? {} : { attempt: run.episode.attempts }),
    ...(run.model === undefined ? {} : { model: run.model }),
    ...(tool === undefined ? {} : { tool }),
    ...spentFields(run),
  };
}

/**
 * Time since the last sign of life, ms; absent while silence means nothing: the run retries, it waits for a person, or
 * a tool runs.
 */
export function silenceOf(run: Run, at: number): { silentMs?: number } {
  const isExplained = run.tools.size > 0 || run.requests.size > 0 || run.episode !== undefined;
  if (isExplained) return {};
  return { silentMs: Math.max(0, at - Math.max(run.progressAt, run.vouchedSince)) };
}

/** The fields that every note of a session carries. */
export function fieldsOf(session: Session): SessionFields {
  const { directory, title, parentID } = session.info;
  const where = directory ?? session.run?.directory;
  return {
    sessionID: session.id,
    ...(where === undefined ? {} : { directory: where }),
    ...(title === undefined ? {} : { title }),
    ...(parentID === undefined ? {} : { parentID }),
  };
}
