/** Auth, with every header that a browser, a proxy or a forger may send. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Secret } from '../../../src/config/secret.js';
import { Auth } from '../../../src/status/auth.js';

const here = new Auth({ host: '127.0.0.1', loopback: true, token: undefined });
const open = new Auth({ host: '0.0.0.0', loopback: false, token: new Secret('t0ken-of-mine') });
const socket = new Auth({ host: undefined, loopback: true, token: undefined, trusted: true });

const status = (auth: Auth, headers: Record<string, string>, method = 'GET', path = '/status') => {
  const decision = auth.check(method, path, headers);
  return decision.pass ? 200 : decision.status;
};

describe('auth', () => {
  it.each([
    ['127.0.0.1:4097', 200],
    ['localhost', 200],
    ['localhost.', 403],
    ['127.9.9.9', 200],
    ['[::1]', 200],
    ['0.0.0.0', 403],
    ['192.168.1.4', 403],
    ['rebind.example', 403],
    ['127.0.0.1.nip.io', 403],
    ['localhost:80:80', 403],
    ['user@localhost', 403],
    ['localhost/x', 403],
    ['', 403],
  ])('on loopback, Host %s: %i', (host, expected) => {
    expect(status(here, { host })).toBe(expected);
  });

  it('refuses a request without a Host, but on a socket, where no browser comes', () => {
    expect(status(here, {})).toBe(403);
    expect(status(socket, {})).toBe(200);
    expect(status(socket, { host: 'x', origin: 'https://evil.example' }, 'POST')).toBe(403);
  });

  it.each(['same-site', 'cross-site', 'unknown'])(
    'refuses what a browser marks %s, acts also as navigation',
    (site) => {
      const headers = { host: 'localhost', 'sec-fetch-site': site };
      expect(status(here, headers)).toBe(403);
      expect(status(here, { ...headers, 'sec-fetch-mode': 'navigate' })).toBe(200);
      expect(status(here, { ...headers, 'sec-fetch-mode': 'navigate' }, 'POST', '/restart')).toBe(
        403,
      );
    },
  );

  it('knows its own page behind a proxy that keeps the Host', () => {
    const headers = { host: 'watch.example', authorization: 'Bearer t0ken-of-mine' };
    expect(status(open, { ...headers, origin: 'https://watch.example' }, 'POST')).toBe(200);
    const other = { host: 'watch.example', origin: 'https://other.example' };
    expect(status(open, other, 'POST')).toBe(403);
    // A page cannot show the token without knowing it: a browser adds only Basic credentials by itself.
    expect(status(open, { ...headers, origin: 'https://other.example' }, 'POST')).toBe(200);
    const basic = `Basic ${Buffer.from(':t0ken-of-mine').toString('base64')}`;
    expect(status(open, { ...other, authorization: basic }, 'POST')).toBe(403);
  });

  it('takes the token only whole', () => {
    fc.assert(
      fc.property(fc.string(), fc.constantFrom('Bearer', 'Basic', 'bearer', ''), (text, scheme) => {
        fc.pre(text !== 't0ken-of-mine');
        const authorization = `${scheme} ${scheme === 'Basic' ? Buffer.from(`u:${text}`).toString('base64') : text}`;
        expect(status(open, { host: '10.0.0.1', authorization })).toBe(401);
      }),
      { numRuns: 200 },
    );
    expect(status(open, { host: '10.0.0.1', authorization: 'bearer t0ken-of-mine' })).toBe(200);
  });
});
