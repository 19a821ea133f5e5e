/** What can go wrong when a program drives opencode. `kind` tells the errors apart; each message says what to do. */
import type { ProbeFailure } from '../../watchdog/observation.js';
import { bounded, messageOf, OpencodeError, probeFailure } from '../http/errors.js';

export type DriverErrorKind =
  /** The request is not valid: an empty prompt, a file that is too large. */
  | 'usage'
  | 'bad_model_spec'
  | 'model_unknown'
  | 'variant_unknown'
  | 'agent_unknown'
  /** The `opencode` command is not installed, or does not run. */
  | 'binary_not_found'
  /** Nobody listens, nothing answers in time, or the server went away during the run. */
  | 'unreachable'
  | 'unauthorized'
  /** Something answers, and it is not opencode; or opencode answered with an error of its own. */
  | 'server'
  | 'session_not_found'
  /** The session is or was in retry: it was aborted, and is not used again. */
  | 'session_in_retry'
  /** The session is at work on another prompt (`queue` waits behind it). */
  | 'session_busy'
  /** A session could not be brought to rest. */
  | 'abort_failed'
  | 'delete_failed'
  | 'provider_not_connected'
  | 'provider_unreachable'
  /** The provider answered with an error. */
  | 'provider_failed'
  /** The run ended without a reply. */
  | 'run_failed'
  /** The model ended the run by itself, and said nothing in its last answer. */
  | 'empty_reply'
  /** The answer was cut at the model's output limit, or by the provider's filter. */
  | 'truncated'
  /** The run goes in circles: the same steps, empty ones, compactions, or the same passage again and again. */
  | 'loop'
  /** The run has made as many steps as it may (`maxSteps`), and goes on. */
  | 'step_limit'
  | 'timeout'
  /** The caller's signal ended it. */
  | 'aborted'
  /** A fault of the driver itself, or of a callback that it was given; `cause` has the error and its stack. */
  | 'internal';

/** What became of one session that was tried. */
export interface Attempt {
  model?: string;
  sessionID?: string;
  error?: { kind: DriverErrorKind; message: string };
}

export interface DriverErrorDetails {
  sessionID?: string;
  directory?: string;
  model?: string;
  /** The HTTP status of the provider's answer. */
  statusCode?: number;
  /** What was received of the reply before it failed. */
  received?: string;
  /** Why the model stopped in its last answer: `stop`, `length`. */
  finish?: string;
  /** The run was aborted, and seen to be at rest. */
  aborted?: boolean;
  /** A restart of the server, or a fault inside it, has cut the run. The prompt may be sent again. */
  cut?: true;
  /** The session was deleted, and seen to be gone. */
  deleted?: boolean;
  /** Every session that was tried, in order. */
  tries?: readonly Attempt[];
  cause?: unknown;
}

export class DriverError extends Error {
  override readonly name = 'DriverError';
  readonly kind: DriverErrorKind;
  /** What is known beyond the message; filled in while the session is brought to rest. */
  readonly details: Readonly<Omit<DriverErrorDetails, 'cause'>>;
  /** The end of the message: what `with` has added. */
  #added = '';

  constructor(kind: DriverErrorKind, message: string, details: DriverErrorDetails = {}) {
    const { cause, ...rest } = details;
    super(message, cause === undefined ? undefined : { cause });
    this.kind = kind;
    this.details = rest;
  }

  /** Returns the same error with details that are known by now. */
  with(details: Omit<DriverErrorDetails, 'cause'>, says?: string): DriverError {
    const { cause } = this;
    const added = says ? ` ${says}` : '';
    const error = new DriverError(this.kind, `${this.message}${added}`, {
      ...this.details,
      ...details,
      ...(cause !== undefined && { cause }),
    });
    error.#added = `${this.#added}${added}`;
    return error;
  }

  /** Returns an error that gives another reason for the same end. What `with` has added stays. */
  because(kind: DriverErrorKind, reason: string): DriverError {
    const message = `${reason}${this.#added}`;
    const error = new DriverError(kind, message, { ...this.details, cause: this });
    error.#added = this.#added;
    return error;
  }

