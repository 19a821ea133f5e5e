/**
 * The watchdog's input vocabulary: everything that the monitor can tell the state machine.
 *
 * Times named `at`, `startedAt` are milliseconds on the *observed clock*: monotonic, and standing still while the
 * daemon itself was suspended or stalled (see `src/lib/clock.ts`). Wall-clock times never enter; a wire time such as
 * a retry's `next` is turned into a distance from now where it is read.
 */
import type { Policy } from './policy.js';

/** What `/session/status` or a `session.status` event says of one session (opencode-facts section 5). */
export type SessionStatus =
  | { type: 'idle' }
  | { type: 'busy' }
  /** Listed, and nothing readable is said of it: neither proof of work nor of its end. */
  | { type: 'unknown' }
  | {
      type: 'retry';
      /** opencode's own attempt counter, from 1. */
      attempt: number;
      message: string;
      /** Milliseconds until the next attempt, never negative; absent where opencode did not say. */
      nextInMs?: number;
      /** True where opencode asks a person to act (sign in, add credits): it will not heal by waiting. */
      needsPerson?: boolean;
    };

/** A tool call that is running. `startedAt` is the tool's own start, not when it was last heard of. */
export interface RunningTool {
  callID: string;
  tool: string;
  startedAt: number;
  /** The subagent's session where the tool delegates (`metadata.sessionId` of the `task` tool). */
  childID?: string;
}

/**
 * A finished step: one model request with the tools that it called. Hashes stand for what it said and did, so that a
 * recording holds no content.
 */
export interface FinishedStep {
  messageID: string;
  /** It held neither text, reasoning nor a tool call. */
  empty: boolean;
  /** It wrote a compaction's summary. */
  summary?: boolean;
  /** The same for two steps that called the same tools with the same input and the same result; without tools: that said the same. */
  fingerprint?: string;
  /** How long its slowest tool took, ms; one that delegates to a subagent does not count. */
  toolMs?: number;
  /** Its first tool. */
  tool?: string;
  tools: number;
  toolErrors: number;
  /** It said something that a person can read. */
  hasText: boolean;
  /** Calls of tools that change files, and succeeded. */
  fileChanges: number;
  /** Why the model stopped, in opencode's word: `stop`, `tool-calls`, `length`, … */
  finish?: string;
  /** US dollars as opencode reckons them. */
  costUsd?: number;
  /** All that opencode counted: input, output, reasoning and cache. */
  tokens?: number;
}

export const REQUEST_KINDS = ['permission', 'question'] as const;
export type RequestKind = (typeof REQUEST_KINDS)[number];

/** A permission or question that waits for an answer. */
export interface PendingRequest {
  requestID: string;
  on: RequestKind;
}

/** What is known of a session besides its run. Absent means unknown, not "none". */
export interface SessionInfo {
  directory?: string;
  title?: string;
  parentID?: string;
  /** opencode's own total of the session, without its subagents. */
  spent?: Spent;
  /** How long ago it was created, ms. */
  ageMs?: number;
}

/** US dollars as opencode reckons them, and all tokens that it counted. */
export interface Spent {
  costUsd: number;
  tokens: number;
}

/** Why a health probe did not count as an answer. */
export const PROBE_FAILURES = ['refused', 'timeout', 'http', 'not_opencode', 'network'] as const;
export type ProbeFailure = (typeof PROBE_FAILURES)[number];

/** A server that answers over HTTP, and not as an opencode that is understood. It is alive. */
export interface Unsupported {
  /** What it answered, as a phrase. */
  answered: string;
  /** What that means, as a phrase. */
  means: string;
  /** Where one is told. */
  version?: string;
  /** It says itself that it is starting: no fault, and no news. */
  starting?: boolean;
  /** What it is was recognised: waiting does not change it. */
  certain?: boolean;
}

interface At {
  at: number;
}
interface OfSession extends At {
  sessionID: string;
  /** The directory that the event was tagged with: a status for another directory than the session's is not believed (facts, section 6). */
  directory?: string;
}

/** Restarts that are asked for, by a person or by `recycle`. */
export const REQUESTED_RESTARTS = ['manual', 'memory', 'processes', 'schedule'] as const;
export type RequestedRestart = (typeof REQUESTED_RESTARTS)[number];

