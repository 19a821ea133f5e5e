/**
 * What the watchdog needs from an opencode server, in its own terms. `v1/` and `v2/` implement it over the APIs of
 * opencode 1.x and 2.x; nothing outside of a version's folder knows its routes or shapes.
 */
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
   * `means`: what is known about the server that refuses, as a phrase. `isWithheld`: it was asked without the password,
   * because it is not proven yet who answers.
   */
  | { kind: 'unauthorized'; status: number; error: string; means?: string; isWithheld?: true }
  /** It answers over HTTP, so it is alive, but not like an opencode that we understand. `error` is for people. */
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
  /** What a program wrote to it when it was created; absent before 1.18. */
  metadata?: Record<string, unknown>;
}

export interface OwnedRequest extends PendingRequest {
  sessionID: string;
  /** The tool call that waits for it, if opencode says so. */
  call?: { messageID: string; callID: string };
}

/**
 * The open requests of one directory. A kind is absent if the server has no list of it, which differs from an empty
 * list.
 */
export interface OpenRequestLists {
  directory: string;
  permissions?: readonly OwnedRequest[];
  questions?: readonly OwnedRequest[];
}

/** An inspection of one session. */
export interface Inspected {
  /** The session's own directory. */
  directory?: string;
  result: Extract<SessionObservation, { kind: 'session.inspected' }>['result'];
}

export interface LastMessage {
  id: string;
  byAssistant: boolean;
  /** True if opencode ended it with an error. */
  failed: boolean;
  /** It is unfinished: a prompt that was not answered, or an answer that was cut. */
  isOpen: boolean;
  /** It is an answer after which no step follows: its run ended by itself. */
  isFinal: boolean;
}

/** The end of a session's transcript, for a person to read. */
export interface Excerpt {
  /** What the model said last, in a line or a few. */
  lastWords?: string;
  /** The current tool call, with its arguments in short. */
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
  /** `provider/model`; if absent, opencode chooses. */
  model?: string;
  agent?: string;
}

/** An event stream of the server. */
export interface StreamRoute {
  path: string;
  /** False: it covers only the server's own directory, and does not name it. */
  ofAllDirectories: boolean;
}

/** What the first bytes of a frame say. */
export type FrameHead =
  /** It says that its session is alive, and nothing more. */
  | { kind: 'delta'; sessionID: string }
  | { kind: 'heartbeat' }
  /** Another frame says the same. */
  | { kind: 'repeated' }
  | { kind: 'other'; sessionID?: string; directory?: string };

/** One frame, read. */
export type Frame =
  | { kind: 'unreadable' }
  /** It says nothing that concerns the watchdog. */
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

/** Reads the events of one monitor, and remembers what earlier frames said. */
export interface EventReader {
  /** @param head the beginning of a frame, one character for each byte */
  head(head: string): FrameHead;
  /** @param place the directory of events that name none */
  read(text: string, place: string | undefined): Frame;
  /** The server has no status route: runs are known only from their events. */
  readonly statusless: boolean;
  /** Tells the reader that a probe was answered. `path` is the event stream's, if one is connected. */
  probed(version: string | undefined, path: string | undefined, signal: AbortSignal): Promise<void>;
  /** Forgets what is known of the version: another process may be another version. */
  forget(): void;
}

export interface ServerApi {
  /** Which API it is: that of opencode 1.x or 2.x. */
  readonly api: 1 | 2;
  /** The server's address, without credentials. */
  readonly url: string;
  /** Counts what could not be read in answers and events. */
  readonly parseStats: ParseStats;
  /** The server's wall clock, ms since the epoch: times in its answers are by that clock. */
  epoch(): number;
  /** Never rejects. */
  probe(signal?: AbortSignal, timeoutMs?: number): Promise<ProbeResult>;
  /** Forgets what was found out about the server: after a restart it may be another version. */
  forgetVersion(): void;

  /** The best one comes first. The second is tried if the first does not exist. */
  readonly streams: readonly [StreamRoute, ...StreamRoute[]];
  /** Where the event stream connects to, and with which credentials: it makes its own connection. */
  streamTarget(path: string): StreamTarget;
  eventReader(options: { notice: Notice }): EventReader;

  /** Whether one answer of `statuses` covers one directory or the whole server. */
  readonly statusScope: 'directory' | 'server';
  /**
   * The sessions in `directory` that are not idle; undefined asks about the server's own directory. If `statusScope` is
   * `server`, the directory makes no difference.
   */
  statuses(
    directory: string | undefined,
    signal?: AbortSignal,
    timeoutMs?: number,
  ): Promise<Map<string, SessionStatus>>;
  /** The sessions of all directories, most recently updated first. */
  recentSessions(limit: number, signal?: AbortSignal): Promise<SessionSummary[]>;
  /** Null if there is no such session (deleted, or never created). */
  session(
    sessionID: string,
    directory?: string,
    signal?: AbortSignal,
    timeoutMs?: number,
  ): Promise<SessionSummary | null>;
  inspect(sessionID: string, directory?: string, signal?: AbortSignal): Promise<Inspected>;
  lastMessage(
    sessionID: string,
    directory?: string,
    signal?: AbortSignal,
  ): Promise<LastMessage | undefined>;
  /** Asked for only when a person wants to see it. */
  excerpt(sessionID: string, directory?: string, signal?: AbortSignal): Promise<Excerpt>;
  /** The open requests of one directory; if it is undefined, of all directories in which sessions are active. */
  openRequests(directory: string | undefined, signal?: AbortSignal): Promise<OpenRequestLists[]>;
  /** The server's own working directory. */
  serverDirectory(signal?: AbortSignal): Promise<string>;

  /**
   * `taken` is no evidence that the run ended: check the status. `nothing_ran` is evidence if no status can be read.
   */
  abort(
    sessionID: string,
    directory?: string,
    signal?: AbortSignal,
    timeoutMs?: number,
  ): Promise<'taken' | 'nothing_ran'>;
  /** Drops the directory's instance, with all its runs. The answer is no evidence that they ended: check the status. */
  dispose(directory: string, signal?: AbortSignal, timeoutMs?: number): Promise<void>;
  /** Returns when the server has accepted the prompt. Only the status shows whether its run begins. */
  prompt(
    sessionID: string,
    directory: string | undefined,
    prompt: ContinuePrompt,
    signal?: AbortSignal,
  ): Promise<void>;
  /** Answers no on behalf of a person, so that the run goes on. */
  rejectRequest(
    request: PendingRequest & { sessionID: string },
    directory: string | undefined,
    message: string,
    signal?: AbortSignal,
  ): Promise<void>;
  /** Ends every request in flight. */
  close(): Promise<void>;
}
