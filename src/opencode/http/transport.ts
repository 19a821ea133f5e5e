/** One JSON request to opencode at a time: credentials, deadline, size bound, content type, and errors that explain. */
import { setMaxListeners } from 'node:events';
import type { Agent, IncomingMessage } from 'node:http';
import type { Authorise } from '../../lib/authorise.js';
import type { Clock, Timer } from '../../lib/clock.js';
import { OpencodeError, type OpencodeErrorKind, withoutCredentials } from './errors.js';
import { type KeptAnswer, KeptGets } from './kept-gets.js';
import {
  answerTo,
  lostKeptConnection,
  openAgent,
  openRequest,
  type Target,
  targetOf,
  textOf,
} from './node-http.js';

const MiB = 1024 * 1024;
/** What an ordinary answer may weigh. */
export const MAX_ANSWER_BYTES = 4 * MiB;
/** Of an error answer only this much is read: it is for the message. */
export const MAX_ERROR_BYTES = 16 * 1024;
/** Idle connections are kept beyond the poll and probe intervals (5 s), so that each poll finds one open. */
const KEEP_ALIVE_MS = 30_000;

export interface TransportOptions {
  url: string;
  username?: string;
  password?: string;
  clock: Clock;
  timeoutMs: number;
  /** Whether the password may be sent now; always, where this is absent. */
  authorise?: Authorise;
}

/** Where to, and with what: of this moment, as another process may hold the port in the next. */
export interface Authorised {
  hostname: string;
  /** Empty where there is no password, or where it is withheld. */
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
  maxBytes?: number;
}

/** Node's and the system's codes, by what they mean for us. */
const KIND_BY_CODE: Record<string, OpencodeErrorKind> = {
  ECONNREFUSED: 'refused',
  ENOTFOUND: 'refused',
  EAI_AGAIN: 'refused',
  EHOSTUNREACH: 'refused',
  ENETUNREACH: 'refused',
  ETIMEDOUT: 'timeout',
  HPE_HEADER_OVERFLOW: 'not_opencode',
};
const codeOf = (error: unknown) => {
  const code = (error as { code?: unknown } | null)?.code;
  if (typeof code === 'string') return code;
  // Node's happy-eyeballs wraps the refusals of each address.
  const first = (error as { errors?: unknown[] } | null)?.errors?.[0] as
    | { code?: unknown }
    | undefined;
  return typeof first?.code === 'string' ? first.code : undefined;
};

/** Why we ended a request ourselves. */
type Ended = 'deadline' | 'aborted' | 'closed';

export class Transport {
  /** The server's address without credentials or a trailing slash: for messages and logs. */
  readonly url: string;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #authorise: Authorise | undefined;
  readonly #base: URL;
  readonly #target: Target;
  /** What the server's own path puts before every route. */
  readonly #prefix: string;
  readonly #agent: Agent;
  /** Absent where TLS is spoken. */
  readonly #kept: KeptGets | undefined;
  #closed = false;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #secrets: string[];

  constructor(options: TransportOptions) {
    const { url, username = 'opencode', password, clock, timeoutMs, authorise } = options;
    this.#base = new URL(url);
    // Credentials come from the options alone; those of a URL would end up in messages.
    this.#base.username = '';
    this.#base.password = '';
    this.#base.search = '';
    this.#base.hash = '';
    this.#target = targetOf(this.#base);
    this.#prefix = this.#base.pathname.replace(/\/+$/, '');
    this.url = withoutCredentials(this.#base).replace(/\/+$/, '');
    const token = password
      ? Buffer.from(`${username}:${password}`, 'utf8').toString('base64')
      : undefined;
    this.#authorise = authorise;
    this.#headers = token ? { authorization: `Basic ${token}` } : {};
    this.#secrets = [password, token].filter((secret): secret is string => Boolean(secret));
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    // Not bounded: a request that hangs must not keep a probe from its connection. Callers bound themselves.
    this.#agent = openAgent(this.#base, KEEP_ALIVE_MS);
    const { hostname, port, protocol } = this.#target;
    // Its connections send the same head each time, so it serves where nobody asks.
    if (protocol !== 'http:' || authorise !== undefined) return;
    this.#kept = new KeptGets({
      host: hostname,
      port: Number(port || 80),
      headers: { host: this.#base.host, accept: 'application/json', ...this.#headers },
      keptMs: KEEP_ALIVE_MS,
      clock,
    });
  }

