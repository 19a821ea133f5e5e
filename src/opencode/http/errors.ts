/** What can go wrong between us and opencode's HTTP API, with messages that tell the reader what to do next. */
import { maskedForCut } from '../../lib/redaction.js';
import type { ProbeFailure } from '../../watchdog/observation.js';

export type OpencodeErrorKind =
  | 'refused'
  | 'timeout'
  | 'unauthorized'
  | 'http'
  | 'not_opencode'
  | 'too_large'
  | 'network'
  | 'aborted';

/** The server's own error text in a message. At the limit: it is cut. */
export const MAX_DETAIL_CHARS = 200;

/** What the reader can do, by kind. We ended an `aborted` request ourselves, so there is nothing to do. */
const ADVICE: Record<OpencodeErrorKind, string | undefined> = {
  refused: 'Is `opencode serve` running, and is the URL its own?',
  timeout: 'The server may be busy, frozen, or still starting.',
  unauthorized:
    'Set OPENCODE_SERVER_PASSWORD (or server.passwordFile) to the password of the server.',
  http: undefined,
  not_opencode:
    'Does the URL lead to `opencode serve` itself, not to a proxy, a web page or another program?',
  too_large: 'No healthy opencode answers this much; the answer was dropped.',
  network: 'The connection broke; the server may have just stopped.',
  aborted: undefined,
};

export interface OpencodeErrorDetails {
  kind: OpencodeErrorKind;
  /** What was tried: `GET http://host:4096/session/status`, without credentials. */
  request: string;
  /** What came back, as a phrase: `answered 500`. */
  outcome: string;
  statusCode?: number;
  /** The server's own words; they are cut here. */
  detail?: string;
  cause?: unknown;
  /** What the reader can do, if it is not what the kind advises. */
  advice?: string;
  /** Why the password was not sent, if that may be the reason for the answer. */
  withheld?: string;
}

export class OpencodeError extends Error {
  override readonly name = 'OpencodeError';
  readonly kind: OpencodeErrorKind;
  readonly statusCode?: number;
  readonly detail?: string;
  /** What was tried and what came back, without the server's address and without advice. */
  readonly answered: string;
  /** Why the password was not sent, if that may be the reason for the answer. */
  readonly withheld?: string;

  readonly #details: OpencodeErrorDetails;

  constructor(details: OpencodeErrorDetails) {
    const { kind, request, outcome, statusCode, detail, cause } = details;
    const words = detail ? bounded(detail, MAX_DETAIL_CHARS) : undefined;
    const advice = details.advice ?? ADVICE[kind];
    super(
      `${request} ${outcome}${words ? `: ${words}` : ''}.${advice ? ` ${advice}` : ''}`,
      cause === undefined ? undefined : { cause },
    );
    this.#details = details;
    this.kind = kind;
    if (details.withheld !== undefined) this.withheld = details.withheld;
    this.answered = `${request.replace(/https?:\/\/[^/]*/, '')} ${outcome}`;
    if (statusCode !== undefined) this.statusCode = statusCode;
    if (words !== undefined) this.detail = words;
  }

  /** Adds, as advice, why the password was withheld, if that may be the reason for the answer. */
  withAdvice(withheld: string | undefined): OpencodeError {
    const { kind } = this;
    if (withheld === undefined || (kind !== 'unauthorized' && kind !== 'not_opencode')) return this;
    return new OpencodeError({ ...this.#details, advice: withheld, withheld });
  }
}

/** At most `max` characters, on one line. */
export function bounded(text: string, max: number): string {
  const line = maskedForCut(text, max)
    .slice(0, max + 1)
    .replace(/\s+/g, ' ')
    .trim();
  const words = line.length > max ? `${line.slice(0, max - 1)}…` : line;
  // V8 keeps a whole string alive for a slice of it; a copy does not.
  return text.length > max ? Buffer.from(words, 'utf8').toString('utf8') : words;
}

/** The URL for messages: no user name, no password, no query. */
export function withoutCredentials(url: string | URL): string {
  const target = new URL(url);
  return `${target.origin}${target.pathname}`;
}

/**
 * True for errors that say that the session (or request) does not exist. Only opencode's own words say it: every version
 * names a `NotFoundError` (1.1 to 1.18 and 2.x with 404, earlier ones also with 500 or 400), and a proxy in front may
 * answer 404 for a session that runs.
 */
export function isNotFound(error: unknown): boolean {
  if (!(error instanceof OpencodeError) || error.kind !== 'http') return false;
  return error.detail?.includes('NotFoundError') ?? false;
}

/** The error's message, or the text of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The code of an error of Node, the system or undici. */
export function codeOf(error: unknown): string | undefined {
  const { code, errors } = (error ?? {}) as { code?: unknown; errors?: unknown[] };
  if (typeof code === 'string') return code;
  // Node's happy eyeballs wraps the errors of all addresses.
  return errors?.[0] === undefined ? undefined : codeOf(errors[0]);
}

/** The server's address cannot be found or reached from here. */
const OUR_NETWORK: ReadonlySet<unknown> = new Set([
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'EHOSTDOWN',
  'ENETUNREACH',
  'ENETDOWN',
  'EADDRNOTAVAIL',
]);

/** True for errors of the network in between, which prove nothing about the server. */
export function isOurNetwork({ cause }: OpencodeError): boolean {
  return OUR_NETWORK.has(codeOf(cause));
}

/** The probe failure that the error means; undefined if the error is no failure of the server. */
export function probeFailure(error: OpencodeError): ProbeFailure | undefined {
  switch (error.kind) {
    case 'refused':
      return isOurNetwork(error) ? 'network' : 'refused';
    case 'timeout':
    case 'http':
    case 'not_opencode':
    case 'network':
      return error.kind;
    case 'too_large':
      return 'not_opencode';
    case 'unauthorized':
    case 'aborted':
      return undefined;
    default:
      return error.kind satisfies never;
  }
}
