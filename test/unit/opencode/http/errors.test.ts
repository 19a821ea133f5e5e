/** What an error of the HTTP client says. */
import { describe, expect, it } from 'vitest';
import {
  OpencodeError,
  probeFailure,
  withoutCredentials,
} from '../../../../src/opencode/http/errors.js';

describe('an error', () => {
  it('says what was tried, what came back and what to do', () => {
    const error = new OpencodeError({
      kind: 'refused',
      request: `GET ${withoutCredentials('http://me:secret@host:4096/session?x=1')}`,
      outcome: 'could not connect',
    });
    expect(error.message).toBe(
      'GET http://host:4096/session could not connect. Is `opencode serve` running, and is the URL its own?',
    );
  });

  it('proves that nobody listens only if the server’s machine refused the connection', () => {
    const failed = (cause: unknown) =>
      probeFailure(
        new OpencodeError({
          kind: 'refused',
          request: 'GET x',
          outcome: 'could not connect',
          cause,
        }),
      );
    const coded = (code: string) => Object.assign(new Error(code), { code });
    expect(failed(coded('ECONNREFUSED'))).toBe('refused');
    // As Node's happy eyeballs tells it for a name with several addresses.
    expect(failed(new AggregateError([coded('ECONNREFUSED')]))).toBe('refused');
    for (const code of ['ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'ENETDOWN']) {
      expect(failed(coded(code))).toBe('network');
    }
  });
});
