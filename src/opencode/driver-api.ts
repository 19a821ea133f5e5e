/**
 * What the driver needs of an opencode server beyond the watchdog's `ServerApi`, in its own terms. `v1/` and `v2/`
 * implement it; the driver knows no version's routes or shapes.
 */
import type { FinishedStep, SessionStatus } from '../watchdog/observation.js';
import type { ServerApi, SessionSummary } from './server-api.js';

/** The key of what the driver notes in a session's and in a prompt's metadata, where the server keeps it. */
export const METADATA_KEY = 'opencode-watchdog';

export interface ModelRef {
  providerID: string;
  modelID: string;
}

export interface Model {
  /** `provider/model`, as every command takes it. */
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
  /** Connected providers' models first. */
  models: Model[];
  /** Each provider's default model. */
  defaults: Record<string, string>;
}

/** The connected providers' models; each variant with the provider options that it stands for, where those are told. */
export interface Catalog extends Providers {
  models: (Model & { variants: Readonly<Record<string, unknown>> })[];
}

export interface PermissionRule {
  /** A tool: `bash`, `edit`, `webfetch`; `*` is all. */
  permission: string;
  pattern: string;
  action: 'allow' | 'deny' | 'ask';
}

/** A file that goes with a prompt; as a `data:` URL it need not be on the server's machine. */
export interface FilePart {
  type: 'file';
  mime: string;
  filename?: string;
  url: string;
}

/** A session that is to be made. */
export interface SessionWish {
  title: string;
  parentID?: string | undefined;
  agent?: string | undefined;
  permission?: readonly PermissionRule[] | undefined;
  metadata?: Readonly<Record<string, unknown>> | undefined;
}

/** A prompt that is to be sent. */
export interface PromptWish {
  text: string;
  /** Goes before the text. */
  context: readonly string[];
  files: readonly FilePart[];
  /** Kept by the server in the prompt's metadata, and never shown to a model. */
  mark: string;
  model: ModelRef | undefined;
  variant: string | undefined;
  agent: string | undefined;
  /** Added to opencode's own system text. */
  system: string | undefined;
  /** The JSON schema that the answer is to have; only where `takesSchema`. */
  schema: Readonly<Record<string, unknown>> | undefined;
  /** Behind the run that the session is at work on. */
  queue: boolean;
}

/** Why opencode ended a message or a run. */
export interface RunError {
  /** `MessageAbortedError` where somebody ended it, `ProviderAuthError`, `APIError` (a provider's), or another of opencode's. */
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
  /** Of an answer: the prompt that it belongs to. */
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
  /** US dollars, as opencode reckons them. */
  cost?: number;
  /** The answer to a prompt with a `schema`. */
  structured?: unknown;
  /** The summary that a compaction writes: no answer to anybody. */
  summary?: true;
  /** Written by opencode itself, for instance to go on after a compaction. */
  synthetic?: true;
  /** The mark that the driver put into its prompt, where the server has kept it. */
  mark?: string;
}

/** What an agent's rules let stop to ask a person. */
export interface Asking {
  agent: string;
  /** What it asks about: a tool, or a situation of opencode's own (`doom_loop`, `external_directory`). */
  permission: string;
  pattern: string;
}

/** What one event tells of a run. */
export type RunEvent =
  | { kind: 'status'; status: SessionStatus }
  /** Told once or twice. */
  | { kind: 'error'; error: RunError }
  /** A prompt that carries a mark: the driver's own, this one's or another process's. */
  | { kind: 'prompt'; messageID: string; mark: string }
  /** The model's answer is begun or goes on. `parentID`: the prompt that it belongs to. */
  | { kind: 'answer'; messageID: string; parentID?: string; model?: string }
  /** A text as far as it has come. */
  | { kind: 'text'; messageID: string; partID: string; of: TextKind; text: string }
  /** What has come since. */
  | { kind: 'text_added'; messageID: string; partID: string; added: string }
  | { kind: 'step'; step: FinishedStep }
  /** A tool was called, or is further than before. */
  | { kind: 'tool'; messageID: string; callID: string; use: ToolUse }
  | { kind: 'compacted' }
  /** `what` says in a few words for what a person is asked. */
  | { kind: 'asked'; requestID: string; on: 'permission' | 'question'; what: string }
  | { kind: 'answered'; requestID: string };

export type TextKind = 'text' | 'reasoning';

export interface RunFrame {
  sessionID: string;
  /** Where the frame tells of a subagent's session: whose it is. */
  parentID?: string;
  /** The directory that says so. */
  directory?: string;
  /** Read when it is asked for: most frames are of nobody's run. */
  events(): readonly RunEvent[];
}

/** Reads the frames of one event stream; remembers what those before have said. */
export interface RunEventReader {
  /** Undefined where the frame tells of no session. */
  read(text: string): RunFrame | undefined;
}

export interface DriverApi extends ServerApi {
  /** Settles when it is known as well as can be which opencode answers there; never rejects. */
  recognised(signal?: AbortSignal): Promise<void>;
  /** Whether an answer in the form of a JSON schema can be asked for; known once the server is recognised. */
  readonly takesSchema: boolean;
  /** Whether the error says that this server has no such route. */
  isMissingRoute(error: unknown): boolean;

  createSession(
    session: SessionWish,
    directory: string | undefined,
    signal?: AbortSignal,
  ): Promise<SessionSummary>;
  remove(sessionID: string, directory: string | undefined, signal?: AbortSignal): Promise<void>;
  /** The last `limit` messages, oldest first; all of them without a limit. */
  transcript(
    sessionID: string,
    directory: string | undefined,
    options?: { limit?: number; signal?: AbortSignal; timeoutMs?: number },
  ): Promise<Message[]>;
  /** Returns when the server has taken the prompt. */
  send(
    sessionID: string,
    directory: string | undefined,
    prompt: PromptWish,
    signal?: AbortSignal,
  ): Promise<void>;
  /** A fresh one for each event stream. */
  runEvents(): RunEventReader;

  /** Cheap; undefined where the server has no such list, or none just now. */
  catalog(directory: string | undefined, signal?: AbortSignal): Promise<Catalog | undefined>;
  /** Every provider's models, where the server tells of them; may be megabytes. */
  providers(signal?: AbortSignal): Promise<Providers>;
  /** What a prompt without a model gets (`provider/model`), where opencode says so. */
  configuredModel(signal?: AbortSignal): Promise<string | undefined>;
  /** Names; undefined where the server has no such list. */
  agents(directory: string | undefined, signal?: AbortSignal): Promise<string[] | undefined>;
  /** Undefined where it is not known how to read that of this server. */
  asking(signal?: AbortSignal): Promise<{ agents: number; asking: Asking[] } | undefined>;
}