  /** The parsed JSON of a 2xx answer; undefined for an empty one (204). Rejects with `OpencodeError` only. */
  async json(request: Request): Promise<unknown> {
    const { method = 'GET', path, query, body, signal, maxBytes = MAX_ANSWER_BYTES } = request;
    const timeoutMs = request.timeoutMs ?? this.#timeoutMs;
    const what = `${method} ${this.url}${path}`;
    let ended: Ended | undefined;
    let asking: { destroy(): void } | undefined;
    const end = (why: Ended) => {
      ended ??= why;
      asking?.destroy();
    };
    const onAbort = () => end('aborted');
    if (signal?.aborted) ended = 'aborted';
    else if (signal) {
      // Many requests of one caller end with one signal; Node would take more than ten for a leak, on stderr.
      setMaxListeners(0, signal);
      signal.addEventListener('abort', onAbort, { once: true });
    }
    if (this.#closed) ended ??= 'closed';
    const deadline = this.#deadline(timeoutMs, () => end('deadline'));
    let withheld: string | undefined;
    try {
      const route = `${this.#prefix}${path}${queryOf(query)}`;
      const begun = (by: { destroy(): void }) => {
        asking = by;
      };
      const kept =
        ended === undefined && method === 'GET' && body === undefined
          ? await this.#kept?.get(route, maxBytes, begun)
          : undefined;
      const send = async (): Promise<IncomingMessage> => {
        const authorised = await this.authorised();
        withheld = authorised.withheld;
        if (this.#closed) ended ??= 'closed';
        if (ended !== undefined) throw new Error(ended);
        const target = { ...this.#target, hostname: authorised.hostname };
        const sent = openRequest(target, {
          method,
          path: route,
          // A connection that was made without the password may lead to another process than the next one's: never reused.
          agent: withheld === undefined ? this.#agent : false,
          headers: {
            host: this.#base.host,
            accept: 'application/json',
            ...authorised.headers,
            ...(body !== undefined && { 'content-type': 'application/json' }),
          },
        });
        asking = sent;
        const answer = answerTo(sent);
        sent.end(body === undefined ? undefined : JSON.stringify(body));
        return answer.catch((error: unknown) => {
          if (method !== 'GET' || !lostKeptConnection(sent, error)) throw error;
          return send();
        });
      };
      const { status: statusCode, contentType: type, text } = kept ?? (await read(send, maxBytes));
      const isJson = /^application\/([\w.+-]+\+)?json\b/i.test(type);
      if (statusCode < 200 || statusCode >= 300) {
        const isShort = text !== undefined && text.length <= MAX_ERROR_BYTES;
        throw this.#statusError(what, statusCode, isJson && isShort ? text : undefined);
      }
      if (text === undefined) {
        throw new OpencodeError({
          kind: 'too_large',
          request: what,
          outcome: `answered more than ${maxBytes} bytes`,
        });
      }
      if (method === 'GET') this.#kept?.allow();
      if (statusCode === 204 || (text === '' && !type)) return undefined;
      if (!isJson) {
        throw this.notOpencode(
          what,
          `answered ${statusCode} with ${type || 'no content type'}, not JSON`,
        );
      }
      try {
        return JSON.parse(text);
      } catch {
        throw this.notOpencode(what, `answered ${statusCode} with JSON that does not parse`);
      }
    } catch (error) {
      throw this.#explain(error, what, timeoutMs, ended).withAdvice(withheld);
    } finally {
      deadline.cancel();
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** Asked anew for each request and each connection. */
  async authorised(): Promise<Authorised> {
    const answer = await this.#authorise?.();
    const hostname = answer?.hostname ?? this.#target.hostname;
    const hasPassword = this.#headers.authorization !== undefined;
    return answer?.kind === 'withheld' && hasPassword
      ? { hostname, headers: {}, withheld: answer.why }
      : { hostname, headers: this.#headers };
  }

  /** The URL of a route, below whatever path the server's URL has. */
  route(path: string): URL {
    return new URL(`${this.url}${path}`);
  }

  /** Forgets pooled connections and ends what is in flight; nothing is asked any more. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#agent.destroy();
    this.#kept?.close();
  }

  notOpencode(request: string, outcome: string): OpencodeError {
    return new OpencodeError({ kind: 'not_opencode', request, outcome });
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
    const detail = text ? this.#scrub(text) : undefined;
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
    if (ended === 'deadline') {
      const outcome = `did not answer within ${timeoutMs} ms`;
      return new OpencodeError({ kind: 'timeout', request, outcome });
    }
    if (ended === 'aborted') {
      return new OpencodeError({ kind: 'aborted', request, outcome: 'was given up by us' });
    }
    const code = codeOf(error);
    const kind = (code && KIND_BY_CODE[code]) || 'network';
    const outcome = kind === 'refused' ? 'could not connect' : 'failed';
    const detail = this.#scrub((error as Error)?.message || code || String(error));
    return new OpencodeError({ kind, request, outcome, detail, cause: error });
  }

  #scrub(text: string): string {
    return this.#secrets.reduce((clean, secret) => clean.replaceAll(secret, '***'), text);
  }
}

/** What came by Node's client; of an error's text only what may be of use. */
async function read(send: () => Promise<IncomingMessage>, maxBytes: number): Promise<KeptAnswer> {
  const response = await send();
  const { statusCode: status = 0, headers } = response;
  const contentType = String(headers['content-type'] ?? '');
  const isError = status < 200 || status >= 300;
  const text = isError
    ? await textOf(response, MAX_ERROR_BYTES).catch(() => undefined)
    : await textOf(response, maxBytes);
  return { status, contentType, text };
}

function queryOf(query: Request['query'] = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined);
  if (given.length === 0) return '';
  return `?${given.map(([name, value]) => `${name}=${encodeURIComponent(String(value))}`).join('&')}`;
}
