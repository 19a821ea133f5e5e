/**
 * The watchdog's input vocabulary: everything that the monitor can tell the state machine.
 *
 * Times named `at` and `startedAt` are milliseconds on the *observed clock*, which is monotonic and stands still while
 * the daemon itself is suspended or stalled (see `src/lib/clock.ts`). Wall-clock times never enter: code that reads a
 * time from the wire, such as a retry's `next`, converts it to a distance from now.
 */
import type { Policy } from './policy.js';

/** What `/session/status` or a `session.status` event says of one session (opencode-facts section 5). */
export type SessionStatus =
  | { type: 'idle' }
  | { type: 'busy' }
  /** The session is listed, but its status is not readable. This proves neither that it works nor that it has ended. */
  | { type: 'unknown' }
  | {
      type: 'retry';
      /** opencode's own attempt counter, from 1. */
      attempt: number;
      message: string;
      /** Milliseconds until the next attempt, never negative; absent if opencode did not say. */
      nextInMs?: number;
      /** True if opencode asks a person to act (sign in, add credits). Waiting does not help then. */
      needsPerson?: boolean;
    };

/** opencode's tools for subagents, in 1.x and 2.x (facts, section 7; opencode-2-facts, section 12). */
export const TASK_TOOLS: ReadonlySet<string> = new Set(['task', 'subagent']);

/** A tool call that is running. `startedAt` is the tool's own start, not when it was last heard of. */
export interface RunningTool {
  callID: string;
  tool: string;
  startedAt: number;
  /** The subagent's session, if the tool delegates (`metadata.sessionId` of the `task` tool). */
  childID?: string;
}

/**
 * A finished step: one model request with the tools that it called. Hashes stand for what it said and did, so that a
 * recording holds no content.
 */
export interface FinishedStep {
  messageID: string;
  /** It had no text, no reasoning and no tool call. */
  empty: boolean;
  /** It wrote a compaction's summary. */
  summary?: boolean;
  /**
   * A hash that is equal for two steps which called the same tools with the same input and the same result or, without
   * tools, said the same.
   */
  fingerprint?: string;
  /** How long its slowest tool took, ms. Tools that delegate to a subagent do not count. */
  toolMs?: number;
  /** Its first tool. */
  tool?: string;
  tools: number;
  toolErrors: number;
  /** It has text that a person can read. */
  hasText: boolean;
  /** Successful calls of tools that change files. */
  fileChanges: number;
  /** Why the model stopped, in opencode's word: `stop`, `tool-calls`, `length`, … */
  finish?: string;
  /** US dollars, as opencode calculates them. */
  costUsd?: number;
  /** All tokens that opencode counted: input, output, reasoning and cache. */
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
  /** opencode's own total for the session, without its subagents. */
  spent?: Spent;
  /** How long ago it was created, ms. */
  ageMs?: number;
}

/** US dollars, as opencode calculates them, and all tokens that it counted. */
export interface Spent {
  costUsd: number;
  tokens: number;
}

/** Why a health probe did not count as an answer. */
export const PROBE_FAILURES = ['refused', 'timeout', 'http', 'not_opencode', 'network'] as const;
export type ProbeFailure = (typeof PROBE_FAILURES)[number];

/** A server that answers over HTTP, but not like an opencode that is understood. It is alive. */
export interface Unsupported {
  /** What it answered, as a phrase. */
  answered: string;
  /** What that means, as a phrase. */
  means: string;
  /** Absent if the server does not tell one. */
  version?: string;
  /** The server says that it is still starting. That is no fault, and it is not reported. */
  starting?: boolean;
  /** The server was recognised as what it is, so waiting does not change the answer. */
  certain?: boolean;
}

interface At {
  at: number;
}
interface OfSession extends At {
  sessionID: string;
  /**
   * The directory that the event is tagged with. An idle status for a directory other than the run's is not believed
   * (facts, section 6).
   */
  directory?: string;
}

