/** What the status endpoint may see of the daemon and ask of it: the one door between the page and the loop. */
import type { ActBy } from '../telemetry/catalogue/events.js';
import type { ServerHealth, SessionFields } from '../watchdog/decision.js';
import type { ParkedRun, Spent } from '../watchdog/observation.js';
import type { BreakerState } from '../watchdog/server/circuit-breaker.js';
import type { SessionDetail } from '../watchdog/watchdog.js';

export interface ServerFacts {
  health: ServerHealth;
  /** Why it is not understood, or what is known of a server that refuses the password. */
  says?: string;
  /** How long it has had this state, ms; undefined where nothing is known yet. */
  forMs?: number;
  pid?: number;
  version?: string;
  /** Which opencode's API it speaks: 1 or 2. */
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

/** Limits that a person compares a session with; 0 is off. */
export interface ShownLimits {
  maxSilenceMs: number;
  maxAttempts: number;
  maxToolTimeMs: number;
  maxRunTimeMs: number;
}

/** What a session says and does just now, and the end of its transcript. */
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
  /** Where it is not ok: the HTTP status that says why. */
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
  /** As it was last read. */
  excerpt(sessionID: string): SessionExcerpt | undefined;
  /** Somebody reads of these, the most urgent first. */
  wantExcerpts(sessions: readonly { sessionID: string; directory?: string }[]): void;
  /** Now; undefined where it cannot be had. */
  askExcerpt(sessionID: string, directory: string | undefined): Promise<SessionExcerpt | undefined>;
  /** Those that are continued no more (`recover.quarantineAfter`). */
  quarantined(): Iterable<SessionFields>;
  /** Idle ones that wait for their quota. */
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
  /** For how long the monitor has brought nothing, where that is too long; undefined where all is well. */
  readonly deafMs: number | undefined;
  /** Called with how long each answered health probe took, ms. */
  onProbe(listener: (tookMs: number) => void): void;
  abort(sessionID: string, by: ActBy): Promise<ActResult>;
  restart(by: ActBy): ActResult;
  pause(by: ActBy): ActResult;
  resume(by: ActBy): ActResult;
}