  /** `cause` becomes an object with `name`, `message` and, if known, `code` and `cause`. */
  toJSON(): Record<string, unknown> {
    const cause = causeOf(this.cause);
    return { kind: this.kind, message: this.message, ...this.details, ...(cause && { cause }) };
  }
}

/**
 * The cause of a cause may say the most (undici: "fetch failed", and below it ECONNREFUSED). Further down is nothing
 * new.
 */
const CAUSES_DEEP = 3;
const CAUSE_CHARS = 500;

function causeOf(cause: unknown, depth = 1): Record<string, unknown> | undefined {
  if (cause === undefined) return undefined;
  if (!(cause instanceof Error)) return { message: bounded(String(cause), CAUSE_CHARS) };
  const { name, message } = cause;
  const code = 'code' in cause && typeof cause.code === 'string' ? cause.code : undefined;
  const deeper = depth < CAUSES_DEEP ? causeOf(cause.cause, depth + 1) : undefined;
  return {
    name,
    message: bounded(message, CAUSE_CHARS),
    ...(code !== undefined && { code }),
    ...(deeper && { cause: deeper }),
  };
}

/** Turns any error into a `DriverError`. A `DriverError` stays as it is. */
export function asDriverError(error: unknown, details: DriverErrorDetails = {}): DriverError {
  if (error instanceof DriverError) return error;
  if (!(error instanceof OpencodeError)) {
    const says = `the driver itself failed, or a callback that it was given: ${nameOf(error)}${messageOf(error)}.`;
    return new DriverError('internal', says, { ...details, cause: error });
  }
  const kind = KIND[error.kind];
  const failure = probeFailure(error);
  const advice = kind === 'unreachable' && failure ? ` ${adviceFor(failure)}` : '';
  return new DriverError(kind, `${messageOf(error)}${advice}`, { ...details, cause: error });
}

/** Says which command helps if a server gave no answer, or one that is not opencode's. */
export function adviceFor(failure: ProbeFailure): string {
  switch (failure) {
    case 'refused':
      return '"opencode-watchdog check --start" starts it.';
    case 'timeout':
      return 'It takes connections and answers nothing: "opencode-watchdog restart" starts it anew.';
    case 'network':
      return 'If it says so again, the host cannot be reached, or another program listens there: "ss -ltnp" shows which.';
    case 'http':
    case 'not_opencode':
      return '"opencode-watchdog check" says what answers there.';
  }
}

const nameOf = (error: unknown) => (error instanceof Error ? `${error.name}: ` : '');

const KIND: Record<OpencodeError['kind'], DriverErrorKind> = {
  refused: 'unreachable',
  timeout: 'unreachable',
  network: 'unreachable',
  unauthorized: 'unauthorized',
  http: 'server',
  not_opencode: 'server',
  too_large: 'server',
  aborted: 'aborted',
};

/** True if the same prompt may well succeed with another model. */
export function isModelsFault({ kind }: DriverError): boolean {
  switch (kind) {
    case 'model_unknown':
    case 'variant_unknown':
    case 'provider_not_connected':
    case 'provider_unreachable':
    case 'provider_failed':
    case 'run_failed':
    case 'empty_reply':
    case 'truncated':
    case 'loop':
    case 'timeout':
      return true;
    case 'usage':
    case 'bad_model_spec':
    case 'agent_unknown':
    case 'binary_not_found':
    case 'unreachable':
    case 'unauthorized':
    case 'server':
    case 'session_not_found':
    case 'session_in_retry':
    case 'session_busy':
    case 'abort_failed':
    case 'delete_failed':
    case 'step_limit':
    case 'aborted':
    case 'internal':
      return false;
  }
}

/** opencode puts the error's name before some of its messages, and a stack behind them. Neither helps the reader. */
export function firstLine(message: string): string {
  const line = message.split('\n', 1)[0] ?? '';
  return bounded(line.replace(/^(ProviderModelNotFoundError|UnknownError): /, ''), 300);
}