/** Why a person, or `recycle`, asks for a restart. */
export const REQUESTED_RESTARTS = ['manual', 'memory', 'processes', 'schedule'] as const;
export type RequestedRestart = (typeof REQUESTED_RESTARTS)[number];
/** What `recycle` limits. */
export const USAGE_LIMITS = ['memory', 'processes'] as const;
export type UsageLimit = (typeof USAGE_LIMITS)[number];

export type ServerObservation =
  /**
   * The first one: what the daemon found when it started, a server that answers or none. A later one: the process of a
   * server that came back by itself, which changes nothing but the pid and whether it may be touched.
   */
  | (At & {
      kind: 'server.attached';
      running: boolean;
      /** The HTTP status with which a running server refuses our credentials. */
      unauthorized?: number;
      /** What is known about who refuses them, as a phrase. */
      means?: string;
      /** The server runs, but is not understood. */
      unsupported?: Unsupported;
      pid?: number;
      /** When that process began, in a form that differs for another process with its pid. */
      startTime?: string;
      version?: string;
      /** Whether this process may be touched; absent: as with the one before. */
      acts?: boolean;
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
  /** A signal has stopped its process (state T), and it stays stopped. Sent at every check while this lasts. */
  | (At & { kind: 'server.suspended'; pid: number })
  /** The end of a `continue_process` act: whether the process runs again. */
  | (At & { kind: 'continue_process.done' })
  /** Not done, because of `dryRun` or a pause. */
  | (At & { kind: 'continue_process.skipped' })
  | (At & { kind: 'continue_process.failed'; error: string })
  /** The end of a `start` or `restart` act. */
  | (At & {
      kind: 'restart.done';
      pid?: number;
      oldPid?: number;
      version?: string;
      tookMs: number;
      /** The server that runs now is not understood. */
      unsupported?: Unsupported;
      /** The HTTP status with which the server that runs now refuses our credentials, and what is known about it. */
      unauthorized?: number;
      means?: string;
      /** Whether it may be restarted: not one that a person has brought up in a terminal. Absent: as before. */
      acts?: boolean;
    })
  | (At & {
      kind: 'restart.failed';
      error: string;
      /** True if the old process is known to go on serving: nothing was lost and nothing changed. */
      serverAlive: boolean;
      /** The version that a start would run, if that is known. */
      version?: string;
    })
  /** The act was decided and logged, but not done, because of `dryRun` or a pause. */
  | (At & { kind: 'restart.skipped' })
  /** A person, a schedule or a memory limit asks for a restart. */
  | (At & { kind: 'restart.requested'; reason: RequestedRestart })
  /** The memory or the number of processes, for which a restart was asked, is within its limit again. */
  | (At & { kind: 'usage.within'; reason: UsageLimit });

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
   * Bytes arrived, so the server's event loop is running. Sent at most a few times a second. `heartbeatMs` is the
   * interval between the server's heartbeats, known once two were seen.
   */
  | (At & { kind: 'stream.alive'; heartbeatMs?: number })
  /**
   * The server answers, but its stream has failed for so long that sessions are judged without it, by polls and
   * inspections alone.
   */
  | (At & { kind: 'stream.unavailable'; path: string; reason: string; silentMs: number })
  /** All polls that follow a connect are answered. From here on silence means silence. */
  | (At & { kind: 'stream.resynced' });

export type SessionObservation =
  | (OfSession & {
      kind: 'session.info';
      /** When it was asked for, perhaps long ago, with a list; absent if an event said it. */
      askedAt?: number;
      info: SessionInfo;
    })
  | (OfSession & { kind: 'session.status'; status: SessionStatus })
  /** New text, reasoning or tool output: proof of life. */
  | (OfSession & { kind: 'session.progress' })
  /** `step` is absent if nothing is known about it, as in recordings made before 0.2. */
  | (OfSession & { kind: 'session.step_finished'; step?: FinishedStep })
  /** An assistant message has begun: the model is being asked. */
  | (OfSession & {
      kind: 'session.asking_model';
      messageID: string;
      model?: string;
      agent?: string;
    })
  /**
   * New user input. `parks`: if the run before it is aborted, it waits for the next prompt (OpenCode 2); absent if it is
   * answered then.
   */
  | (OfSession & {
      kind: 'session.prompted';
      messageID: string;
      model?: string;
      agent?: string;
      parks?: boolean;
    })
  | (OfSession & { kind: 'tool.running'; tool: RunningTool })
  | (OfSession & { kind: 'tool.ended'; callID: string })
  | (OfSession & { kind: 'request.asked'; request: PendingRequest })
  | (OfSession & { kind: 'request.answered'; requestID: string })
  /**
   * A sample of an answer that is still streaming: how often the passage at its end stands back to back, 1 if nothing
   * repeats.
   */
  | (OfSession & { kind: 'session.text_sampled'; textRepeats: number })
  /** Somebody other than opencode itself has written this message. */
  | (OfSession & { kind: 'session.spoken_to'; messageID: string })
  /** `auto`: nobody asked for it; absent if opencode did not say. */
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
  /** The server's list of one directory's statuses. Sessions of that directory which are not listed are idle. */
  | (At & {
      kind: 'status.polled';
      /** When the request was sent. An event newer than this overrules the answer. */
      startedAt: number;
      /** Absent if the list covers the whole server. */
      directory?: string;
      statuses: ReadonlyMap<string, SessionStatus>;
    })
  /** The answer to an `inspect` act, which reads one session because events may have been missed. */
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
            /**
             * The last message is the user's: no assistant message has begun yet (plugins are being installed, context
             * is being gathered).
             */
            preparing: boolean;
            /** The answer under way is a compaction's summary. */
            compacting?: boolean;
            /**
             * When the part of the answer that is under way began. The transcript shows nothing of such a part before
             * its end.
             */
            answeringSince?: number;
            model?: string;
            /** Changes whenever the transcript does; equal marks mean no progress in between. */
            mark: string;
          };
    })
  | (OfSession & { kind: 'session.inspect_failed'; error: string })
  /**
   * opencode has dropped a directory's instance, and with it the runs of its sessions. `replaced`: it was lost with the
   * whole server process.
   */
  | (At & { kind: 'directory.disposed'; directory: string; replaced?: boolean });

