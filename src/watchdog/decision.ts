/**
 * The watchdog's output vocabulary: acts for the executor, and notes for the log.
 *
 * Every act is answered by an observation (`abort.done`, `restart.failed`, `session.inspected`, …), so the state
 * machine never assumes that something worked. Notes carry the names and fields of the contract's structured log.
 */
import type { AskedBy, PendingRequest, RequestKind, UsageLimit } from './observation.js';

/** A session's health, worst last (contract, "Structured log"). */
export const HEALTHS = [
  'idle',
  'busy',
  'waiting',
  'delegating',
  'retrying',
  'looping',
  'stalled',
  'stuck',
  'wedged',
] as const;
export type Health = (typeof HEALTHS)[number];

/** How many sessions have each health. The caller counts the idle ones. */
export function countByHealth(
  idle: number,
  active: readonly { health: Health }[],
): Record<Health, number> {
  const counts = Object.fromEntries(HEALTHS.map((health) => [health, 0])) as Record<Health, number>;
  counts.idle = idle;
  for (const { health } of active) if (health !== 'idle') counts[health] += 1;
  return counts;
}

/** Why a session counts as stuck. `pileup` is the abort that comes before a pile-up restart. */
export const STUCK_REASONS = [
  'attempts',
  'duration',
  'wait',
  'hopeless',
  'silence',
  'tool_time',
  'run_time',
  'waiting',
  'ghost',
  'loop',
  'budget',
  'pileup',
] as const;
export type StuckReason = (typeof STUCK_REASONS)[number];

/** How a run ended (contract, `session.ended`). */
export const RUN_OUTCOMES = [
  'completed',
  'empty',
  'truncated',
  'failed',
  'aborted',
  'aborted_elsewhere',
  'interrupted',
] as const;
export type RunOutcome = (typeof RUN_OUTCOMES)[number];
/** Why a session is aborted. `manual`: a person asked for it. */
export type AbortReason = StuckReason | 'manual';

/** Whose budget (contract, `budget`). */
export type BudgetKind = 'run' | 'session' | 'day';
/** US dollars, tokens, steps. */
export type BudgetUnit = 'cost' | 'tokens' | 'steps';

/** What repeats (contract, `session.stuck`). */
export type LoopKind = 'empty' | 'repeat' | 'compaction' | 'text' | 'runs';

/** How the wait of a parked run ended. `superseded`: somebody used the session; `let_go`: the run was given up. */
export const PARKED_ENDS = ['continued', 'superseded', 'let_go'] as const;
export type ParkedEnd = (typeof PARKED_ENDS)[number];

/** The next step for a wedged session. */
export type WedgedNext = 'dispose' | 'restart' | 'nothing';

export const RESTART_REASONS = [
  'pileup',
  'wedged',
  'unresponsive',
  'exited',
  'memory',
  'processes',
  'schedule',
  'manual',
] as const;
export type RestartReason = (typeof RESTART_REASONS)[number];

/** Why a run is continued: what ended it. */
export type ContinueReason = 'abort' | 'restart' | 'crash' | 'quota';

/** Why a directory is disposed; `elsewhere`: by somebody else. */
export type DisposeReason = 'wedged' | 'elsewhere';

/**
 * What interrupted a run. `elsewhere`: several runs ended at once, and nothing says why (most likely a dispose, or a
 * reload of opencode's configuration).
 */
export type InterruptedBy = 'stop' | 'restart' | 'dispose' | 'elsewhere';

export const SERVER_HEALTHS = [
  'unknown',
  'starting',
  'healthy',
  'unauthorized',
  'unsupported',
  'unresponsive',
  'down',
  'restarting',
  'held',
] as const;
export type ServerHealth = (typeof SERVER_HEALTHS)[number];

/** A session that a restart cuts, with what it was doing. */
export interface Interrupted {
  sessionID: string;
  health: Health;
  directory?: string;
  title?: string;
}

