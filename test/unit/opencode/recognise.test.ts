/** What answers there: every row of opencode-2-facts, section 1.2, and what else listens on ports. */
import { describe, expect, it } from 'vitest';
import {
  type Answers,
  type HttpAnswer,
  recognise,
  refusalOf,
  unsupportedOf,
} from '../../../src/opencode/recognise.js';

const answer = (status: number, contentType: string, body = ''): HttpAnswer => ({
  status,
  contentType,
  body,
});
const json = (status: number, value: unknown) =>
  answer(status, 'application/json; charset=utf-8', JSON.stringify(value));
const page = (status = 200) => answer(status, 'text/html;charset=UTF-8', '<!doctype html>');
const INFO = { version: '2.0.26', pid: 4242, urls: [], paths: {} };
const LOCKED = { _tag: 'UnauthorizedError', message: 'Authentication required' };

describe('recognising a server by its answers', () => {
  it.each<[string, Answers, object]>([
    [
      '1.18',
      { health: json(200, { healthy: true, version: '1.18.34' }), info: page() },
      { kind: 'opencode-1' },
    ],
    [
      '1.18 with a password',
      { health: answer(401, ''), info: answer(401, '') },
      { kind: 'opencode-1' },
    ],
    [
      '2.0.26',
      { health: page(), info: json(200, INFO) },
      { kind: 'opencode-2', state: 'ready', version: '2.0.26' },
    ],
    [
      '2.0.26 that boots',
      { health: page(), info: json(503, INFO) },
      { kind: 'opencode-2', state: 'starting', version: '2.0.26' },
    ],
    [
      '2.0.26 whose boot failed',
      { health: page(), info: json(500, INFO) },
      { kind: 'opencode-2', state: 'failed', version: '2.0.26' },
    ],
    [
      '2.0.26 that wants a password',
      { health: page(), info: json(401, LOCKED) },
      { kind: 'opencode-2', state: 'locked' },
    ],
    [
      'a booting API',
      { info: json(503, { code: 'service_starting' }) },
      { kind: 'opencode-2', state: 'starting' },
    ],
    [
      'a stopping API',
      { health: json(503, { code: 'service_stopping' }) },
      { kind: 'opencode-2', state: 'starting' },
    ],
    [
      'a failed API',
      { info: json(503, { code: 'service_failed' }) },
      { kind: 'opencode-2', state: 'failed' },
    ],
    [
      '2.0.5 to 2.0.12, or a proxy with a password',
      { health: page(401), info: page(401) },
      { kind: 'other' },
    ],
    [
      'a beta of 2.x',
      { health: page(), info: answer(404, ''), beta: json(200, { healthy: true }) },
      { kind: 'opencode-2-beta' },
    ],
    [
      'a beta that tells its version',
      { info: answer(404, ''), beta: json(200, { healthy: true, version: '0.0.0-beta-7' }) },
      { kind: 'opencode-2-beta', version: '0.0.0-beta-7' },
    ],
    [
      '1.18, whose preview has that route too, in a bad moment',
      { health: json(500, {}), info: page(), beta: json(200, { healthy: true }) },
      { kind: 'other' },
    ],
    [
      'a web page for everything but its health',
      { health: page(), info: page(404), beta: page() },
      { kind: 'other' },
    ],
    ['a web page', { health: page(), info: page() }, { kind: 'other' }],
    ['a proxy without its server', { health: page(503), info: page(503) }, { kind: 'other' }],
    [
      'JSON of something else',
      { health: json(200, { ok: 1 }), info: json(200, [1]) },
      { kind: 'other' },
    ],
    [
      'JSON that says it is a page',
      { info: answer(200, 'text/html', JSON.stringify(INFO)) },
      { kind: 'other' },
    ],
    [
      'JSON that does not parse',
      { info: answer(200, 'application/json', '{"version":') },
      { kind: 'other' },
    ],
    ['silence', {}, { kind: 'other' }],
  ])('%s', (_, answers, recognised) => {
    expect(recognise(answers)).toEqual(recognised);
  });
});

describe('what it means', () => {
  const answered = 'GET /global/health answered 200 with text/html, not JSON';

  it('names OpenCode 2 with its version, and that waiting does not help', () => {
    expect(unsupportedOf({ health: page(), info: json(200, INFO) }, answered)).toEqual({
      version: '2.0.26',
      certain: true,
      answered: `${answered}, GET /api/info 200 with application/json`,
      means: expect.stringContaining('it is OpenCode 2.0.26, and was asked by the API of 1.x'),
    });
  });

  it('is a boot where the server says so', () => {
    expect(unsupportedOf({ info: json(503, INFO) }, answered)).toMatchObject({ starting: true });
  });

  it('names a beta of OpenCode 2, and what to install', () => {
    const beta = { info: answer(404, ''), beta: json(200, { healthy: true }) };
    expect(unsupportedOf(beta, answered)).toMatchObject({
      certain: true,
      means: expect.stringContaining('a beta of OpenCode 2, from before 2.0'),
    });
  });

  it('names who refuses the password, where that is known', () => {
    expect(refusalOf({ health: page(), info: json(401, LOCKED) })).toContain('it is OpenCode 2');
    expect(refusalOf({ health: page(401), info: page(401) })).toContain('2.0.5 to 2.0.12');
    expect(refusalOf({ health: answer(401, ''), info: answer(401, '') })).toBeUndefined();
    expect(refusalOf({})).toBeUndefined();
  });

  it('asks where the URL leads, where nobody knows what it is', () => {
    expect(unsupportedOf({ health: page() }, answered)).toEqual({
      answered,
      means: expect.stringContaining('does server.url lead to `opencode serve`'),
    });
  });
});
