/**
 * What the driver needs from an opencode server beyond the watchdog's `ServerApi`, in its own terms. `v1/` and `v2/`
 * implement it; the driver knows no version's routes or shapes.
 */
import type { FinishedStep, SessionStatus } from '../watchdog/observation.js';
import type { ServerApi, SessionSummary } from './server-api.js';

/** The key of the driver's own data in the metadata of sessions and prompts, if the server keeps metadata. */
export const METADATA_KEY = 'opencode-watchdog';

export interface ModelRef {
  providerID: string;
  modelID: string;
}

export interface Model {
  /** `provider/model`, as every command accepts it. */
  id: string;
  name?: string;
  connected: boolean;
  /** Tokens. */
  contextLimit?: number;
  outputLimit?: number;
}

export interface Providers {
  /** Ids of the providers that have what they need to answer. */
  connected: string[];
  /** The models of connected providers come first. */
  models: Model[];
  /** Each provider's default model. */
  defaults: Record<string, string>;
}

/**
 * The models of connected providers. Each variant has the provider options that it stands for, if the server gives
 * them.
 */
export interface Catalog extends Providers {
  models: (Model & { variants: Readonly<Record<string, unknown>> })[];
}

export interface PermissionRule {
  /** A tool: `bash`, `edit`, `webfetch`; `*` means all tools. */
  permission: string;
  pattern: string;
  action: 'allow' | 'deny' | 'ask';
}

/** A file that is sent with a prompt. With a `data:` URL it need not exist on the server's machine. */
export interface FilePart {
  type: 'file';
  mime: string;
  filename?: string;
  url: string;
}

/** The request for a new session. */
export interface SessionWish {
  title: string;
  parentID?: string | undefined;
  agent?: string | undefined;
  permission?: readonly PermissionRule[] | undefined;
  metadata?: Readonly<Record<string, unknown>> | undefined;
}

/** The request to send a prompt. */
export interface PromptWish {
  text: string;
  /** Texts that go before `text`. */
  context: readonly string[];
  files: readonly FilePart[];
  /** The server keeps it in the prompt's metadata and never shows it to a model. */
  mark: string;
  model: ModelRef | undefined;
  variant: string | undefined;
  agent: string | undefined;
  /** Added to opencode's own system text. */
  system: string | undefined;
  /** The JSON schema that the answer must follow. Only allowed if `takesSchema` is true. */
  schema: Readonly<Record<string, unknown>> | undefined;
  /** The prompt waits behind the run that the session is working on. */
  queue: boolean;
}

/** Why opencode ended a message or a run. */
export interface RunError {
  /**
   * `MessageAbortedError` if somebody ended it, `ProviderAuthError`, `APIError` (from a provider), or another of
   * opencode's.
   */
  name: string;
  message: string;
  statusCode?: number;
  /** opencode's own view of whether the same request may work later. */
  isRetryable?: boolean;
}

export interface ToolUse {
  tool: string;
  /** opencode's word: `completed`, `error`, `running`, `pending`. */
  status: string;
  title?: string;
  /** Why it failed. */
  error?: string;
}

export interface Tokens {
  input: number;
  output: number;
  reasoning: number;
  cacheRead: number;
  cacheWrite: number;
}

export interface Message {
  id: string;
  role: string;
  /** For an answer: the prompt that it belongs to. */
  parentID?: string;
  /** Epoch ms. */
  created?: number;
  completed?: number;
  /** Why the model stopped: `stop`, `tool-calls`, `length`. */
  finish?: string;
  model?: string;
  agent?: string;
  error?: RunError;
  text: string;
  reasoning: string;
  tools: ToolUse[];
  /** Names of the files that came with it. */
  files: string[];
  tokens?: Tokens;
  /** US dollars, as opencode calculates them. */
  cost?: number;
  /** The answer to a prompt with a `schema`. */
  structured?: unknown;
  /** It is the summary that a compaction wrote, and answers no prompt. */
  summary?: true;
  /** opencode itself wrote it, for instance to continue after a compaction. */
  synthetic?: true;
  /** The mark that the driver put into its prompt, if the server kept it. */
  mark?: string;
}

/** A rule of an agent that makes it stop and ask a person. */
export interface Asking {
  agent: string;
  /** What it asks about: a tool, or a situation of opencode's own (`doom_loop`, `external_directory`). */
  permission: string;
  pattern: string;
}

