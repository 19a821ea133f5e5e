/**
 * What the watchdog needs of an opencode server, in its own terms. `v1/` and `v2/` implement it over the APIs of opencode
 * 1.x and 2.x; nothing outside of a version's folder knows its routes or shapes.
 */
import type { Clock } from '../lib/clock.js';
import type {
  Observation,
  PendingRequest,
  ProbeFailure,
  SessionInfo,
  SessionObservation,
  SessionStatus,
  Unsupported,
} from '../watchdog/observation.js';
import type { StreamTarget } from './http/transport.js';
import type { Notice } from './monitor/notice.js';
import type { ParseStats } from './parse-stats.js';

export type ProbeResult =
  | { kind: 'ok'; version?: string }
  /**
   * `means`: what is known of who refuses, as a phrase. `isWithheld`: it was asked without the password, as nothing proves
   * yet who answers.
   */
  | { kind: 'unauthorized'; status: number; error: string; means?: string; isWithheld?: true }
  /** It answers over HTTP, and not as an opencode that is understood: it is alive. `error` says it for people. */
  | ({ kind: 'unsupported'; error: string } & Unsupported)
  | { kind: 'failed'; failure: ProbeFailure; error: string }
  /** Our own signal ended the probe: it says nothing about the server. */
  | { kind: 'aborted' };

export interface SessionSummary extends SessionInfo {
  id: string;
  /** Epoch ms of the last change. */
  updated?: number;
  /** Epoch ms. */
  created?: number;
  /** What a program wrote to it when it was made; absent before 1.18. */
  metadata?: Record<string, unknown>;
}

export interface OwnedRequest extends PendingRequest {
  sessionID: string;
  /** The tool call that it holds up, where opencode says so. */
  call?: { messageID: string; callID: string };
}

/** What is open in one directory; a kind is absent where the server has no list of it, which is not an empty one. */
export interface OpenRequestLists {
  directory: string;
  permissions?: readonly OwnedRequest[];
  questions?: readonly OwnedRequest[];
}

/** An inspection of one session. */
export interface Inspected {
  /** The session's own. */
  directory?: string;
  result: Extract<SessionObservation, { kind: 'session.inspected' }>['result'];
}

export interface LastMessage {
  id: string;
  byAssistant: boolean;
  /** True where opencode ended it with an error. */
  failed: boolean;
  /** Nobody has come to the end of it: a prompt that was not answered, an answer that was cut. */
  isOpen: boolean;
  /** An answer after which no step follows: its run has come to its own end. */
  isFinal: boolean;
}

/** The end of a session's transcript, for a person who looks. */
export interface Excerpt {
  /** What the model said last, in one line or a few. */
  lastWords?: string;
  /** The tool call under way, with its arguments in short. */
  tool?: { tool: string; input: string };
  /** What a person is asked. */
  question?: string;
  /** Oldest first. */
  messages: readonly {
    role: string;
    text: string;
    tools: readonly string[];
    /** Epoch ms. */
    at?: number;
    error?: string;
  }[];
}

export interface ContinuePrompt {
  text: string;
  /** `provider/model`; opencode's choice where absent. */
  model?: string;
  agent?: string;
}

/** An event stream of the server. */
export interface StreamRoute {
  path: string;
  /** False: it tells of the server's own directory alone, without naming it. */
  ofAllDirectories: boolean;
}

/** What the first bytes of a frame tell. */
export type FrameHead =
  /** It says that its session lives, and no more. */
  | { kind: 'delta'; sessionID: string }
  | { kind: 'heartbeat' }
  /** What it says is said by another frame. */
  | { kind: 'repeated' }
  | { kind: 'other'; sessionID?: string; directory?: string };

/** One frame, read. */
export type Frame =
  | { kind: 'unreadable' }
  /** Nothing that concerns the watch. */
  | { kind: 'nothing' }
  | { kind: 'heartbeat' }
  | { kind: 'all_disposed' }
  | {
      kind: 'event';
      /** The directory that it was tagged with. */
      directory?: string;
      observations: readonly Observation[];
      /** False for requests that the server's lists do not show. */
      listed: boolean;
    };

