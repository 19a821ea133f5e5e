/** JSON requests to opencode over undici: credentials, deadline, size bound, content type, and errors that explain. */
import { setMaxListeners } from 'node:events';
import { Agent } from 'undici';
import type { Authorise } from '../../lib/authorise.js';
import type { Clock, Timer } from '../../lib/clock.js';
import { createRedactor, type Redactor } from '../../lib/redaction.js';
import { OpencodeError, type OpencodeErrorKind, withoutCredentials } from './errors.js';

/**
 * The body of one answer of opencode. The longest are transcripts, whose messages carry files and tool output. At the
 * limit: reading stops, and the request fails.
 */
export const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
/** Idle connections are kept beyond the poll and probe intervals (5 s), so that each poll finds one open. */
const KEEP_ALIVE_MS = 30_000;
/**
 * Times that a GET is sent in all where its connection breaks. Several kept connections may have been closed by the
 * server. At the limit: the request fails.
 */
const MAX_TRIES = 3;

export interface TransportOptions {
  url: string;
  username?: string;
  /** As a function it is asked for at each request: it may be made later. */
  password?: string | (() => string | undefined);
  clock: Clock;
  timeoutMs: number;
  /** Whether the password may be sent now; always, where this is absent. */
  authorise?: Authorise;
}

/** Where to, and with what: of this moment, as another process may hold the port in the next. */
export interface Authorised {
  origin: string;
  /** Without credentials where there is no password, or where it is withheld. */
  headers: Readonly<Record<string, string>>;
  /** Why a password that there is was not sent. */
  withheld?: string;
}

export interface Request {
  method?: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  path: string;
  query?: Record<string, string | number | undefined>;
  body?: unknown;
  signal?: AbortSignal | undefined;
  timeoutMs?: number | undefined;
}

/** Where an event stream is. */
export interface StreamTarget {
  url: URL;
  /** Asked before each connection. */
  authorised(): Promise<Authorised>;
}

interface Answer {
  status: number;
  contentType: string;
  /** Undefined where an error's text could not be read. */
  text: string | undefined;
}

/** Codes of Node, the system and undici, by what they mean for us. */
const KIND_BY_CODE: Record<string, OpencodeErrorKind> = {
  ECONNREFUSED: 'refused',
  ENOTFOUND: 'refused',
  EAI_AGAIN: 'refused',
  EHOSTUNREACH: 'refused',
  ENETUNREACH: 'refused',
  ETIMEDOUT: 'timeout',
  UND_ERR_CONNECT_TIMEOUT: 'timeout',
  UND_ERR_HEADERS_OVERFLOW: 'not_opencode',
  HPE_HEADER_OVERFLOW: 'not_opencode',
  UND_ERR_RES_EXCEEDED_MAX_SIZE: 'too_large',
};
/** The connection broke: the server may have closed it just as it was used. */
const BROKEN: ReadonlySet<unknown> = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']);

/** Why we ended a request ourselves. */
type Ended = 'deadline' | 'aborted' | 'closed';

export class Transport {
  /** The server's address without credentials or a trailing slash: for messages and logs. */
  readonly url: string;
  readonly #base: URL;
  /** What the server's own path puts before every route. */
  readonly #prefix: string;
  readonly #agent: Agent;
  readonly #authorise: Authorise | undefined;
  readonly #credentials: () => Readonly<Record<string, string>>;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #redactor: Redactor;
  /** Ends everything that is in flight. */
  readonly #closing = new AbortController();

  constructor(options: TransportOptions) {
    const { url, username = 'opencode', password, clock, timeoutMs, authorise } = options;
    // Credentials come from the options alone; those of a URL would end up in messages.
    this.url = withoutCredentials(url).replace(/\/+$/, '');
    this.#base = new URL(this.url);
    this.#prefix = this.#base.pathname.replace(/\/+$/, '');
    const reveal = typeof password === 'function' ? password : () => password;
    this.#credentials = (): Record<string, string> => {
      const secret = reveal();
      if (!secret) return {};
      const token = Buffer.from(`${username}:${secret}`, 'utf8').toString('base64');
      return { authorization: `Basic ${token}` };
    };
    this.#authorise = authorise;
    this.#redactor = createRedactor(password ? [{ reveal: () => reveal() ?? '' }] : []);
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    setMaxListeners(0, this.#closing.signal);
    // Connections are not bounded: a request that hangs must not keep a probe from its own. Callers bound themselves.
    this.#agent = new Agent({
      keepAliveTimeout: KEEP_ALIVE_MS,
      maxResponseSize: MAX_ANSWER_BYTES,
      // The deadline of each request is kept by the clock.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
  }

