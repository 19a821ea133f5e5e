/** What an error of the HTTP client says. */
import { describe, expect, it } from 'vitest';
import { OpencodeError, withoutCredentials } from '../../../../src/opencode/http/errors.js';

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
});
