/** What is deleted leaves no run behind. */
import { expect, it } from 'vitest';
import { removeSession } from '../../../../src/opencode/driver/end-session.js';
import type { DriverApi } from '../../../../src/opencode/driver-api.js';
import { FakeClock } from '../../../support/fake-clock.js';

const SESSION = { id: 'ses_1', directory: '/p' };

it.each([
  ['it was seen at rest, and a plugin prompted it again', { isAtRest: true }, false],
  ['it began again after the abort', {}, true],
])('ends the run of a deleted session if %s', async (_why, options, isFirstAbortInVain) => {
  let running = true;
  let isThere = true;
  let aborts = 0;
  const client: Partial<DriverApi> = {
    statuses: async () => new Map(running ? [[SESSION.id, { type: 'busy' }]] : []),
    session: async () => (isThere ? SESSION : null),
    remove: async () => {
      isThere = false;
      running ||= isFirstAbortInVain;
    },
    abort: async () => {
      aborts += 1;
      running = false;
      return 'taken';
    },
  };
  const clock = new FakeClock();
  const removing = removeSession({ client: client as DriverApi, clock }, SESSION, options);
  await clock.advance(10_000);
  await removing;
  expect({ running, isThere, aborts }).toEqual({
    running: false,
    isThere: false,
    aborts: isFirstAbortInVain ? 2 : 1,
  });
});