  /** The parsed JSON of a 2xx answer; undefined for an empty one (204). Rejects with `OpencodeError` only. */
  async json(request: Request): Promise<unknown> {
    const { method = 'GET', path, signal } = request;
    const timeoutMs = request.timeoutMs ?? this.#timeoutMs;
    const what = `${method} ${this.url}${path}`;
    const control = new AbortController();
    let ended: Ended | undefined;
    const end = (why: Ended) => {
      ended ??= why;
      control.abort();
    };
    const onAbort = () => end('aborted');
    const onClose = () => end('closed');
    // Many requests of one caller end with one signal; Node would take more than ten for a leak, on stderr.
    if (signal) setMaxListeners(0, signal);
    signal?.addEventListener('abort', onAbort, { once: true });
    this.#closing.signal.addEventListener('abort', onClose, { once: true });
    if (signal?.aborted) onAbort();
    if (this.#closing.signal.aborted) onClose();
    const deadline = this.#deadline(timeoutMs, () => end('deadline'));
    let withheld: string | undefined;
    try {
      const answer = await this.#send(request, control.signal, (authorised) => {
        withheld = authorised.withheld;
      });
      return this.#read(what, answer);
    } catch (error) {
      throw this.#explain(error, what, timeoutMs, ended).withAdvice(withheld);
    } finally {
      deadline.cancel();
      signal?.removeEventListener('abort', onAbort);
      this.#closing.signal.removeEventListener('abort', onClose);
    }
  }

  /** For an event stream, which has a connection of its own. */
  streamTarget(path: string): StreamTarget {
    return { url: new URL(`${this.url}${path}`), authorised: () => this.#authorised() };
  }

  /** Forgets pooled connections and ends what is in flight; nothing is asked any more. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#agent.destroy();
  }

  notOpencode(request: string, outcome: string): OpencodeError {
    return new OpencodeError({ kind: 'not_opencode', request, outcome });
  }

  /** The one place where credentials are fetched: for each request, and for each connection of an event stream. */
  async #authorised(): Promise<Authorised> {
    const { host, hostname } = this.#base;
    const credentials = this.#credentials();
    const hasPassword = credentials.authorization !== undefined;
    // Without a password there is nothing to ask about, but which of its two addresses `localhost` means.
    const mustAsk = hasPassword || hostname === 'localhost';
    const answer = mustAsk ? await this.#authorise?.() : undefined;
    const origin = originOf(this.#base, answer?.hostname);
    return answer?.kind === 'withheld' && hasPassword
      ? { origin, headers: { host }, withheld: answer.why }
      : { origin, headers: { host, ...credentials } };
  }

  /** Asks, and again what only asks where the connection broke before the answer. No redirect is followed. */
  async #send(
    { method = 'GET', path, query, body }: Request,
    signal: AbortSignal,
    onAuthorised: (authorised: Authorised) => void,
  ): Promise<Answer> {
    for (let tries = 1; ; tries += 1) {
      try {
        const authorised = await this.#authorised();
        onAuthorised(authorised);
        signal.throwIfAborted();
        const answer = await this.#agent.request({
          origin: authorised.origin,
          path: `${this.#prefix}${path}${queryOf(query)}`,
          method,
          headers: {
            accept: 'application/json',
            ...(body !== undefined && { 'content-type': 'application/json' }),
            ...authorised.headers,
          },
          // A connection that was made without the password may lead to another process than the next one's.
          reset: authorised.withheld !== undefined,
          body: body === undefined ? null : JSON.stringify(body),
          signal,
        });
        const status = answer.statusCode;
        const contentType = String(answer.headers['content-type'] ?? '');
        const isError = status < 200 || status >= 300;
        // What an error says is for the message alone: the status counts also where the words cannot be read.
        const text = isError
          ? await answer.body.text().catch(() => undefined)
          : await answer.body.text();
        return { status, contentType, text };
      } catch (error) {
        if (method !== 'GET' || tries >= MAX_TRIES || !BROKEN.has(codeOf(error))) throw error;
      }
    }
  }

  #read(request: string, { status, contentType, text = '' }: Answer): unknown {
    const isJson = /^application\/([\w.+-]+\+)?json\b/i.test(contentType);
    if (status < 200 || status >= 300) {
      throw this.#statusError(request, status, isJson ? text : undefined);
    }
    if (status === 204 || (text === '' && !contentType)) return undefined;
    if (!isJson) {
      const type = contentType || 'no content type';
      throw this.notOpencode(request, `answered ${status} with ${type}, not JSON`);
    }
    try {
      return JSON.parse(text);
    } catch {
      throw this.notOpencode(request, `answered ${status} with JSON that does not parse`);
    }
  }

  /** Fires after `ms` of observed time: a timer that is late because this process stood still is set again. */
  #deadline(ms: number, fire: () => void): Timer {
    const end = this.#clock.now() + ms;
    let timer: Timer;
    const arm = (wait: number) => {
      timer = this.#clock.after(wait, () => {
        const left = end - this.#clock.now();
        if (left >= 1) arm(left);
        else fire();
      });
    };
    arm(ms);
    return { cancel: () => timer.cancel() };
  }

  #statusError(request: string, statusCode: number, text: string | undefined): OpencodeError {
    const outcome = `answered ${statusCode}`;
    if (statusCode === 401 || statusCode === 403) {
      return new OpencodeError({ kind: 'unauthorized', request, outcome, statusCode });
    }
    const detail = text ? this.#redactor.text(text) : undefined;
    return new OpencodeError({
      kind: 'http',
      request,
      outcome,
      statusCode,
      ...(detail && { detail }),
    });
  }

  #explain(error: unknown, request: string, timeoutMs: number, ended?: Ended): OpencodeError {
    if (error instanceof OpencodeError) return error;
    switch (ended) {
      case 'deadline': {
        const outcome = `did not answer within ${timeoutMs} ms`;
        return new OpencodeError({ kind: 'timeout', request, outcome });
      }
      case 'aborted':
        return new OpencodeError({ kind: 'aborted', request, outcome: 'was given up by us' });
      case 'closed':
      case undefined: {
        const code = codeOf(error);
        const kind = (code && KIND_BY_CODE[code]) || 'network';
        if (kind === 'too_large') {
          const outcome = `answered more than ${MAX_ANSWER_BYTES} bytes`;
          return new OpencodeError({ kind, request, outcome });
        }
        const outcome = kind === 'refused' ? 'could not connect' : 'failed';
        const detail = this.#redactor.text((error as Error)?.message || code || String(error));
        return new OpencodeError({ kind, request, outcome, detail, cause: error });
      }
      default:
        return ended satisfies never;
    }
  }
}

/** `localhost` is 127.0.0.1, where opencode listens: [::1] may be another process's. Behind TLS it is a name. */
function originOf({ protocol, hostname, port, origin }: URL, loopback = '127.0.0.1'): string {
  if (protocol !== 'http:' || hostname !== 'localhost') return origin;
  return `http://${loopback.includes(':') ? `[${loopback}]` : loopback}${port && `:${port}`}`;
}

function codeOf(error: unknown): string | undefined {
  const { code, errors } = (error ?? {}) as { code?: unknown; errors?: unknown[] };
  if (typeof code === 'string') return code;
  // Node's happy-eyeballs wraps the refusals of each address.
  return errors?.[0] === undefined ? undefined : codeOf(errors[0]);
}

function queryOf(query: Request['query'] = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined);
  if (given.length === 0) return '';
  return `?${given.map(([name, value]) => `${name}=${encodeURIComponent(String(value))}`).join('&')}`;
}