export type Act =
  /** Abort the session in this directory, verify it there, answer `abort.*`. */
  | {
      act: 'abort';
      sessionID: string;
      directory: string | undefined;
      reason: AbortReason;
      try: number;
      /**
       * What the status right before sending must show: `retry` if a provider is failing and an attempt in flight is to
       * be spared (it may be the one that works), else `active`.
       */
      expect: 'retry' | 'active';
      /**
       * The session must be seen idle within this time after sending, ms: `abort.verifyTimeout`, longer on a slow
       * server.
       */
      verifyTimeoutMs: number;
      /** True if opencode has just said that the next attempt is still some time away. */
      waits: boolean;
    }
  /** Do not send the abort if it was not sent yet; answer `abort.withdrawn` or the abort's own end. */
  | { act: 'withdraw'; sessionID: string }
  /** Inspect one session; answer `session.inspected` or `session.inspect_failed`. */
  | { act: 'inspect'; sessionID: string; directory: string | undefined }
  /** Start a server when none runs; answer `restart.done` or `restart.failed`. */
  | { act: 'start' }
  | { act: 'restart'; reason: RestartReason }
  /**
   * Continue a process that a signal has stopped (SIGCONT); answer `continue_process.done` or
   * `continue_process.failed`.
   */
  | { act: 'continue_process' }
  /**
   * Drop the directory's instance, which ends its runs; verify that the runs of `sessions` have ended, answer
   * `dispose.*`.
   */
  | {
      act: 'dispose';
      directory: string;
      reason: DisposeReason;
      /** The wedged sessions, which must be seen idle. */
      sessions: readonly string[];
      /** All sessions known to run there. If the last check before sending shows another one, nothing is sent. */
      known: readonly string[];
      /** The wedged sessions must be seen idle within this time after sending, ms. */
      verifyTimeoutMs: number;
    }
  /** Reject a request in a person's place. opencode itself then sends `request.answered`; else answer `reject.failed`. */
  | {
      act: 'reject';
      sessionID: string;
      directory: string | undefined;
      request: PendingRequest;
    }
  /** Prompt a session whose run has ended to go on; answer `continue.done` or `continue.failed`. */
  | {
      act: 'continue';
      because: ContinueReason;
      sessionID: string;
      directory: string | undefined;
      /** `provider/model` */
      model?: string;
      agent?: string;
      /** The last message that the run wrote. If the session has a newer one, somebody has used it since. */
      lastMessageID?: string;
      /**
       * The message that the run was writing when it was cut. If the session has a newer, complete answer, somebody has
       * used it since.
       */
      cutMessageID?: string;
      /**
       * Continue only if the transcript shows that the last run has no end. Set if nobody saw what the run was writing
       * when it was cut.
       */
      onlyIfOpen?: true;
      count: number;
    }
  /** `restart.giveUp: exit`: the daemon ends with exit code 5. */
  | { act: 'give_up'; restarts: number };

/** The acts that a dry run leaves undone, and a pause too if no person asked for them. */
export type LeavableAct = Exclude<Act, { act: 'inspect' | 'withdraw' }>;

export type ContinueAct = Extract<Act, { act: 'continue' }>;

/** The fields that every session note has, if they are known. */
export interface SessionFields {
  sessionID: string;
  directory?: string;
  title?: string;
  parentID?: string;
}

interface BudgetSpent {
  budget: BudgetKind;
  unit: BudgetUnit;
  value: number;
  limit: number;
}

