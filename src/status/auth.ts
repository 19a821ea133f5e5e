/** Decides who may request what: by the name that was called (`Host`), the calling page (`Origin`) and the token. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import type { Revealable } from '../lib/redaction.js';
import { pageAssets } from './assets.js';

export interface AuthOptions {
  /** The host that is listened on; undefined for a unix socket, which its file mode protects. */
  host: string | undefined;
  loopback: boolean;
  /** Needed for every action and for content; if the address is not loopback, for all reading too. */
  token: Revealable | undefined;
  /**
   * True if only the daemon's own user and root can connect, as the file mode of a unix socket allows. No token is
   * needed then.
   */
  trusted?: boolean;
  /** `status.acts`; true by default. */
  acts?: boolean;
  /** How to get the token, or why there is none: the end of the sentence that refuses a request. */
  hint?: string;
}

export type AuthDecision =
  /** `content`: the answer may contain titles, last words, tool arguments and the like. */
  { pass: true; content: boolean } | { pass: false; status: 401 | 403; says: string };

type Shown = 'none' | 'wrong' | 'basic' | 'bearer';

/**
 * Paths that need no token. The health routes say only "alive" and "ready", and the probes of service managers carry no
 * token. The page's own files contain no data, and a browser loads them before the page can send its token.
 */
const OPEN = new Set(['/healthz', '/readyz', ...pageAssets().map(({ path }) => path)]);

export class Auth {
  readonly #o: AuthOptions;
  readonly #token: Buffer | undefined;

  constructor(options: AuthOptions) {
    this.#o = options;
    this.#token = options.token === undefined ? undefined : digest(options.token.reveal());
  }

  check(method: string, path: string, headers: IncomingHttpHeaders): AuthDecision {
    const { loopback, trusted = false, acts = true, hint = '' } = this.#o;
    const shown = this.#shown(headers.authorization);
    const hasToken = shown === 'bearer' || shown === 'basic';
    if (!this.#knowsHost(headers.host, hasToken)) {
      return refuse(403, `the Host "${short(headers.host)}" is not this daemon's`);
    }
    // A browser adds stored Basic credentials to the requests of foreign pages too. It never adds a Bearer token.
    if (shown !== 'bearer' && !sameOrigin(method, headers)) {
      return refuse(403, `requests from the page ${short(headers.origin)} are refused`);
    }
    const isAct = method !== 'GET' && method !== 'HEAD';
    if (isAct && !acts) return refuse(403, 'status.acts is false: nobody acts over HTTP');
    if (!isAct && OPEN.has(path)) return { pass: true, content: trusted || hasToken };
    if (trusted || hasToken) return { pass: true, content: true };
    if (shown === 'wrong') return refuse(401, `this token is not the daemon's${hint}`);
    if (!isAct && loopback) return { pass: true, content: false };
    return refuse(401, `a token is needed: "Authorization: Bearer …"${hint}`);
  }

  /**
   * A foreign page can make a browser call us by a name of its own (DNS rebinding). It cannot do that with an IP
   * address, and it cannot send a token.
   */
  #knowsHost(header: string | undefined, hasToken: boolean): boolean {
    const { host, loopback } = this.#o;
    if (host === undefined || hasToken) return true;
    const name = nameOf(header);
    if (name === undefined) return false;
    const isOwn = name === host.toLowerCase() || name === 'localhost';
    if (loopback) return isOwn || name === '::1' || /^127\.\d+\.\d+\.\d+$/.test(name);
    return isOwn || isIP(name) !== 0 || name === hostname().toLowerCase();
  }

  #shown(header: string | undefined): Shown {
    if (header === undefined) return 'none';
    const [scheme = '', value = ''] = header.split(' ', 2);
    switch (scheme.toLowerCase()) {
      case 'bearer':
        return this.#is(value) ? 'bearer' : 'wrong';
      case 'basic': {
        // The form that curl -u and Prometheus' basic_auth send. The user name does not matter.
        const text = Buffer.from(value, 'base64').toString('utf8');
        return this.#is(text.slice(text.indexOf(':') + 1)) ? 'basic' : 'wrong';
      }
      default:
        return 'wrong';
    }
  }

  #is(value: string): boolean {
    return this.#token !== undefined && timingSafeEqual(digest(value), this.#token);
  }
}

/**
 * Programs send neither `Origin` nor `Sec-Fetch-Site`. Browsers send at least one of them with every request that could
 * do harm.
 */
function sameOrigin(method: string, headers: IncomingHttpHeaders): boolean {
  const { origin, host } = headers;
  const site = headers['sec-fetch-site'];
  const follows = method === 'GET' && headers['sec-fetch-mode'] === 'navigate';
  if (site !== undefined && site !== 'same-origin' && site !== 'none' && !follows) return false;
  if (origin === undefined) return true;
  if (!URL.canParse(origin)) return false;
  return new URL(origin).host === host?.toLowerCase();
}

function nameOf(header: string | undefined): string | undefined {
  if (header === undefined || !/^[\w.:[\]-]+$/.test(header)) return undefined;
  const url = `http://${header}`;
  if (!URL.canParse(url)) return undefined;
  return new URL(url).hostname.replace(/^\[|\]$/g, '');
}

function digest(value: string): Buffer {
  return createHash('sha256').update(value).digest();
}

function refuse(status: 401 | 403, says: string): AuthDecision {
  return { pass: false, status, says };
}

function short(value: string | undefined): string {
  return (value ?? 'none').slice(0, 80);
}
