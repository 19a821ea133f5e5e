/**
 * What is known of one session and of its run: plain data.
 *
 * All times are on the observed clock, in ms.
 */
import type {
  AbortReason,
  Health,
  LoopKind,
  SessionFields,
  StuckReason,
  WedgedNext,
} from '../decision.js';
import type { AskedBy, PendingRequest, RunningTool, SessionInfo, Spent } from '../observation.js';
import { newStepHistory, type RunStarts, type StepHistory } from './loops.js';

/** From a run's first `retry` to its next finished step, or idle; the busy blips between attempts do not end it. */
export interface Episode {
  startedAt: number;
  /** Requests of this step that have failed: opencode's attempt counter, the highest seen. */
  attempts: number;
  message: string;
  /** When the next attempt is due; undefined where opencode did not say. */
  nextAt: number | undefined;
  needsPerson: boolean;
  /** The wait for this attempt, where the provider named a near time for it (`hopeless.ts`). */
  named: { from: number; until: number } | undefined;
  /** When the provider says that it is back, near or far; undefined where it names no time. */
  backAt?: number | undefined;
  /** How long it waited for such times before this attempt, ms. */
  namedBeforeMs: number;
  /** How often an abort was held back because an attempt was in flight. */
  holds: number;
  /** Text or tools came since the last `retry` status: this attempt may be the one that works. */
  progressed: boolean;
}

export interface Request extends PendingRequest {
  since: number;
  /** Its asking was heard; false where it was found pending and may be older than `since`. */
  heard: boolean;
  /** What `waiting.maxDuration` led to, once; undefined before. */
  handled: 'reported' | 'rejected' | undefined;
}

/** What is being done about a stuck run. */
export type AbortFlow =
  /** Decided, but the server cannot be asked just now. */
  | { phase: 'pending'; reason: StuckReason; since: number; tries: number }
  | { phase: 'aborting'; reason: StuckReason; since: number; tries: number; withdrawn: boolean }
  /** `dryRun`: said, and left. */
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

/** What a run's own finished steps have come to, without its subagents'. */
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
  /** Tool calls that were heard to end, whether or not a step tells of them. */
  toolsEnded: number;
}

/** A run that is over, until it can be told how it ended. */
export interface RunEnd {
  run: Run;
  at: number;
  fields: SessionFields;
  /** Its parent's run was being aborted by us: opencode aborts subagents with it. */
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
  /** Nothing can have been missed since: silence counts from here at the earliest. */
  vouchedSince: number;
  /** Nobody listened when it began: what it began with is yet to be inspected. */
  unheard: boolean;
  /** The prompt is in, the model was not asked yet: plugins install, context is gathered. */
  preparing: boolean;
  compactingSince: number | undefined;
  /** At the last inspection, a part of the answer was under way since then. */
  answeringSince: number | undefined;
  /** What its finished steps have shown: for the rules about loops. */
  steps: StepHistory;
  totals: RunTotals;
  /** Something of it may not have been heard: what is missing proves nothing. */
  missed: boolean;
  /** Who ended it, where it was known before it was over. */
  endedBy: 'watchdog' | 'restart' | 'dispose' | undefined;
  /** Why the watchdog ended it. */
  endedFor: AbortReason | undefined;
  /** With its subagents'. */
  spent: Spent & { steps: number };
  /** A step of it had a cost: its model has a price. */
  isPriced: boolean;
  saidBudgets: Set<string>;
  /** The loop that was last said to come near its limit, or to be over it. */
  saidLoop: { kind: LoopKind; whole: boolean } | undefined;
  tools: Map<string, RunningTool>;
  requests: Map<string, Request>;
  /** When a request was last answered: an older inspection may still show it as pending. */
  answeredAt: number;
  episode: Episode | undefined;
  error: { name: string; message: string; statusCode?: number } | undefined;
  abortFlow: AbortFlow | undefined;
  /** The reason last said to be stuck, so that a decision held back and taken again is said once. */
  said: StuckReason | undefined;
  inspection: Inspection | undefined;
  /** The transcript's mark at the last inspection, and when it was first seen: as long as it stays, nothing happened. */
  mark: { value: string; since: number } | undefined;
  /** The assistant message under way: a new one is a life sign, a retried one is not. */
  askedMessageID: string | undefined;
  model: string | undefined;
  agent: string | undefined;
}

/** An abort under way. A person may ask for one where no run is known. */
export type Aborting = { try: number; since: number } & (
  | { reason: StuckReason; run: Run }
  | { reason: 'manual'; run: Run | undefined }
);

export interface Session {
  readonly id: string;
  info: SessionInfo;
  run: Run | undefined;
  /** The last run, as long as nothing was said about its end. */
  runEnd: RunEnd | undefined;
  health: Health;
  healthSince: number;
  /** When the last status came by event: a poll sent before it does not overrule it. */
  eventStatusAt: number;
  deleted: boolean;
  /** The abort that the executor is busy with; at most one at a time. */
  aborting: Aborting | undefined;
  /** Who asked for an abort, and was not told yet what became of it. */
  abortAskedBy: AskedBy | undefined;
  /** The run that our last abort ended, while nobody prompted since: if it comes back, the abort was lost. */
  lastAbort: { at: number; reason: StuckReason; tries: number } | undefined;
  /** `taken` once the model was asked after it. One that is not may wait behind the run under way. */
  lastPrompt:
    | { messageID: string; at: number; model: string | undefined; taken: boolean }
    | undefined;
  /** Ids of the prompts heard of, the newest last. */
  knownPrompts: string[];
  /** The user's message that was last heard being written. */
  spokenMessageID: string | undefined;
  /** The compaction under way was asked for. */
  manualCompaction: boolean;
  runStarts: RunStarts;
  /** opencode's own total; undefined until it was told. */
  total: Spent | undefined;
  /** What it has spent itself, and what its subagents have. */
  spent: Spent;
  spentBelow: Spent;
  saidBudgets: Set<string>;
  /** It was told to go on, and the executor has not said yet what came of it. */
  continuing: boolean;
  /** Models that failed it since its last finished step. */
  failedOn: Set<string>;
  /** The model that `recover` had it go on with last. */
  continuedOn: string | undefined;
  /** How often `recover` has prompted it to go on. */
  continues: number;
  /** The last failure said, so that repeated error events count once. */
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
    spent: { costUsd: 0, tokens: 0 },
    spentBelow: { costUsd: 0, tokens: 0 },
    saidBudgets: new Set(),
    continuing: false,
    failedOn: new Set(),
    continuedOn: undefined,
    continues: 0,
    lastFailure: undefined,
  };
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
    model: undefined,
    agent: undefined,
  };
}

/** A sign of life. */
export function heardFrom(run: Run, at: number): void {
  run.progressAt = Math.max(run.progressAt, at);
}

/** What the run has spent with its subagents, where it has. */
function spentFields({ spent }: Run): Partial<Spent> {
  const { costUsd, tokens } = spent;
  return { ...(costUsd > 0 && { costUsd }), ...(tokens > 0 && { tokens }) };
}

/** What a health line says of a run. */
export function runFields(run: Run) {
  const tool = run.tools.values().next().value?.tool;
  return {
    ...(run.episode === undefined ? {} : { attempt: run.episode.attempts }),
    ...(run.model === undefined ? {} : { model: run.model }),
    ...(tool === undefined ? {} : { tool }),
    ...spentFields(run),
  };
}

/** Since the last sign of life, ms; absent where silence is no sign of anything: it retries, it waits, or a tool runs. */
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