/** Reads the events of one monitor: it remembers what the frames before have said. */
export interface EventReader {
  /** @param head the beginning of a frame, one character for each byte */
  head(head: string): FrameHead;
  /** @param place the directory of events that name none */
  read(text: string, place: string | undefined): Frame;
  /** The server has no status to ask for: runs are known by their events alone. */
  readonly statusless: boolean;
  /** A probe was answered; `path`: of the event stream, where one is connected. */
  probed(version: string | undefined, path: string | undefined, signal: AbortSignal): Promise<void>;
  /** Another process may be another version. */
  forget(): void;
}

export interface ServerApi {
  /** Which API it is: that of opencode 1.x or 2.x. */
  readonly api: 1 | 2;
  /** The server's address, without credentials. */
  readonly url: string;
  /** What could not be read in answers and events. */
  readonly parseStats: ParseStats;
  /** Never rejects. */
  probe(signal?: AbortSignal, timeoutMs?: number): Promise<ProbeResult>;
  /** Forgets what was found out about the server: after a restart it may be another version. */
  forgetVersion(): void;

  /** Best first; a second one is tried where the first is not there. */
  readonly streams: readonly [StreamRoute, ...StreamRoute[]];
  /** For the event stream, which makes its own connection: where to, and with which credentials. */
  streamTarget(path: string): StreamTarget;
  eventReader(options: { clock: Clock; notice: Notice }): EventReader;

  /** Whether one answer of `statuses` tells of one directory or of the whole server. */
  readonly statusScope: 'directory' | 'server';
  /**
   * The sessions that are not idle. `directory`: whose; undefined asks the server's own. Where the scope is the server,
   * it makes no difference.
   */
  statuses(
    directory: string | undefined,
    signal?: AbortSignal,
    timeoutMs?: number,
  ): Promise<Map<string, SessionStatus>>;
  /** The sessions of all directories, most recently updated first. */
  recentSessions(limit: number, signal?: AbortSignal): Promise<SessionSummary[]>;
  /** Null where there is no such session (deleted, or never was). */
  session(
    sessionID: string,
    directory?: string,
    signal?: AbortSignal,
  ): Promise<SessionSummary | null>;
  inspect(sessionID: string, directory?: string, signal?: AbortSignal): Promise<Inspected>;
  lastMessage(
    sessionID: string,
    directory?: string,
    signal?: AbortSignal,
  ): Promise<LastMessage | undefined>;
  /** Asked for where a person looks, and only then. */
  excerpt(sessionID: string, directory?: string, signal?: AbortSignal): Promise<Excerpt>;
  /** Of one directory, or where it is undefined of all in which sessions are active. */
  openRequests(directory: string | undefined, signal?: AbortSignal): Promise<OpenRequestLists[]>;
  /** The server's own working directory. */
  serverDirectory(signal?: AbortSignal): Promise<string>;

  /** `taken` is no evidence of an end: look at the status. `nothing_ran` is one where no status can be had. */
  abort(
    sessionID: string,
    directory?: string,
    signal?: AbortSignal,
    timeoutMs?: number,
  ): Promise<'taken' | 'nothing_ran'>;
  /** Drops the directory's instance, with all its runs. The answer is no evidence of their end: look at the status. */
  dispose(directory: string, signal?: AbortSignal, timeoutMs?: number): Promise<void>;
  /** Returns when the server has taken the prompt. That its run begins is for the status to show. */
  prompt(
    sessionID: string,
    directory: string | undefined,
    prompt: ContinuePrompt,
    signal?: AbortSignal,
  ): Promise<void>;
  /** Answers no in a person's place, so that the run goes on. */
  rejectRequest(
    request: PendingRequest & { sessionID: string },
    directory: string | undefined,
    message: string,
    signal?: AbortSignal,
  ): Promise<void>;
  /** Ends every request in flight. */
  close(): Promise<void>;
}
