/** The words of the driver's interface: what is asked of it, and what it answers. */
import type { Authorise } from '../../lib/authorise.js';
import type { Clock } from '../../lib/clock.js';
import type { SessionStatus } from '../../watchdog/observation.js';
import type { FilePart, Model, PermissionRule } from '../driver-api.js';
import type { Attempt } from './error.js';
import type { ModelSpec, Thinking } from './model.js';
import type { RunStep, SessionRef, ToolCall } from './run.js';
import type { OnRequest } from './run-requests.js';

import type { Tokens, ToolUse } from './transcript.js';

export type { FilePart, PermissionRule } from '../driver-api.js';
export type { RunStep, ToolCall } from './run.js';

export interface DriverOptions {
  /** Where `opencode serve` listens. Default: `http://localhost:4096`. */
  url?: string;
  /** Which opencode speaks there. Default: `auto`, recognised by its answers. */
  api?: 'auto' | 1 | 2;
  username?: string;
  /** A function is asked at each request. */
  password?: string | (() => string | undefined);
  clock?: Clock;
  /** Whether the password may be sent now. Default: to a process of our own user or of root, where the URL is local. */
  authorise?: Authorise;
  /** Looks for the `opencode` command; without it `check` says nothing about it. */
  findBinary?: () => Promise<BinaryState>;
  /** Starts a server on the URL's host and port, and settles when it is healthy. */
  startServer?: (signal?: AbortSignal) => Promise<void>;
  /** Told what is worth knowing and no error: a wish that is ignored, a failed attempt, a session left behind. */
  onNotice?: (message: string) => void;
}

export type BinaryState =
  | { found: true; path: string; version: string }
  | { found: true; path: string; error: string }
  | { found: false; error: string };

export interface Availability {
  /** A prompt can be sent: the server answers, and a provider is connected. */
  ok: boolean;
  url: string;
  binary?: BinaryState;
  server: { up: true; version?: string } | { up: false; error: string };
  /** Present where the server is up. */
  providers?: { connected: string[]; defaultModel?: string };
  /** `check({ start: true })` has started it. */
  started?: boolean;
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
  /** Mapped to a variant that has a budget, where the model has one; else said to be ignored. */
  thinking?: Thinking;
  agent?: string;
  /** Added to opencode's own system text. */
  system?: string;
  context?: readonly ContextText[];
  files?: readonly FilePart[];
  /** A JSON schema: the answer has its form, and is in the reply's `structured`. */
  schema?: Readonly<Record<string, unknown>>;
  /** Behind the run that the session is at work on; else such a prompt is refused (`session_busy`). */
  queue?: boolean;
  onNotice?: (message: string) => void;
  signal?: AbortSignal;
}

export interface WaitOptions {
  /** From the call to its end, over every request. Default: 60 s. */
  timeoutMs?: number;
  /** opencode's attempt counter may not reach this. Default: 5. */
  maxAttempts?: number;
  /** Model requests that the run may make. Default: no limit but the time. */
  maxSteps?: number;
  /** The reply's text as it comes. */
  onText?: (text: string) => void;
  /** A tool was called, and again when it has ended. */
  onTool?: (tool: ToolCall) => void;
  onStep?: (step: RunStep) => void;
  onNotice?: (message: string) => void;
  /** What becomes of a permission or question: answered no (default), or left to a person. */
  onRequest?: OnRequest;
  /** A last answer without text is a reply, and no `empty_reply`. */
  allowEmpty?: boolean;
  /** An answer that was cut is a reply, and not `truncated`; its `finish` says so. */
  allowTruncated?: boolean;
  signal?: AbortSignal;
}

/** The server has taken the prompt. `wait` follows it to its end. */
export interface Sent {
  session: SessionRef;
  /** As it was asked for; absent where the server chooses. */
  model?: string;
  wait(options?: WaitOptions): Promise<Reply>;
}

export interface Reply {
  sessionID: string;
  directory?: string;
  model?: string;
  /** The final answer: the text of the last message. */
  text: string;
  /** The answer in the form of the prompt's `schema`. */
  structured?: unknown;
  reasoning?: string;
  /** Why the model stopped, of the last message: `stop`, `length`. */
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
  /** Of all steps. */
  tokens?: Tokens;
  /** US dollars as opencode reckons them, of all steps. */
  costUsd?: number;
  tookMs: number;
}

export interface PromptOptions extends SendOptions, WaitOptions, Omit<NewSession, 'signal'> {
  prompt: string;
  /** Tried in turn, each in a new session, when a model is down. */
  fallback?: readonly ModelSpec[];
  /** The last answer of this session goes before the prompt, in a session of its own. */
  fromSession?: string;
  /** Over all tries, ms; `timeoutMs` is each one's. Default: no limit but theirs. */
  deadlineMs?: number;
  /** The session is not deleted. */
  keep?: boolean;
}

export interface PromptResult extends Reply {
  /** False with `keep`, and where it could not be done: a notice says why. */
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
  /** Undefined where its directory was not asked: asking would start an instance there (facts, section 3). */
  status: { type: 'ready' } | Exclude<SessionStatus, { type: 'idle' }> | undefined;
  /** Deleted, and its run goes on. */
  ghost?: true;
}

export interface ModelList {
  connected: string[];
  /** Connected providers' models first. */
  models: (Model & { variants?: Readonly<Record<string, unknown>> })[];
  defaults: Record<string, string>;
  /** What a prompt without a model gets, where opencode's configuration says so. */
  configured?: string;
}
