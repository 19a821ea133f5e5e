/** Who may ask: the name that was called (`Host`), the page that calls (`Origin`), the token that is shown. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import type { Revealable } from '../telemetry/redaction.js';

export interface AuthOptions {
  /** What is listened on; undefined for a unix socket, whose file mode is its guard. */
  host: string | undefined;
  loopback: boolean;
  /** Where there is one, everything but health asks for it. */
  token: Revealable | undefined;
}

export type Verdict = { pass: true } | { pass: false; status: 401 | 403; says: string };

const PASS: Verdict = { pass: true };

/** What says no more than "alive" and "ready": probes of service managers carry no token. */
const OPEN = new Set(['/healthz', '/readyz']);

export class Auth {
  readonly #o: AuthOptions;
  readonly #token: Buffer | undefined;

  constructor(options: AuthOptions) {
    this.#o = options;
    this.#token = options.token === undefined ? undefined : digest(options.token.reveal());
  }

  check(method: string, path: string, headers: IncomingHttpHeaders): Verdict {
    const hasToken = this.#showsToken(headers.authorization);
    if (!this.#knowsHost(headers.host, hasToken)) {
      return refuse(403, `the Host "${short(headers.host)}" is not this daemon's`);
    }
    if (!sameOrigin(method, headers)) {
      return refuse(403, `requests from the page ${short(headers.origin)} are refused`);
    }
    if (this.#token === undefined || hasToken || OPEN.has(path)) return PASS;
    return refuse(
      401,
      'a token is needed: "Authorization: Bearer …", or as the password of Basic authentication',
    );
  }

  /**
   * A page elsewhere may bring a browser to call us by a name of its own (DNS rebinding). It cannot do that with an
   * address, nor show a token.
   */
  #knowsHost(header: string | undefined, hasToken: boolean): boolean {
    const { host, loopback } = this.#o;
    if (host === undefined) return true;
    const name = nameOf(header);
    if (name === undefined) return false;
    const isOwn = name === host.toLowerCase() || name === 'localhost';
    if (loopback) return isOwn || name === '::1' || /^127\.\d+\.\d+\.\d+$/.test(name);
    return isOwn || isIP(name) !== 0 || name === hostname().toLowerCase() || hasToken;
  }

  #showsToken(header: string | undefined): boolean {
    if (this.#token === undefined || header === undefined) return false;
    const [scheme = '', value = ''] = header.split(' ', 2);
    switch (scheme.toLowerCase()) {
      case 'bearer':
        return timingSafeEqual(digest(value), this.#token);
      case 'basic': {
        // What a browser sends after its own password dialog; the user's name is of no account.
        const text = Buffer.from(value, 'base64').toString('utf8');
        return timingSafeEqual(digest(text.slice(text.indexOf(':') + 1)), this.#token);
      }
      default:
        return false;
    }
  }
}

/** Programs send neither header; browsers send at least one with everything that could do harm. */
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

function refuse(status: 401 | 403, says: string): Verdict {
  return { pass: false, status, says };
}

function short(value: string | undefined): string {
  return (value ?? 'none').slice(0, 80);
}
