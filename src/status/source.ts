/** What the status endpoint may see of the daemon and ask of it: the only way from the page to the event loop. */
import type { ActBy } from '../telemetry/catalogue/events.js';
import type { ServerHealth, SessionFields } from '../watchdog/decision.js';
import type { ParkedRun, Spent } from '../watchdog/observation.js';
import type { BreakerState } from '../watchdog/server/circuit-breaker.js';
import type { SessionDetail } from '../watchdog/watchdog.js';

export interface ServerFacts {
  health: ServerHealth;
  /** Why the server is not understood, or what is known about one that refuses the password. */
  says?: string;
  /** How long it has had this state, ms; undefined if nothing is known yet. */
  forMs?: number;
  pid?: number;
  version?: string;
  /** The version of opencode's API that it speaks: 1 or 2. */
  api?: number;
  /** Restarts since the daemon started. */
  restarts: number;
  /** Restarts in `restart.window`. */
  recentRestarts: number;
  breaker: { state: BreakerState; opensAgainInMs?: number };
  stream: { connected: boolean; silentMs?: number; events: number };
}

/** One active session, with what it waits for or fails on. */
export type SessionFacts = SessionDetail;

/** Limits that a person compares a session with; 0 means off. */
export interface ShownLimits {
  maxSilenceMs: number;
  maxAttempts: number;
  maxToolTimeMs: number;
  maxRunTimeMs: number;
}

/** What a session is saying and doing now, and the end of its transcript. */
export interface SessionExcerpt {
  lastWords?: string;
  tool?: { tool: string; input: string };
  question?: string;
  messages: readonly {
    role: string;
    text: string;
    tools: readonly string[];
    at?: number;
    error?: string;
  }[];
}

export interface ActResult {
  ok: boolean;
  /** If it is not ok: the HTTP status that says why. */
  status?: 404 | 409 | 502;
  /** One plain sentence. */
  says: string;
  outcome?: string;
  tookMs?: number;
}

export interface StatusSource {
  server(): ServerFacts;
  /** The active sessions; the idle ones are only counted. */
  sessions(): SessionFacts[];
  readonly limits: ShownLimits;
  /** The session's excerpt as last read. */
  excerpt(sessionID: string): SessionExcerpt | undefined;
  /** Says that somebody is reading about these sessions, the most urgent first. */
  wantExcerpts(sessions: readonly { sessionID: string; directory?: string }[]): void;
  /** Reads the excerpt now; undefined if that fails. */
  askExcerpt(sessionID: string, directory: string | undefined): Promise<SessionExcerpt | undefined>;
  /** The sessions that are no longer continued (`recover.quarantineAfter`). */
  quarantined(): Iterable<SessionFields>;
  /** The idle sessions that wait for their quota. */
  parked(): Pick<ParkedRun, 'sessionID' | 'directory' | 'title' | 'inMs' | 'forMs'>[];
  readonly idleSessions: number;
  /** What the whole server has spent since midnight. */
  readonly spentToday: Readonly<Spent>;
  /** What was spent since the daemon's start, by `provider/model`. */
  readonly spentByModel: ReadonlyMap<string, Readonly<Spent>>;
  /** Resident memory of the server's process tree, at most some seconds old. */
  memory(): Promise<number | undefined>;
  readonly paused: boolean;
  readonly dryRun: boolean;
  /** Observations taken in so far, by kind. */
  readonly observations: ReadonlyMap<string, number>;
  /** How long the monitor has brought nothing, if that is too long; undefined if all is well. */
  readonly deafMs: number | undefined;
  /** Calls the listener with the duration of each answered health probe, ms. */
  onProbe(listener: (tookMs: number) => void): void;
  abort(sessionID: string, by: ActBy): Promise<ActResult>;
  restart(by: ActBy): ActResult;
  pause(by: ActBy): ActResult;
  resume(by: ActBy): ActResult;
}
