/** What an error of the HTTP client says. */
import { describe, expect, it } from 'vitest';
import { segment } from '../../../../src/opencode/api-client.js';
import {
  bounded,
  isNotFound,
  OpencodeError,
  probeFailure,
  withoutCredentials,
} from '../../../../src/opencode/http/errors.js';

describe('a text that is cut', () => {
  it('shows no half of a secret', () => {
    const text = `The gateway refuses us: sk-${'k'.repeat(40)}, says the log`;
    expect(bounded(text, 36)).toBe('The gateway refuses us: [secret], s…');
    expect(bounded(text, 200)).toBe(text);
  });
});

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

  it('says that there is no such session only in opencode’s own words', () => {
    const answered = (statusCode: number, detail?: string) =>
      isNotFound(
        new OpencodeError({
          kind: 'http',
          request: 'GET /session/ses_1',
          outcome: `answered ${statusCode}`,
          statusCode,
          ...(detail && { detail }),
        }),
      );
    // 1.18.33, 2.0, and 1.0.
    expect(answered(404, '{"name":"NotFoundError","data":{"message":"Session not found"}}')).toBe(
      true,
    );
    expect(answered(404, '{"_tag":"SessionNotFoundError","sessionID":"ses_1"}')).toBe(true);
    expect(answered(500, '{"name":"NotFoundError"}')).toBe(true);
    // A proxy's, as text or as JSON.
    expect(answered(404)).toBe(false);
    expect(answered(404, '{"message":"no Route matched with those values"}')).toBe(false);
  });

  it('of an id that opencode cannot have says that there is no such session', async () => {
    const error: unknown = await Promise.resolve('../x')
      .then(segment)
      .catch((error) => error);
    expect(isNotFound(error)).toBe(true);
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