export type ServerObservation =
  /** What the daemon found when it came up: a server that answers, or none. */
  | (At & {
      kind: 'server.attached';
      running: boolean;
      /** It runs and refuses our credentials with this status. */
      unauthorized?: number;
      /** What is known of who refuses them, as a phrase. */
      means?: string;
      /** It runs and is not understood. */
      unsupported?: Unsupported;
      pid?: number;
      version?: string;
    })
  | (At & { kind: 'probe.ok'; startedAt: number; version?: string })
  | (At & { kind: 'probe.failed'; startedAt: number; failure: ProbeFailure; error: string })
  | (At & { kind: 'probe.unauthorized'; startedAt: number; status: number; means?: string })
  | (At & { kind: 'probe.unsupported'; startedAt: number } & Unsupported)
  | (At & {
      kind: 'server.exited';
      pid?: number | undefined;
      code: number | null;
      signal: string | null;
    })
  /** Its process is stopped by a signal (state T) and stays so; told at every check for as long as it lasts. */
  | (At & { kind: 'server.suspended'; pid: number })
  /** The end of a `continue_process` act: whether the process runs again. */
  | (At & { kind: 'continue_process.done' })
  /** `dryRun`, or a pause. */
  | (At & { kind: 'continue_process.skipped' })
  | (At & { kind: 'continue_process.failed'; error: string })
  /** The end of a `start` or `restart` act. */
  | (At & {
      kind: 'restart.done';
      pid?: number;
      oldPid?: number;
      version?: string;
      tookMs: number;
      /** What runs now is not understood. */
      unsupported?: Unsupported;
    })
  | (At & {
      kind: 'restart.failed';
      error: string;
      /** True where the old process is known to serve on: nothing was lost, nothing changed. */
      serverAlive: boolean;
      /** What a start would bring up, where that is known. */
      version?: string;
    })
  /** `dryRun`: the act was decided, logged and left undone. */
  | (At & { kind: 'restart.skipped' })
  /** A person, a schedule or a memory limit asks for a restart. */
  | (At & { kind: 'restart.requested'; reason: RequestedRestart });

export type StreamObservation =
  | (At & { kind: 'stream.connected'; path: string })
  | (At & {
      kind: 'stream.lost';
      path?: string;
      reason: string;
      silentMs: number;
      /** We closed it ourselves, for a restart. */
      planned?: boolean;
    })
  /**
   * Bytes arrived: the server's event loop turns. Sent at most a few times a second. `heartbeatMs` is the interval
   * between the server's heartbeats, once two were seen.
   */
  | (At & { kind: 'stream.alive'; heartbeatMs?: number })
  /** The server answers, and its stream does not for so long that sessions are judged without it: by polls and inspections alone. */
  | (At & { kind: 'stream.unavailable'; path: string; reason: string; silentMs: number })
  /** The polls that follow a connect are all in: from here on silence means silence. */
  | (At & { kind: 'stream.resynced' });

export type SessionObservation =
  | (OfSession & { kind: 'session.info'; info: SessionInfo })
  | (OfSession & { kind: 'session.status'; status: SessionStatus })
  /** New text, reasoning or tool output: proof of life. */
  | (OfSession & { kind: 'session.progress' })
  /** `step` is absent where nothing is known of it: in recordings made before 0.2. */
  | (OfSession & { kind: 'session.step_finished'; step?: FinishedStep })
  /** An assistant message was begun: the model is being asked. */
  | (OfSession & {
      kind: 'session.asking_model';
      messageID: string;
      model?: string;
      agent?: string;
    })
  /** New user input. */
  | (OfSession & { kind: 'session.prompted'; messageID: string; model?: string; agent?: string })
  | (OfSession & { kind: 'tool.running'; tool: RunningTool })
  | (OfSession & { kind: 'tool.ended'; callID: string })
  | (OfSession & { kind: 'request.asked'; request: PendingRequest })
  | (OfSession & { kind: 'request.answered'; requestID: string })
  /** An answer that streams on: how often the passage at its end stands there back to back, 1 where it repeats nothing. */
  | (OfSession & { kind: 'session.text_sampled'; textRepeats: number })
  /** Somebody else than opencode itself has written this message. */
  | (OfSession & { kind: 'session.spoken_to'; messageID: string })
  /** `auto`: nobody asked for it; absent where opencode did not say. */
  | (OfSession & { kind: 'session.compacting'; auto?: boolean })
  | (OfSession & { kind: 'session.compacted' })
  | (OfSession & {
      kind: 'session.error';
      name: string;
      message: string;
      statusCode?: number;
      retryable?: boolean;
    })
  | (OfSession & { kind: 'session.deleted' })
  /** What the server lists of one directory. Sessions of the directory that are not in it are idle. */
  | (At & {
      kind: 'status.polled';
      /** When the request was sent: an event younger than this overrules the answer. */
      startedAt: number;
      /** Absent where the list is of the whole server. */
      directory?: string;
      statuses: ReadonlyMap<string, SessionStatus>;
    })
  /** The answer to an `inspect` act: one session inspected, because events may have been missed. */
  | (OfSession & {
      kind: 'session.inspected';
      startedAt: number;
      result:
        | { found: false }
        | {
            found: true;
            info: SessionInfo;
            tools: readonly RunningTool[];
            requests: readonly PendingRequest[];
            /** The last message is the user's: no assistant message was begun yet (plugins install, context is gathered). */
            preparing: boolean;
            /** The answer under way is a compaction's summary. */
            compacting?: boolean;
            /** Since when a part of the answer is under way, of which the transcript shows nothing before its end. */
            answeringSince?: number;
            model?: string;
            /** Changes whenever the transcript does; equal marks mean no progress in between. */
            mark: string;
          };
    })
  | (OfSession & { kind: 'session.inspect_failed'; error: string })
  /** opencode dropped a directory's instance: its sessions' runs are gone. `replaced`: with the whole server process. */
  | (At & { kind: 'directory.disposed'; directory: string; replaced?: boolean });

