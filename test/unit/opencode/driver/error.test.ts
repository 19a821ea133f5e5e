import { expect, it } from 'vitest';
import { asDriverError, DriverError } from '../../../../src/opencode/driver/error.js';

it('an error in JSON says what caused it, three deep at most', () => {
  const socket = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
  const fetching = new TypeError('fetch failed', { cause: socket });
  const error = new DriverError('unreachable', 'nobody listens.', {
    sessionID: 'ses_1',
    cause: fetching,
  });
  expect(JSON.parse(JSON.stringify(error))).toEqual({
    kind: 'unreachable',
    message: 'nobody listens.',
    sessionID: 'ses_1',
    cause: {
      name: 'TypeError',
      message: 'fetch failed',
      cause: { name: 'Error', message: 'connect ECONNREFUSED', code: 'ECONNREFUSED' },
    },
  });
  const circle = new Error('round');
  circle.cause = circle;
  expect(JSON.stringify(asDriverError(circle)).match(/"round"/g)).toHaveLength(3);
  expect(asDriverError('a word').toJSON()).toMatchObject({ cause: { message: 'a word' } });
  expect(new DriverError('usage', 'no.').toJSON()).toEqual({ kind: 'usage', message: 'no.' });
});
