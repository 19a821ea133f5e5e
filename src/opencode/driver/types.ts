/** The types of the driver's interface: what callers ask of it, and what it answers. */
import type { Authorise } from '../../lib/authorise.js';
import type { Clock } from '../../lib/clock.js';
import type { SessionStatus } from '../../watchdog/observation.js';
import type { FilePart, Model, PermissionRule } from '../driver-api.js';
import type { Attempt } from './error.js';
import type { LoopLimits } from './limits.js';
import type { ModelSpec, Thinking } from './model.js';
import type { OnRequest } from './run-requests.js';
import type { Tokens, ToolUse } from './transcript.js';

export type { FilePart, PermissionRule } from '../driver-api.js';

export interface DriverOptions {
  /** Where `opencode serve` listens. Default: `http://localhost:4096`. */
  url?: string;
  /** Which API the server speaks. Default: `auto`, recognised by the server's answers. */
  api?: 'auto' | 1 | 2;
  username?: string;
  /** A function is called at each request. */
  password?: string | (() => string | undefined);
  clock?: Clock;
  /** Whether the password may be sent now. Default: to a process of our own user or of root, if the URL is local. */
  authorise?: Authorise;
  /**
   * When a run goes in circles, and what happens then, as `loop` of the configuration says it. Default: its defaults,
   * and the run is aborted.
   */
  loop?: LoopLimits;
  /** Looks for the `opencode` command; without this, `check` says nothing about the command. */
  findBinary?: () => Promise<BinaryState>;
  /** Starts a server on the URL's host and port, and settles when it is healthy. */
  startServer?: (signal?: AbortSignal) => Promise<void>;
  /**
   * Called with what is worth knowing but no error: an option that is ignored, a failed attempt, a session left behind.
   */
  onNotice?: (message: string) => void;
}

export type BinaryState =
  | { found: true; path: string; version: string }
  /** The file exists, and was not asked for its version for this reason. */
  | { found: true; path: string; notAsked: string }
  | { found: true; path: string; error: string }
  | { found: false; error: string };

export interface Availability {
  /** A prompt can be sent: the server answers, and a provider is connected. */
  ok: boolean;
  url: string;
  binary?: BinaryState;
  server: { up: true; version?: string } | { up: false; error: string };
  /** Present if the server is up. */
  providers?: { connected: string[]; defaultModel?: string };
  /** `check({ start: true })` has started the server. */
  started?: boolean;
}

export interface SessionRef {
  id: string;
  /** The directory that it lives in. */
  directory?: string;
}

export interface NewSession {
  title?: string;
  /** The project; the server's own working directory by default. */
  directory?: string;
  agent?: string;
  permission?: readonly PermissionRule[];
  /** Makes it a child of this session, as a subagent's is. */
  parentID?: string;
  signal?: AbortSignal;
}

export interface DriverSession extends SessionRef {
  title?: string;
}

/** An earlier plan, a log, a note: text that goes before the prompt. */
export interface ContextText {
  name: string;
  text: string;
}

export interface SendOptions {
  model?: ModelSpec;
  variant?: string;
  /** Mapped to a variant that has a budget, if the model has one; otherwise a notice says that it is ignored. */
  thinking?: Thinking;
  agent?: string;
  /** Added to opencode's own system text. */
  system?: string;
  context?: readonly ContextText[];
  files?: readonly FilePart[];
  /** A JSON schema that the answer must follow. The answer is in the reply's `structured`. */
  schema?: Readonly<Record<string, unknown>>;
  /** If the session is at work, the prompt waits behind its run. Without this option it is refused (`session_busy`). */
  queue?: boolean;
  onNotice?: (message: string) => void;
  signal?: AbortSignal;
}

/** One call of a tool, as far as it has come. */
export interface ToolCall extends ToolUse {
  /** Stays the same until the call has ended. */
  id: string;
}