/**
 * What the status showed right before an abort, so that it was not sent. `missing`: idle, and the server knows no such
 * session; `withdrawn`: nobody wanted it any more.
 */
export const WITHDRAWN_AS = ['idle', 'missing', 'busy', 'withdrawn'] as const;
export type WithdrawnAs = (typeof WITHDRAWN_AS)[number];

export type ActObservation =
  /** The end of an `abort` act. */
  | (OfSession & {
      kind: 'abort.done';
      tookMs: number;
    })
  | (OfSession & { kind: 'abort.failed'; error: string })
  /** The status right before sending showed no reason to: nothing was done. `busy`: an attempt is in flight just now. */
  | (OfSession & { kind: 'abort.withdrawn'; seen: WithdrawnAs })
  /** `dryRun`, or a pause. */
  | (OfSession & { kind: 'abort.skipped' })
  /** The end of a `continue` act: whether the run was seen to begin. */
  | (OfSession & { kind: 'continue.done'; model?: string })
  | (OfSession & {
      kind: 'continue.failed';
      model?: string;
      error: string;
      /** Somebody uses the session: nothing was sent. */
      superseded?: boolean;
    })
  /** `dryRun`, or a pause. */
  | (OfSession & { kind: 'continue.skipped' });

/** The end of a `dispose` act. */
export type DisposeObservation =
  | (At & { kind: 'dispose.done'; directory: string; tookMs: number })
  | (At & { kind: 'dispose.failed'; directory: string; error: string })
  /**
   * The last look before sending showed no reason to: `idle`: the runs had ended; `others`: it would have cut a run
   * that nobody knew of.
   */
  | (At & { kind: 'dispose.withdrawn'; directory: string; seen: 'idle' | 'others' })
  /** `dryRun`, or a pause. */
  | (At & { kind: 'dispose.skipped'; directory: string });

/** `page`: the status page in a browser; `command`: of opencode-watchdog; `http`: another program. */
export const ASKED_BY = ['page', 'command', 'http'] as const;
export type AskedBy = (typeof ASKED_BY)[number];

/** What people ask of the daemon, on the status page or by a command. */
export type PersonObservation =
  /** An abort of a session, whatever it does; answered by the note `act.done`. */
  | (At & { kind: 'abort.requested'; sessionID: string; by: AskedBy })
  /** Decide on, and do nothing but what people ask for. */
  | (At & { kind: 'acts.paused' })
  /** The daemon ends, and its server with it. */
  | (At & { kind: 'daemon.stopping' })
  /** What still stands of what was left undone is done now. */
  | (At & { kind: 'acts.resumed' });

/** A run that waits for its quota, for the disk and for people. */
export interface ParkedRun extends RunAtWork {
  lastMessageID?: string;
  /** Until its quota is back, ms; negative where that was missed. */
  inMs: number;
  /** How long it has been parked, ms. */
  forMs: number;
}

/** A run at work, or one that waits to be continued, for the next daemon. */
export interface RunAtWork {
  sessionID: string;
  directory?: string;
  title?: string;
  parentID?: string;
  model?: string;
  agent?: string;
  /** How often the session was continued so far. */
  count: number;
  /** It was cut before, and waits to be continued: a later end of the server did not cut it. */
  waiting?: true;
}

/** What an earlier daemon had kept. */
export type RestoredObservation =
  | (At & { kind: 'parked.restored'; runs: readonly ParkedRun[] })
  | (At & {
      kind: 'runs.restored';
      /** The server's process then. */
      serverPid?: number;
      /** The earlier daemon was told to stop: what ended with it did not crash. */
      wasStopped?: true;
      runs: readonly RunAtWork[];
      /** In how many crashes in a row each session was at work. */
      inARow: ReadonlyMap<string, number>;
      quarantined: readonly { sessionID: string; directory?: string; title?: string }[];
    });

export type BudgetObservation =
  /**
   * A day of the budget: at midnight, and when the daemon has started.
   * `spent`: what is known to be spent since midnight, which was `sinceMs` ago.
   * `totals`: opencode's totals of sessions when the daemon last ran.
   */
  At & { kind: 'budget.day'; sinceMs: number; spent: Spent; totals?: ReadonlyMap<string, Spent> };

export type TimeObservation =
  /** The deadline that was asked for has come. */
  | (At & { kind: 'tick' })
  /**
   * A reload: everything is judged anew, by this policy. Recordings of 0.1 do not have it, and have this at the end of a
   * pause too: they go on by the one before.
   */
  | (At & { kind: 'policy.changed'; policy?: Policy })
  /** The daemon did not run for this long (SIGSTOP, suspend, a blocked loop); the observed clock left it out. */
  | (At & { kind: 'gap'; ms: number });

export type Observation =
  | ServerObservation
  | StreamObservation
  | SessionObservation
  | ActObservation
  | DisposeObservation
  | RestoredObservation
  | PersonObservation
  | BudgetObservation
  | TimeObservation;
