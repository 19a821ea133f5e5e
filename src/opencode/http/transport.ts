/** JSON requests to opencode over undici: credentials, deadline, size bound, content type, and errors that explain. */
import { setMaxListeners } from 'node:events';
import { Agent } from 'undici';
import type { Authorise } from '../../lib/authorise.js';
import type { Clock, Timer } from '../../lib/clock.js';
import { createRedactor, type Redactor } from '../../lib/redaction.js';
import { hostInUrl, withoutEndSlashes } from '../../lib/server-address.js';
import { codeOf, OpencodeError, type OpencodeErrorKind, withoutCredentials } from './errors.js';
import { ServerClock } from './server-clock.js';

/**
 * The body of one answer from opencode. The longest are transcripts, whose messages carry files and tool output. At the
 * limit: reading stops, and the request fails.
 */
export const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
/** Idle connections are kept longer than the poll and probe intervals (5 s), so that each poll finds one open. */
const KEEP_ALIVE_MS = 30_000;
/**
 * Times that a GET is sent in all if its connection breaks. The server may have closed several idle connections. At the
 * limit: the request fails.
 */
const MAX_TRIES = 3;

export interface TransportOptions {
  url: string;
  username?: string;
  /** A function is called at each request, because the password may be created later. */
  password?: string | (() => string | undefined);
  clock: Clock;
  timeoutMs: number;
  /** Whether the password may be sent now. If this is absent, it always may. */
  authorise?: Authorise;
}

/**
 * Where to send a request, and with which headers. Valid only now: another process may hold the port a moment later.
 */
export interface Authorised {
  origin: string;
  /** Without credentials if there is no password, or if it is withheld. */
  headers: Readonly<Record<string, string>>;
  /** Why the password was not sent, although there is one. */
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
  /** Called before each connection. */
  authorised(): Promise<Authorised>;
}

interface Answer {
  status: number;
  contentType: string;
  /** Undefined if an error's text could not be read. */
  text: string | undefined;
}

/** What the error codes of Node, the system and undici mean for us. */
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
/** Codes of a connection that broke: the server may have closed it just when it was used. */
const BROKEN: ReadonlySet<unknown> = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']);

/** Why we ended a request ourselves. */
type Ended = 'deadline' | 'aborted' | 'closed';

export class Transport {
  /** The server's address without credentials or a trailing slash: for messages and logs. */
  readonly url: string;
  readonly #base: URL;
  /** The path of the server's URL, which goes before every route. */
  readonly #prefix: string;
  /**
   * The connections of requests with credentials, and of those without. A connection that was made before the password
   * was known may lead to a process that held the port then, so the password goes over none of them.
   */
  readonly #agents: { withCredentials: Agent; without: Agent };
  readonly #authorise: Authorise | undefined;
  readonly #credentials: () => Readonly<Record<string, string>>;
  /** For times in the server's answers. */
  readonly clock: ServerClock;
  readonly #timeoutMs: number;
  readonly #redactor: Redactor;
  /** Ends everything that is in flight. */
  readonly #closing = new AbortController();

  constructor(options: TransportOptions) {
    const { url, username = 'opencode', password, clock, timeoutMs, authorise } = options;
    // Credentials come only from the options; those in a URL would end up in messages.
    this.url = withoutEndSlashes(withoutCredentials(url));
    this.#base = new URL(this.url);
    this.#prefix = withoutEndSlashes(this.#base.pathname);
    const reveal = typeof password === 'function' ? password : () => password;
    // An answer may repeat the password that came with its request.
    let sent = '';
    this.#credentials = (): Record<string, string> => {
      const secret = reveal();
      if (!secret) return {};
      sent = secret;
      const token = Buffer.from(`${username}:${secret}`, 'utf8').toString('base64');
      return { authorization: `Basic ${token}` };
    };
    this.#authorise = authorise;
    this.#redactor = createRedactor([{ reveal: () => sent }]);
    this.clock = new ServerClock(clock);
    this.#timeoutMs = timeoutMs;
    setMaxListeners(0, this.#closing.signal);
    // The number of connections has no limit: a request that hangs must not keep a probe from getting one. Callers
    // limit themselves.
    const agent = () =>
      new Agent({
        keepAliveTimeout: KEEP_ALIVE_MS,
        maxResponseSize: MAX_ANSWER_BYTES,
        // Each request has its own deadline, kept by the clock.
        headersTimeout: 0,
        bodyTimeout: 0,
      });
    this.#agents = { withCredentials: agent(), without: agent() };
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
    // One signal of a caller may end many requests; from eleven listeners on Node would warn of a leak on stderr.
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

  /** Closes pooled connections and ends requests in flight. Afterwards no request can be made. */
  async close(): Promise<void> {
    this.#closing.abort();
    const { withCredentials, without } = this.#agents;
    await Promise.all([withCredentials.destroy(), without.destroy()]);
  }

  notOpencode(request: string, outcome: string): OpencodeError {
    return new OpencodeError({ kind: 'not_opencode', request, outcome });
  }

  /** The one place where credentials are fetched: for each request, and for each connection of an event stream. */
  async #authorised(): Promise<Authorised> {
    const { host, hostname } = this.#base;
    const credentials = this.#credentials();
    const hasPassword = credentials.authorization !== undefined;
    // Without a password the only question is which of its two addresses `localhost` means.
    const mustAsk = hasPassword || hostname === 'localhost';
    const answer = mustAsk ? await this.#authorise?.() : undefined;
    const origin = originOf(this.#base, answer?.hostname);
    return answer?.kind === 'withheld' && hasPassword
      ? { origin, headers: { host }, withheld: answer.why }
      : { origin, headers: { host, ...credentials } };
  }

  /** Sends the request. A GET is sent again if the connection broke before the answer. No redirect is followed. */
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
        const { withCredentials, without } = this.#agents;
        const agent = authorised.headers.authorization === undefined ? without : withCredentials;
        const askedAt = this.clock.asks();
        const answer = await agent.request({
          origin: authorised.origin,
          path: `${this.#prefix}${path}${queryOf(query)}`,
          method,
          headers: {
            accept: 'application/json',
            ...(body !== undefined && { 'content-type': 'application/json' }),
            ...authorised.headers,
          },
          // A connection made without the password is not reused: the next one may lead to another process.
          reset: authorised.withheld !== undefined,
          body: body === undefined ? null : JSON.stringify(body),
          signal,
        });
        this.clock.answered(answer.headers.date, askedAt);
        const status = answer.statusCode;
        const contentType = String(answer.headers['content-type'] ?? '');
        const isError = status < 200 || status >= 300;
        // An error's text is only used for the message: the status counts even if the text cannot be read.
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

  /**
   * Fires after `ms` of observed time. A timer that fires because this process stood still is set again for what is
   * left.
   */
  #deadline(ms: number, fire: () => void): Timer {
    const end = this.clock.now() + ms;
    let timer: Timer;
    const arm = (wait: number) => {
      timer = this.clock.after(wait, () => {
        const left = end - this.clock.now();
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

/**
 * `localhost` becomes 127.0.0.1, where opencode listens: another process may listen on [::1]. With TLS it stays a name.
 */
function originOf({ protocol, hostname, port, origin }: URL, loopback = '127.0.0.1'): string {
  if (protocol !== 'http:' || hostname !== 'localhost') return origin;
  return `http://${hostInUrl(loopback)}${port && `:${port}`}`;
}

function queryOf(query: Request['query'] = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined);
  if (given.length === 0) return '';
  return `?${given.map(([name, value]) => `${name}=${encodeURIComponent(String(value))}`).join('&')}`;
}