/**
 * Why an abort was not sent: what the status showed right before. `missing`: idle, and the server knows no such
 * session; `withdrawn`: the abort was no longer wanted.
 */
export const WITHDRAWN_AS = ['idle', 'missing', 'busy', 'withdrawn'] as const;
export type WithdrawnAs = (typeof WITHDRAWN_AS)[number];

export const UNREACHABLE = ['unsent', 'sent'] as const;
export type Unreachable = (typeof UNREACHABLE)[number];

export type ActObservation =
  /** The end of an `abort` act. */
  | (OfSession & {
      kind: 'abort.done';
      tookMs: number;
    })
  | (OfSession & { kind: 'abort.failed'; error: string })
  /**
   * The status right before sending gave no reason for an abort, so none was sent. `busy`: an attempt is in flight just
   * now.
   */
  | (OfSession & { kind: 'abort.withdrawn'; seen: WithdrawnAs })
  /** Not done, because of `dryRun` or a pause. */
  | (OfSession & { kind: 'abort.skipped' })
  /** The end of a `continue` act: whether the run was seen to begin. */
  | (OfSession & { kind: 'continue.done'; model?: string })
  | (OfSession & {
      kind: 'continue.failed';
      model?: string;
      error: string;
      /** Somebody is using the session, so nothing was sent. */
      superseded?: boolean;
      /** The server could not be reached, or the connection broke; whether the prompt may have been sent before that. */
      unreachable?: Unreachable;
    })
  /** Not done, because of `dryRun` or a pause. */
  | (OfSession & { kind: 'continue.skipped' })
  /** A `reject` act did not work. If it works, opencode itself sends `request.answered`. */
  | (OfSession & { kind: 'reject.failed'; requestID: string; error: string })
  /** Not done, because of `dryRun` or a pause. */
  | (OfSession & { kind: 'reject.skipped'; requestID: string });