/** What one event says about a run. */
export type RunEvent =
  | { kind: 'status'; status: SessionStatus }
  /** The same error may come twice. */
  | { kind: 'error'; error: RunError }
  /** A prompt that carries a driver's mark: the mark of this driver, or of one in another process. */
  | { kind: 'prompt'; messageID: string; mark: string }
  /** The model's answer has begun, or continues. `parentID`: the prompt that it belongs to. */
  | { kind: 'answer'; messageID: string; parentID?: string; model?: string }
  /** The whole text so far. */
  | { kind: 'text'; messageID: string; partID: string; of: TextKind; text: string }
  /** What was added to the text since then. */
  | { kind: 'text_added'; messageID: string; partID: string; added: string }
  | { kind: 'step'; step: FinishedStep }
  /** A tool was called, or its call has progressed. */
  | { kind: 'tool'; messageID: string; callID: string; use: ToolUse }
  | { kind: 'compacted' }
  /** `what` says in a few words what a person is asked for. */
  | { kind: 'asked'; requestID: string; on: 'permission' | 'question'; what: string }
  | { kind: 'answered'; requestID: string };

export type TextKind = 'text' | 'reasoning';

export interface RunFrame {
  sessionID: string;
  /** The parent session, if the frame is about a subagent's session. */
  parentID?: string;
  /** The directory that the frame names. */
  directory?: string;
  /** Read only when asked for: most frames belong to no run that the driver follows. */
  events(): readonly RunEvent[];
}

/** Reads the frames of one event stream, and remembers what earlier frames said. */
export interface RunEventReader {
  /** Undefined if the frame is about no session. */
  read(text: string): RunFrame | undefined;
  /** @param head the beginning of a frame or comment, one character for each byte */
  isHeartbeat(head: string): boolean;
}

/**
 * `withdrawn`: the prompt will not run. `delivered`: its run has begun, or is over. `unknown`: the server cannot say, or
 * did not answer.
 */
export type Withdrawal = 'withdrawn' | 'delivered' | 'unknown';

export interface DriverApi extends ServerApi {
  /** Settles when it is known, as well as it can be, which opencode answers there. Never rejects. */
  recognised(signal?: AbortSignal): Promise<void>;
  /** Whether the server can be asked for an answer that follows a JSON schema. Known once the server is recognised. */
  readonly takesSchema: boolean;
  /** Whether the error says that this server has no such route. */
  isMissingRoute(error: unknown): boolean;

  createSession(
    session: SessionWish,
    directory: string | undefined,
    signal?: AbortSignal,
  ): Promise<SessionSummary>;
  remove(sessionID: string, directory: string | undefined, signal?: AbortSignal): Promise<void>;
  /** The last `limit` messages, oldest first; without a limit, all of them. */
  transcript(
    sessionID: string,
    directory: string | undefined,
    options?: { limit?: number; signal?: AbortSignal; timeoutMs?: number },
  ): Promise<Message[]>;
  /** Returns when the server has accepted the prompt. */
  send(
    sessionID: string,
    directory: string | undefined,
    prompt: PromptWish,
    signal?: AbortSignal,
  ): Promise<void>;
  /** Takes the prompt with this mark back if it still waits behind another run. Ends no run. */
  withdraw(sessionID: string, mark: string, timeoutMs: number): Promise<Withdrawal>;
  /** Returns a new reader. Each event stream needs its own. */
  runEvents(): RunEventReader;

  /** Cheap. Undefined if the server has no such list, or none at the moment. */
  catalog(directory: string | undefined, signal?: AbortSignal): Promise<Catalog | undefined>;
  /** The models of every provider, if the server lists them. The answer may be megabytes. */
  providers(signal?: AbortSignal): Promise<Providers>;
  /** The model that a prompt without one gets in a new session (`provider/model`), if opencode says so. */
  configuredModel(signal?: AbortSignal): Promise<string | undefined>;
  /** The same for a prompt in this session. */
  modelFor(
    sessionID: string,
    directory: string | undefined,
    signal?: AbortSignal,
  ): Promise<string | undefined>;
  /** The names of the agents. Undefined if the server has no such list. */
  agents(directory: string | undefined, signal?: AbortSignal): Promise<string[] | undefined>;
  /** Undefined if it is not known how to read the rules of this server. */
  asking(signal?: AbortSignal): Promise<{ agents: number; asking: Asking[] } | undefined>;
}