/** One model request of the run that has ended, with the tools that it called. */
export interface RunStep {
  /** From 1. */
  number: number;
  /** Why the model stopped: `stop`, `tool-calls`, `length`. */
  finish?: string;
  tools: number;
  toolErrors: number;
  /** All that opencode counted: input, output, reasoning and cache. */
  tokens?: number;
  costUsd?: number;
}

export interface WaitOptions {
  /** From the call to its end, all requests included. Default: 60 s. */
  timeoutMs?: number;
  /** opencode's attempt counter must stay below this. Default: 5. */
  maxAttempts?: number;
  /** Model requests that the run may make. Default: no limit but the time. */
  maxSteps?: number;
  /** The reply's text as it comes. */
  onText?: (text: string) => void;
  /** Called when a tool is called, and again when the call has ended. */
  onTool?: (tool: ToolCall) => void;
  onStep?: (step: RunStep) => void;
  onNotice?: (message: string) => void;
  /** What happens to a permission or question: it is answered no (default), or left to a person. */
  onRequest?: OnRequest;
  /** A last answer without text counts as a reply, not as `empty_reply`. */
  allowEmpty?: boolean;
  /** An answer that was cut counts as a reply, not as `truncated`; its `finish` says that it was cut. */
  allowTruncated?: boolean;
  signal?: AbortSignal;
}

/** The server has accepted the prompt, and shows it. `wait` follows its run to the end. */
export interface Sent {
  session: SessionRef;
  /** As it was asked for; absent if the server chooses. */
  model?: string;
  wait(options?: WaitOptions): Promise<Reply>;
}

export interface Reply {
  sessionID: string;
  directory?: string;
  model?: string;
  /** The final answer: the text of the last message. */
  text: string;
  /** The answer that follows the prompt's `schema`. */
  structured?: unknown;
  reasoning?: string;
  /** Why the model stopped in the last message: `stop`, `length`. */
  finish?: string;
  /** Model requests that the run took. */
  steps: number;
  /** Tool calls of the run. */
  tools: number;
  /** Each call of a tool, with what went wrong in it. */
  toolCalls: ToolUse[];
  /** Calls that changed a file. */
  filesChanged: number;
  /** Failed attempts of the provider before it answered. */
  retries: number;
  /** The tokens of all steps. */
  tokens?: Tokens;
  /** US dollars for all steps, as opencode calculates them. */
  costUsd?: number;
  tookMs: number;
}

export interface PromptOptions extends SendOptions, WaitOptions, Omit<NewSession, 'signal'> {
  prompt: string;
  /** Tried in turn, each in a new session, if a model fails. */
  fallback?: readonly ModelSpec[];
  /** The last answer of this session goes before the prompt. The prompt still gets a session of its own. */
  fromSession?: string;
  /** The limit for all tries together, ms; `timeoutMs` is the limit of each. Default: only the limits of each. */
  deadlineMs?: number;
  /** The session is not deleted. */
  keep?: boolean;
}

export interface PromptResult extends Reply {
  /** False with `keep`, or if the session could not be deleted: a notice says why. */
  deleted: boolean;
  /** Every session that was tried, in order; the last one replied. */
  tries: Attempt[];
}

export interface SessionState {
  id: string;
  directory?: string;
  title?: string;
  parentID?: string;
  /** Epoch ms. */
  updated?: number;
  /** Undefined if its directory was not asked about: asking would start an instance there (facts, section 3). */
  status: { type: 'ready' } | Exclude<SessionStatus, { type: 'idle' }> | undefined;
  /** The session was deleted, but its run goes on. */
  ghost?: true;
}

export interface ModelList {
  connected: string[];
  /** The models of connected providers come first. */
  models: (Model & { variants?: Readonly<Record<string, unknown>> })[];
  defaults: Record<string, string>;
  /** The model that a prompt without one gets, if opencode's configuration says so. */
  configured?: string;
}