/** The end of a `dispose` act. */
export type DisposeObservation =
  | (At & { kind: 'dispose.done'; directory: string; tookMs: number })
  | (At & { kind: 'dispose.failed'; directory: string; error: string })
  /**
   * The last check before sending spoke against the dispose, so it was not sent. `idle`: the runs had ended; `others`:
   * it would have cut a run that the watchdog did not know of.
   */
  | (At & { kind: 'dispose.withdrawn'; directory: string; seen: 'idle' | 'others' })
  /** Not done, because of `dryRun` or a pause. */
  | (At & { kind: 'dispose.skipped'; directory: string });

/**
 * Who asked. `page`: the status page in a browser; `command`: a command of opencode-watchdog; `http`: another program.
 */
export const ASKED_BY = ['page', 'command', 'http'] as const;
export type AskedBy = (typeof ASKED_BY)[number];

/** What people ask of the daemon, on the status page or by a command. */
export type PersonObservation =
  /** Abort this session, whatever it does. The note `act.done` answers it. */
  | (At & { kind: 'abort.requested'; sessionID: string; by: AskedBy })
  /** Go on deciding, but do only what people ask for. */
  | (At & { kind: 'acts.paused' })
  /** The daemon stops, and its server with it. */
  | (At & { kind: 'daemon.stopping' })
  /** Acts that were left undone, and are still due, are done now. */
  | (At & { kind: 'acts.resumed' });

/** A run that waits for its quota, as it is stored on disk and shown to people. */
export interface ParkedRun extends RunAtWork {
  lastMessageID?: string;
  /** Time until its quota is back, ms; negative if that moment was missed. */
  inMs: number;
  /** How long it has been parked, ms. */
  forMs: number;
}

/** A run at work, or one that waits to be continued, as it is stored for the next daemon. */
export interface RunAtWork {
  sessionID: string;
  directory?: string;
  title?: string;
  parentID?: string;
  model?: string;
  agent?: string;
  /** How often the session has been continued so far. */
  count: number;
  /** It was cut before and waits to be continued, so a later end of the server did not cut it. */
  waiting?: true;
}

/** What an earlier daemon has stored. */
export type RestoredObservation =
  | (At & { kind: 'parked.restored'; runs: readonly ParkedRun[] })
  | (At & {
      kind: 'runs.restored';
      /** The pid of the server's process at that time. */
      serverPid?: number;
      /** Its `startTime`. */
      serverStart?: string;
      /** The earlier daemon was told to stop, so what ended with it did not crash. */
      wasStopped?: true;
      runs: readonly RunAtWork[];
      /** In how many crashes in a row each session was at work. */
      inARow: ReadonlyMap<string, number>;
      quarantined: readonly { sessionID: string; directory?: string; title?: string }[];
    });

export type BudgetObservation =
  /**
   * A day of the budget begins: sent at midnight, and when the daemon has started.
   * `spent`: what is known to have been spent since midnight, which was `sinceMs` ago.
   * `totals`: opencode's totals of sessions when the daemon last ran.
   */
  At & { kind: 'budget.day'; sinceMs: number; spent: Spent; totals?: ReadonlyMap<string, Spent> };

export type TimeObservation =
  /** The deadline that the watchdog asked for has come. */
  | (At & { kind: 'tick' })
  /**
   * A reload: everything is judged again, by this policy. Recordings of 0.1 have no policy here, and have this
   * observation at the end of a pause too; they go on with the policy that they have.
   */
  | (At & { kind: 'policy.changed'; policy?: Policy })
  /**
   * The daemon did not run for this long (SIGSTOP, suspend, a blocked loop). The observed clock leaves that time out.
   */
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