/** Notes by event name, with the fields that each adds to the common ones. */
export interface NoteFields {
  'server.healthy': {
    version?: string;
    /** The version of the server before, if it was another one: opencode was upgraded. */
    previousVersion?: string;
    api?: number;
    pid?: number;
    tookMs?: number;
  };
  'server.unresponsive': { failures: number; lastError: string; silentMs?: number };
  'server.unauthorized': { status: number; means?: string };
  'server.unsupported': { version?: string; answered: string; means: string };
  'server.exited': { pid?: number; code: number | null; signal: string | null };
  'server.suspended': { pid: number };
  'server.continued': { pid: number; tookMs: number };
  'server.continue_failed': { pid: number; try: number; error: string };
  'server.draining': {
    reason: RestartReason;
    /** How many sessions are at work now; the restart waits for them. */
    sessions: number;
    drainTimeoutMs: number;
  };
  /** What a recycle restart was wanted for has passed before the restart was made. */
  'server.recycle_withdrawn': { reason: UsageLimit };
  'server.restart_deferred': {
    reason: RestartReason;
    /** The sessions whose healthy runs it would cut. */
    waitsFor: string[];
    waitForHealthyMs: number;
  };
  'server.restarting': {
    reason: RestartReason;
    pid?: number;
    interrupted: string[];
    restarts: number;
    detail: string;
  };
  'server.restarted': { reason: RestartReason; tookMs: number; oldPid?: number; pid?: number };
  'server.restart_failed': {
    reason: RestartReason | 'start';
    error: string;
    /** Nothing was done: the server that ran before still runs. */
    serverAlive?: true;
    /** Both are set if the installed opencode is another version than the one that ran. */
    version?: string;
    previousVersion?: string;
  };
  'server.breaker_open': { reason: RestartReason; restarts: number; cooldownMs: number };
  'server.breaker_closed': { restarts: number };
  'directory.deferred': {
    reason: DisposeReason;
    directory: string;
    /** The sessions of the directory whose healthy runs it would cut. */
    waitsFor: string[];
    waitForHealthyMs: number;
  };
  'directory.disposing': {
    reason: DisposeReason;
    directory: string;
    /** The sessions whose runs it ends, including the wedged ones. */
    interrupted: string[];
  };
  'directory.disposed': {
    reason: DisposeReason;
    directory: string;
    interrupted: string[];
    /** Time from sending the dispose to its proof; absent if somebody else did it. */
    tookMs?: number;
  };
  'directory.dispose_failed': { reason: DisposeReason; directory: string; error: string };
  'session.health': SessionFields & {
    health: Health;
    previous?: Health;
    forMs: number;
    attempt?: number;
    model?: string;
    tool?: string;
    silentMs?: number;
    costUsd?: number;
    tokens?: number;
  };
  'session.looping': SessionFields & {
    kind: LoopKind;
    count: number;
    limit: number;
    tool?: string;
  };
  'session.stuck': SessionFields & {
    reason: StuckReason;
    kind?: LoopKind | BudgetKind;
    unit?: BudgetUnit;
    limit: number;
    value: number;
    attempt?: number;
    message?: string;
    nextInMs?: number;
    episodeMs?: number;
    tool?: string;
  };
  'session.aborting': SessionFields & { reason: AbortReason; try: number };
  'session.aborted': SessionFields & { reason: AbortReason; try: number; tookMs: number };
  'session.abort_failed': SessionFields & { reason: AbortReason; try: number; error: string };
  'session.wedged': SessionFields & {
    reason: StuckReason;
    tries: number;
    /** The next step. The note is sent again if it changes. `nothing`: a person must take care of it. */
    next: WedgedNext;
  };
  'session.waiting': SessionFields & PendingRequest;
  'session.answered': SessionFields & {
    on: RequestKind;
    requestID: string;
    by: 'person' | 'watchdog';
    forMs: number;
    /** How many other requests of the session wait still and were reported as stuck; absent if none. */
    overdue?: number;
  };
  'session.recovered': SessionFields & {
    reason?: StuckReason;
    attempts: number;
    episodeMs: number;
  };
  'session.ended': SessionFields & {
    outcome: RunOutcome;
    /** Why the watchdog aborted it. */
    reason?: AbortReason;
    finish?: string;
    steps: number;
    tools: number;
    toolErrors: number;
    /** Includes what its subagents spent, and so does `tokens`. */
    costUsd: number;
    tokens: number;
    tookMs: number;
    error?: string;
    /** How many runs of the directory were aborted at the same moment; absent if it was the only one. */
    together?: number;
  };
  'session.failed': SessionFields & {
    error: string;
    statusCode?: number;
    attempts: number;
  };
  'session.interrupted': SessionFields & {
    by: InterruptedBy;
    restartReason?: RestartReason;
    health: Health;
  };
  /** More sessions are active at once than can be watched. */
  'session.unwatched': SessionFields & { watched: number };
  'session.quarantined': SessionFields & { crashes: number };
  'session.parked': SessionFields & {
    /** Time until its quota is back. */
    untilInMs: number;
  };
  'session.unparked': SessionFields & { outcome: ParkedEnd };
  'session.continued': SessionFields & { model?: string; count: number };
  'session.continue_failed': SessionFields & { model?: string; count: number; error: string };
  /** The result of an abort that a person asked for. */
  'act.done': Pick<SessionFields, 'sessionID' | 'directory' | 'title'> & {
    act: 'abort';
    by: AskedBy;
    /** `idle`: there was no run to end; `unknown`: there is no such session. */
    outcome: 'done' | 'idle' | 'unknown' | 'failed';
    tookMs?: number;
    error?: string;
  };
  'budget.warning': Partial<SessionFields> & BudgetSpent;
  'budget.exceeded': Partial<SessionFields> & BudgetSpent;
  /** A budget of cost is set, but the model has no price. `isBounded`: a budget of tokens is set. */
  'budget.unpriced': { model: string; tokens: number; isBounded: boolean };
  'provider.outage': { provider: string; model: string; sessions: number; message: string };
  'provider.back': { provider: string; model: string; outageMs: number };
}

export type NoteName = keyof NoteFields;
export type Note = { [E in NoteName]: { note: E } & NoteFields[E] }[NoteName];
export type Decision = Act | Note;

export function isNote(decision: Decision): decision is Note {
  return 'note' in decision;
}
